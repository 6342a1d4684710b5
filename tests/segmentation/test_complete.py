"""Estimated sequences: what is in the files, where they lie, and that nobody takes them for scans."""

import base64
import io
import json
import re
import shutil
import sys
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from lacunet.case import CaseFiles, ImageFile
from lacunet.cli.main import main
from lacunet.data.find import find_cases
from lacunet.data.nifti import load_case, scaled_estimate, write_estimate
from lacunet.data.prepare import Preparation, frame_of, prepare_images
from lacunet.errors import DataError, ModelError, OutputError, Problem, UsageError
from lacunet.methods.dual_stage import DualStage
from lacunet.models.model import Model, save_model
from lacunet.nn.method import get_method, make_method
from lacunet.prediction.predictor import Predictor
from lacunet.prediction.windows import Windows, pad_to
from lacunet.report.pictures import stamped
from lacunet.segmentation.complete import Completed, CompleteSettings, complete_case, complete_cases
from lacunet.task import GLIOMA
from small import hand_made_case

ARGUMENTS = {"width": 4, "levels": 2, "indicator": "none", "keep": "student+recovery"}


def method_of(name: str = "dual_stage", **arguments: object) -> DualStage:
    torch.manual_seed(0)
    return make_method(get_method(name), GLIOMA, {**ARGUMENTS, **arguments}).eval()


def predictor_of(method: DualStage, windows: Windows | None = None) -> Predictor:
    return Predictor(Model("tiny", method, Preparation(6.0), {"data": "nothing"}, "0" * 64), "cpu", "float32", windows)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return predictor_of(method_of())


def without(files: CaseFiles, *absent: str) -> CaseFiles:
    return replace(files, images={name: file for name, file in files.images.items() if name not in absent})


def test_estimates_lie_on_the_scans_own_grid_and_say_what_they_are(predictor, phantoms, tmp_path):
    files = without(phantoms[0], "t1c", "t2w")
    done = complete_case(predictor, files, tmp_path, CompleteSettings())
    assert isinstance(done, Completed)
    assert done.estimated == ("t1c", "t2w")
    scan = nib.load(files.images["t1n"].path)
    for modality in done.estimated:
        estimate = nib.load(done.folder / f"{files.name}-{modality}-synthetic.nii.gz")
        assert estimate.shape == scan.shape
        np.testing.assert_array_equal(estimate.affine, scan.affine)
        header = estimate.header
        said = bytes(header["descrip"]).rstrip(b"\0").decode()
        assert said == f"lacunet: SYNTHETIC {modality}, not a scan; 1000 = mean of the brain, 100 = 1 SD"
        assert bytes(header["intent_name"]).rstrip(b"\0").decode() == f"SYNTHETIC {modality}"
    assert not list(tmp_path.rglob("*t1n*.nii.gz"))


def test_a_voxel_is_a_thousand_and_a_hundred_for_each_deviation(predictor, phantoms, tmp_path):
    files = without(phantoms[0], "t1c")
    done = complete_case(predictor, files, tmp_path, CompleteSettings())
    disk = np.asanyarray(nib.load(done.folder / f"{files.name}-t1c-synthetic.nii.gz").dataobj)
    case = load_case(files, want_reference=False)
    brain = np.logical_or.reduce([image != 0 for image in case.images.values()])
    assert disk.dtype == np.int16
    assert (disk[brain] >= 500).all()  # five deviations below the mean, at most
    assert (disk[brain] <= 1500).all()
    assert (disk[~brain] == 0).all()
    values = predictor.complete(case)["t1c"]
    np.testing.assert_allclose(disk[brain], 1000 + 100 * values[brain], atol=0.51)


def test_the_estimates_are_the_recovery_modules(predictor, phantoms):
    case = load_case(without(phantoms[0], "t2f"), want_reference=False)
    found = predictor.complete(case)
    frame = frame_of(case, ("t1n", "t1c", "t2w"), Preparation(6.0))
    images = prepare_images(case, GLIOMA, Preparation(6.0), frame)
    presence = torch.tensor([[True, True, True, False]])
    with torch.no_grad():
        maps = predictor.model.method.complete(pad_to(images[None], 2), presence)[0]
    x, y, z = frame.shape
    expected = frame.undo(maps[:, :x, :y, :z])[3].numpy()
    brain = np.logical_or.reduce([image != 0 for image in case.images.values()])
    assert list(found) == ["t2f"]
    np.testing.assert_allclose(found["t2f"][brain], expected[brain], atol=1e-4)


def test_windows_give_the_same_estimates_where_they_agree(phantoms):
    """A network that sees one voxel at a time does not mind where it is cut."""
    method = method_of()
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.zero_()
        method.recovery.head.bias.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    case = load_case(without(phantoms[0], "t2f"), want_reference=False)
    whole, cut = (predictor_of(method, w).complete(case)["t2f"] for w in (None, Windows((16, 16, 16))))
    np.testing.assert_allclose(whole, cut, atol=1e-5)
    brain = np.logical_or.reduce([image != 0 for image in case.images.values()])
    inside = whole[brain]
    assert np.median(inside) == pytest.approx(0.4, abs=1e-5)


def test_estimates_are_never_found_nor_read_as_scans(predictor, phantoms, tmp_path):
    files = without(phantoms[0], "t1c")
    done = complete_case(predictor, files, tmp_path, CompleteSettings())
    with pytest.raises(DataError, match="no scans found"):
        find_cases(tmp_path)
    renamed = tmp_path / "patient" / "patient-t1c.nii.gz"
    renamed.parent.mkdir()
    renamed.write_bytes((done.folder / f"{files.name}-t1c-synthetic.nii.gz").read_bytes())
    (found,) = find_cases(renamed.parent)
    with pytest.raises(DataError, match=r"patient-t1c.nii.gz: is an estimate that lacunet complete wrote, not a scan"):
        load_case(found)


def test_the_longest_description_fits_its_field(tmp_path):
    case = hand_made_case({"t1c": np.ones((4, 4, 4))})
    values = scaled_estimate(np.zeros((4, 4, 4), np.float32), case)
    write_estimate(tmp_path / "a.nii.gz", values, case, "t2f")
    said = bytes(nib.load(tmp_path / "a.nii.gz").header["descrip"]).rstrip(b"\0").decode()
    assert said.endswith("100 = 1 SD")
    assert (np.asanyarray(nib.load(tmp_path / "a.nii.gz").dataobj) == 1000).all()


def test_the_page_marks_every_estimate(predictor, phantoms, tmp_path):
    done = complete_case(predictor, without(phantoms[0], "t1c"), tmp_path, CompleteSettings())
    page = (done.folder / "report.html").read_text()
    assert "T1ce, estimated from T1, T2 and FLAIR." in page
    assert "It is no scan: nothing in it was measured." in page
    assert page.count("estimated by a network, not a scan") == 1
    assert page.count('<figure class="estimate">') == 1
    assert page.count("<figure") == 4
    assert len(re.findall('aria-label="T1ce, estimated, not a scan', page)) == 3
    assert 'class="outline' not in page


def test_a_picture_of_an_estimate_says_so_wherever_it_goes(predictor, phantoms, tmp_path):
    done = complete_case(predictor, without(phantoms[0], "t1c"), tmp_path, CompleteSettings())
    page = (done.folder / "report.html").read_text()
    part = page[page.index('<figure class="estimate">') :]
    uri = re.search(r'href="data:image/png;base64,([^"]+)"', part).group(1)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))))
    blank = stamped(np.zeros_like(pixels), "SYNTHETIC")
    assert pixels[-1, -1] == 0  # the background is black
    rows, columns = np.nonzero(blank)
    box = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    np.testing.assert_array_equal(pixels[box], blank[box])
    assert 0.3 < (columns.max() - columns.min()) / blank.shape[1] < 0.75


def test_a_scan_that_is_held_out_stands_beside_its_estimate(predictor, phantoms, tmp_path):
    done = complete_case(predictor, phantoms[0], tmp_path, CompleteSettings(("t1n", "t2f")))
    assert done.estimated == ("t1c", "t2w")
    page = (done.folder / "report.html").read_text()
    assert page.count("scan, not shown to the network") == 2
    record = json.loads((done.folder / "completion.json").read_text())
    assert record["subset"] == "t1n+t2f"
    assert record["acquired"] == "t1n+t1c+t2w+t2f"
    assert record["synthetic"]["t2w"] == f"{done.name}-t2w-synthetic.nii.gz"
    assert record["intensities"] == "1000 is the mean of the brain, 100 one standard deviation; 0 is background"
    assert record["provenance"]["scans"].count(".nii.gz") == 2


def test_burned_in_text_keeps_scans_and_estimates_out_of_the_page(predictor, phantoms, tmp_path):
    files = phantoms[0]
    images = {}
    for modality in ("t1n", "t2f"):
        images[modality] = ImageFile(tmp_path / f"a-{modality}.nii.gz")
        shutil.copy(files.images[modality].path, images[modality].path)
    (tmp_path / "a-t2f.json").write_text(json.dumps({"BurnedInAnnotation": "YES"}))
    done = complete_case(predictor, replace(files, images=images), tmp_path / "out", CompleteSettings())
    page = (done.folder / "report.html").read_text()
    assert "FLAIR: text is burned into the image" in page
    assert "data:image/png" not in page
    record = json.loads((done.folder / "completion.json").read_text())
    assert any("burned into the image" in line for line in record["warnings"])


def test_what_is_held_out_is_not_looked_at(predictor, phantoms, tmp_path):
    shown, alone = ("t1n", "t2f"), without(phantoms[0], "t1c", "t2w")
    one = complete_case(predictor, phantoms[0], tmp_path / "one", CompleteSettings(shown))
    other = complete_case(predictor, alone, tmp_path / "other", CompleteSettings())
    for modality in one.estimated:
        name = f"{one.name}-{modality}-synthetic.nii.gz"
        first, second = (np.asanyarray(nib.load(done.folder / name).dataobj) for done in (one, other))
        np.testing.assert_array_equal(first, second)


def test_a_complete_case_needs_nothing(predictor, phantoms, tmp_path):
    done = complete_case(predictor, phantoms[0], tmp_path, CompleteSettings())
    assert done.estimated == ()
    assert not list(tmp_path.iterdir())


def test_results_are_refused_resumed_or_replaced_and_failures_are_listed(predictor, phantoms, tmp_path):
    good, bad = without(phantoms[0], "t1c"), without(phantoms[1], "t1n", "t1c", "t2w", "t2f")
    first, second = complete_cases(predictor, [bad, good], tmp_path, CompleteSettings())
    assert isinstance(first, Problem)
    assert isinstance(second, Completed)
    with pytest.raises(OutputError, match=r"completion.json: exists already; continue with --resume"):
        list(complete_cases(predictor, [good], tmp_path, CompleteSettings()))
    assert next(complete_cases(predictor, [good], tmp_path, CompleteSettings(resume=True))).skipped
    older = tmp_path / good.name / f"{good.name}-t1n-synthetic.nii.gz"
    older.write_bytes(b"of an earlier run from fewer sequences")
    assert not next(complete_cases(predictor, [good], tmp_path, CompleteSettings(overwrite=True))).skipped
    assert not older.exists()
    with pytest.raises(UsageError, match="asks for t1c, but the case has only t1n, t2w, t2f"):
        complete_case(predictor, good, tmp_path, CompleteSettings(("t1c",)))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("early_fusion", {}, "EarlyFusion does not estimate absent sequences; dual_stage does"),
        ("dual_stage", {"keep": "student"}, "kept without its recovery module"),
    ],
)
def test_a_model_that_cannot_is_refused_for_all_cases_at_once(name, arguments, words, phantoms, tmp_path):
    known = {"width": 4, "levels": 2} if name == "early_fusion" else ARGUMENTS | arguments
    method = make_method(get_method(name), GLIOMA, known).deployed().eval()
    with pytest.raises(ModelError, match=words):
        list(complete_cases(predictor_of(method), [without(phantoms[0], "t1c")], tmp_path, CompleteSettings()))
    assert not list(tmp_path.iterdir())


def test_the_command_completes_a_case(phantoms, tmp_path, monkeypatch, capsys):
    save_model(tmp_path / "model", method_of(), Preparation(6.0), {})
    scans = phantoms[0].images
    words = ["complete", "--t1n", scans["t1n"].path, "--flair", scans["t2f"].path, "--name", "Jane"]
    words += ["-m", tmp_path / "model", "-o", tmp_path / "out", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["lacunet", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    said = capsys.readouterr().out
    assert "Jane: T1ce, T2 estimated from T1 + FLAIR" in said
    assert "Estimates are not scans" in said
    assert sorted(path.name for path in (tmp_path / "out" / "Jane").iterdir()) == [
        "Jane-t1c-synthetic.nii.gz",
        "Jane-t2w-synthetic.nii.gz",
        "completion.json",
        "report.html",
    ]
