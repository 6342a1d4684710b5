"""Another disease: BraTS-METS is read as it lies on disk, and a glioma model is asked about it unchanged."""

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lacunet.cli.main import main
from lacunet.data.find import find_cases
from lacunet.data.labels import decide_convention, with_conventions
from lacunet.data.nifti import load_case
from lacunet.data.prepare import Preparation
from lacunet.errors import LabelError, UsageError
from lacunet.models.model import for_task, load_model, save_model
from lacunet.nn.method import get_method, make_method
from lacunet.task import GLIOMA, METS, Task, get_task
from phantoms_made import write_phantoms


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "glioma"
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    save_model(folder, method, Preparation(6.0), {})
    return folder


@pytest.fixture(scope="module")
def mets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Invented patients under the names of BraTS-METS 2023."""
    folder = tmp_path_factory.mktemp("mets")
    for number, case in enumerate(write_phantoms(folder, 2, seed=3, spacing=4.0)):
        name = f"BraTS-MET-0000{number + 1}-000"
        for path in sorted(case.iterdir()):
            path.rename(path.with_name(path.name.replace(case.name, name)))
        case.rename(folder / name)
    return folder


def test_the_layout_of_brats_mets_is_read(mets: Path):
    cases = with_conventions(find_cases(mets, METS), METS)
    assert [(case.name, case.person) for case in cases] == [
        ("BraTS-MET-00001-000", "BraTS-MET-00001"),
        ("BraTS-MET-00002-000", "BraTS-MET-00002"),
    ]
    assert tuple(cases[0].images) == METS.modalities
    assert cases[0].convention == "brats2023"
    reference = load_case(cases[0], METS).reference
    on_disk = np.asarray(nib.load(mets / cases[0].name / f"{cases[0].name}-seg.nii.gz").dataobj)
    assert reference is not None
    assert np.unique(reference).tolist() == np.unique(on_disk).tolist()


def test_labels_of_metastases_mean_what_brats_mets_says():
    assert decide_convention("brats2023", {0, 1, 2, 3}, METS) == "brats2023"
    assert METS.conventions["brats2023"] == {0: 0, 1: METS.labels["necrotic_core"], 2: 2, 3: METS.labels["enhancing"]}
    assert METS.regions == {"wt": (1, 2, 3), "tc": (1, 3), "et": (3,)}
    with pytest.raises(LabelError, match="--labels with one of brats2023, brats2024"):
        decide_convention("brats2023", {0, 1, 2, 3, 4}, METS)  # a resection cavity, which the user has to confirm


def test_tasks_are_found_by_name():
    assert get_task("mets") is METS
    assert get_task("glioma") is GLIOMA
    assert METS.subset_title(("t1c",)) == "T1ce"
    assert METS.titles["wt"] != GLIOMA.titles["wt"]
    with pytest.raises(UsageError, match="no task 'metz'; did you mean 'mets'"):
        get_task("metz")


def test_a_glioma_model_is_the_same_network_for_metastases(model: Path):
    glioma = load_model(str(model))
    asked = for_task(glioma, METS)
    assert (asked.task, glioma.task) == (METS, GLIOMA)
    for name, weight in glioma.method.state_dict().items():
        assert asked.method.state_dict()[name].data_ptr() == weight.data_ptr(), name
    images, presence = torch.randn(1, 4, 16, 16, 16), torch.ones(1, 4, dtype=torch.bool)
    with torch.inference_mode():
        assert torch.equal(asked.method(images, presence), glioma.method(images, presence))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"modalities": ("t1c", "t1n", "t2w", "t2f")},
            "trained for modalities t1n, t1c, t2w, t2f; the task 'other' has",
        ),
        ({"regions": {"wt": (1, 2, 3)}, "painting": (("wt", 2),)}, "for regions wt, tc, et; the task 'other' has wt"),
    ],
)
def test_a_task_of_other_modalities_or_regions_is_refused(model: Path, changed: dict[str, object], words: str):
    other = Task.from_json({**METS.to_json(), "name": "other", **changed})
    with pytest.raises(UsageError, match=words):
        for_task(load_model(str(model)), other)


def test_evaluate_on_metastases(model: Path, mets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    words = ["evaluate", model, mets, "--task", "mets", "--subsets", "t1c,t1c+t2f", "-o", tmp_path]
    monkeypatch.setattr(sys, "argv", ["lacunet", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["cases"] == 2
    assert summary["identity"]["task"] == "mets"
    dice = [subset["wt"]["dice"] for subset in summary["subsets"].values()]
    assert summary["deviation"]["wt"]["dice"] == pytest.approx(abs(dice[0] - dice[1]) / 2)
    assert "Whole metastases" in (tmp_path / "report.html").read_text(encoding="utf-8")
