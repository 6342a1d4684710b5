"""Lacunet.py itself, with stand-ins for Slicer and Qt that do as little as it asks of them."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from small import ROOT

CASE = {
    "format": 1,
    "volumes_ml": {"wt": 3.0, "tc": 2.0, "et": 1.0},
    "expected_dice": {"wt": 0.8},
    "evidence": {},
    "withheld": {},
    "calibration": None,
    "cautions": [],
    "doubts": [],
    "warnings": ["look"],
    "caveat": "",
    "masks": ["case-mask.nii.gz"],
}
MEASURES = {"format": 1, "volumes_ml": {"wt": 5.0}, "change": None, "measures": {}, "warnings": ["changed"]}


class Process:
    """A QProcess: the test says what it prints and when it ends."""

    MergedChannels, FailedToStart, NormalExit, CrashExit = 1, 0, 0, 1
    made: "list[Process]" = []

    def __init__(self) -> None:
        self.slots: dict[str, Any] = {}
        self.asked: list[str] = []
        self.output = b""
        Process.made.append(self)

    def connect(self, signal: str, slot: Any) -> None:
        self.slots[signal.split("(")[0]] = slot

    def setProcessEnvironment(self, variables: Any) -> None:
        self.variables = variables

    def setProcessChannelMode(self, mode: int) -> None:
        assert mode == Process.MergedChannels

    def start(self, program: str, words: list[str]) -> None:
        self.command = [program, *words]

    def readAllStandardOutput(self) -> Any:
        output, self.output = self.output, b""
        return SimpleNamespace(data=lambda: output)

    def errorString(self) -> str:
        return "no such file"

    def terminate(self) -> None:
        self.asked.append("terminate")

    def kill(self) -> None:
        self.asked.append("kill")

    def finish(self, status: int, output: bytes = b"", how: int = NormalExit) -> None:
        self.output = output
        self.slots["finished"](status, how)


class Segmentation:
    """A vtkMRMLSegmentationNode and its segments in one."""

    def __init__(self) -> None:
        self.segments: dict[str, Any] = {}

    def GetSegmentation(self) -> "Segmentation":
        return self

    def AddEmptySegment(self, identifier: str, name: str, colour: Any) -> str:
        self.segments[identifier] = SimpleNamespace(GetName=lambda: name, array=None, colour=colour)
        return identifier

    def GetNumberOfSegments(self) -> int:
        return len(self.segments)

    def GetNthSegmentID(self, number: int) -> str:
        return list(self.segments)[number]

    def GetSegment(self, identifier: str) -> Any:
        return self.segments[identifier]

    def CreateDefaultDisplayNodes(self) -> None:
        pass

    def SetReferenceImageGeometryParameterFromVolumeNode(self, node: Any) -> None:
        self.reference = node


class Slicer:
    """What of `slicer` is used, on arrays instead of nodes."""

    def __init__(self, path: str) -> None:
        self.path, self.exported, self.removed, self.saves = path, {}, [], True
        self.segmentation = Segmentation()
        self.array = np.zeros((2, 3, 4), np.uint8)

    def startupEnvironment(self) -> dict[str, str]:
        return {"PATH": self.path, "PYTHONHOME": "/slicer"}

    def exportNode(self, node: Any, path: str, world: bool = False) -> bool:
        self.exported[Path(path).name] = (np.array(node.array), world)
        if self.saves:
            Path(path).write_bytes(b"voxels")
        return self.saves

    def loadLabelVolume(self, path: str, properties: Any) -> Any:
        assert Path(path).is_file()
        return SimpleNamespace(array=self.array)

    def updateSegmentBinaryLabelmapFromArray(self, array: Any, node: Any, identifier: str, reference: Any) -> None:
        node.segments[identifier].array = array

    def arrayFromSegmentBinaryLabelmap(self, node: Any, identifier: str, reference: Any) -> Any:
        return node.segments[identifier].array

    def modules(self) -> tuple[ModuleType, ModuleType, ModuleType]:
        util = ModuleType("slicer.util")
        util.VTKObservationMixin = type("VTKObservationMixin", (), {})
        util.arrayFromVolume = lambda node: node.array
        util.updateVolumeFromArray = lambda node, array: setattr(node, "array", array)
        for name in ("startupEnvironment", "exportNode", "loadLabelVolume", "updateSegmentBinaryLabelmapFromArray"):
            setattr(util, name, getattr(self, name))
        util.arrayFromSegmentBinaryLabelmap = self.arrayFromSegmentBinaryLabelmap
        base = ModuleType("slicer.ScriptedLoadableModule")
        for name in ("", "Logic", "Widget"):
            setattr(base, f"ScriptedLoadableModule{name}", type(f"Base{name}", (), {"__init__": lambda self, *_: None}))
        slicer = ModuleType("slicer")
        clone = lambda scene, node, name: SimpleNamespace(array=np.array(node.array))  # noqa: E731
        logic = SimpleNamespace(CloneVolume=clone)
        slicer.modules = SimpleNamespace(volumes=SimpleNamespace(logic=lambda: logic))
        made = lambda kind, name: self.segmentation  # noqa: E731
        slicer.mrmlScene = SimpleNamespace(AddNewNodeByClass=made, RemoveNode=self.removed.append)
        slicer.util, slicer.ScriptedLoadableModule = util, base
        return slicer, util, base


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The module, and the stand-in for Slicer."""
    program = tmp_path / "lacunet"
    program.write_text("")
    program.chmod(0o755)
    stand_in = Slicer(str(tmp_path))
    slicer, util, base = stand_in.modules()
    qt = ModuleType("qt")
    qt.QProcess = Process
    qt.QProcessEnvironment = type("Environment", (dict,), {"insert": dict.__setitem__})
    qt.QTimer = SimpleNamespace(singleShot=lambda milliseconds, action: action())
    names = {"qt": qt, "slicer": slicer, "slicer.util": util, "slicer.ScriptedLoadableModule": base}
    for name, module in names.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spec = importlib.util.spec_from_file_location("Lacunet", ROOT / "slicer/Lacunet/Lacunet.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    Process.made.clear()
    return module, stand_in


def node(value: int = 1) -> Any:
    return SimpleNamespace(array=np.full((2, 3, 4), value))


def started(world: Any, **nodes: Any) -> tuple[Any, list[str], list[str]]:
    module, _ = world
    printed: list[str] = []
    ended: list[str] = []
    logic = module.LacunetLogic(printed.append)
    logic.segment(nodes or {"t2f": node(2), "t1c": node(1)}, "", "default", "--device cpu", ended.append)
    return logic, printed, ended


def answered(logic: Any) -> None:
    folder = logic.folder / "results/case"
    folder.mkdir(parents=True)
    (folder / "case.json").write_text(json.dumps(CASE))
    (folder / "case-mask.nii.gz").write_bytes(b"mask")


def test_scans_are_exported_and_the_program_runs_beside_slicer(world):
    logic, printed, ended = started(world)
    (process,) = Process.made
    assert set(world[1].exported) == {"t1c.nii.gz", "t2f.nii.gz"}
    assert all(moved for _, moved in world[1].exported.values())
    t1c, t2f = (str(logic.folder / f"{name}.nii.gz") for name in ("t1c", "t2f"))
    assert process.command[1:6] == ["segment", "--t1c", t1c, "--t2f", t2f]
    assert "PYTHONHOME" not in process.variables
    assert (logic.running, ended) == (True, [])
    process.output = b"half"
    process.slots["readyReadStandardOutput"]()
    assert printed[-1] == "half"
    process.finish(0)
    assert (logic.running, ended) == (False, [""])


def test_the_mask_becomes_segments_is_corrected_and_measured(world):
    module, stand_in = world
    logic, _, ended = started(world)
    answered(logic)
    Process.made[0].finish(0)
    stand_in.array[0, 0] = [1, 2, 3, 2]
    assert logic.load().rows["wt"][1] == "3.0"
    segments = stand_in.segmentation.segments
    assert {name: segment.array.sum() for name, segment in segments.items()} == {
        "oedema": 2,
        "necrotic_core": 1,
        "enhancing": 1,
    }
    segments["enhancing"].array[1] = 1
    logic.measure("", ended.append)
    corrected, _ = stand_in.exported["corrected.nii.gz"]
    assert corrected[0, 0].tolist() == [1, 2, 3, 2]
    assert (corrected[1] == 3).all()
    assert len(stand_in.removed) == 1
    assert Process.made[1].command[1:3] == ["measure", str(logic.folder / "corrected.nii.gz")]
    logic.measures.write_text(json.dumps(MEASURES))
    Process.made[1].finish(0)
    assert ended == ["", ""]
    assert logic.measured().warnings == ("changed",)
    segments["Segment_1"] = SimpleNamespace(GetName=lambda: "Segment_1", array=np.ones((2, 3, 4)))
    with pytest.raises(module.LacunetProblem, match="'Segment_1' is none of"):
        logic.measure("", ended.append)
    assert not logic.running


def test_failures_cancelling_and_a_program_that_cannot_start_are_told_once(world):
    _, _, ended = started(world)
    Process.made[-1].finish(1, b"lacunet: T1ce shows nothing; give another\n")
    assert ended == ["T1ce shows nothing; give another"]
    logic, _, ended = started(world)
    logic.cancel()
    assert Process.made[-1].asked == ["terminate", "kill"]
    Process.made[-1].finish(9, b"", Process.CrashExit)
    assert (ended, logic.running) == (["cancelled"], False)
    logic.cancel()  # nothing runs any more
    logic, _, ended = started(world)
    Process.made[-1].slots["errorOccurred"](Process.FailedToStart)
    assert len(ended) == 1
    assert "cannot be started (no such file)" in ended[0]
    assert not logic.running


def test_one_program_at_a_time_and_nothing_is_left_behind(world):
    module, stand_in = world
    logic, _, ended = started(world)
    folder = logic.folder
    with pytest.raises(module.LacunetProblem, match="there is no mask to measure; press Segment first"):
        logic.measure("", ended.append)
    with pytest.raises(module.LacunetProblem, match="lacunet is running"):
        logic.start(["x"], {}, ended.append)
    logic.close()
    assert Process.made[-1].asked == ["kill"]
    assert (folder.exists(), ended) == (False, [])
    killed = Process.made[-1]
    logic.segment({"t1c": node()}, "", "", "", ended.append)
    killed.finish(9)  # its end comes late
    assert (ended, logic.running) == ([], True)
    Process.made[-1].finish(0)
    assert ended == [""]
    stand_in.saves = False
    with pytest.raises(module.LacunetProblem, match="T1 cannot be exported"):
        module.LacunetLogic().segment({"t1n": node()}, "", "", "", ended.append)
    with pytest.raises(module.LacunetProblem, match="is not the program lacunet"):
        module.LacunetLogic().segment({"t1n": node()}, "/nowhere", "", "", ended.append)
