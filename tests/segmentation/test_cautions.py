"""What a person must be told first: before the volumes, on terminal and page, in both records, and once."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lacunet.case import CaseFiles
from lacunet.cli.terminal import print_imported, print_segmented
from lacunet.data.find import find_cases
from lacunet.data.prepare import Preparation
from lacunet.intake.importer import Imported, Importer
from lacunet.models.model import Model
from lacunet.nn.method import get_method, make_method
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.segment import segment_case
from lacunet.segmentation.sources import segment_export
from lacunet.segmentation.write import Segmented, SegmentSettings
from lacunet.task import GLIOMA
from phantoms_made import make_phantom

pytest.importorskip("pydicom", reason="pip install 'lacunet[dicom]'")
pytest.importorskip("highdicom", reason="pip install 'lacunet[dicom]'")
pytest.importorskip("dcm2niix", reason="pip install 'lacunet[dicom]'")

import pydicom

from dicom_made import Examination

pytestmark = pytest.mark.usefixtures("coarse_cases")

CHILD = "the patient is under 18; the models learned from adults"
ELSEWHERE = "its header says that it shows the chest, not the head"
BURNED = "text is burned into the image, by its header, and may name the patient"


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2}).eval()
    return Predictor(Model("tiny", method, Preparation(6.0), {}, "0" * 64), "cpu", "float32")


@pytest.fixture
def exported(tmp_path: Path) -> Callable[..., Path]:
    """An examination of one sequence, with these tags."""

    def write(modality: str, description: str, **tags: str) -> Path:
        case = make_phantom(5, spacing=4.0)
        voxels = case.images[modality].astype(np.uint16)
        made = Examination(tmp_path / "export")
        made.write(voxels, case.grid.affine, 3, description, modality, tags=tags)
        return made.folder

    return write


def of_export(predictor: Predictor, export: Path, out: Path) -> Segmented:
    _, done = segment_export(predictor, Importer(), export, out, SegmentSettings(), ())
    assert isinstance(done, Segmented), done
    return done


def test_a_child_a_chest_and_burned_in_text_are_said_before_the_volumes(predictor, exported, tmp_path, capsys) -> None:
    export = exported("t2f", "FLAIR", PatientAge="012Y", BodyPartExamined="CHEST", BurnedInAnnotation="YES")
    done = of_export(predictor, export, tmp_path / "out")
    print_segmented(done, GLIOMA)
    lines = capsys.readouterr().out.splitlines()
    for line, said in zip(lines, (CHILD, ELSEWHERE, BURNED), strict=False):
        assert line.startswith(f"{done.name}: CAUTION: ")
        assert said in line
    assert "whole tumour" in lines[3]
    assert not [line for line in lines[3:] if CHILD in line or ELSEWHERE in line or BURNED in line]

    page = done.places.page.read_text().split("</style>", 1)[1]
    for said in (CHILD[1:], ELSEWHERE, BURNED):
        assert page.count(said) == 1
        assert page.index(said) < page.index("Whole tumour") < page.index("<table")
    assert "data:image/png" not in page
    assert "viewer-data" not in page

    record = json.loads(done.places.record.read_text())
    assert [caution["kind"] for caution in record["cautions"]] == ["age", "body part", "burned-in text"]
    assert record["warnings"][:3] == [caution["sentence"] for caution in record["cautions"]]
    imported = json.loads(done.places.imported.read_text())
    assert imported["cautions"] == record["cautions"]
    assert imported["warnings"][:3] == record["warnings"][:3]
    assert "012Y" not in done.places.page.read_text() + json.dumps(record) + json.dumps(imported)


def test_what_import_found_is_still_said_when_its_case_is_segmented(predictor, exported, tmp_path, capsys) -> None:
    export = exported("t1c", "t1 KM", PatientBirthDate="20100101", BurnedInAnnotation="YES")
    _, imported = Importer().import_into(export, tmp_path / "cases")
    assert isinstance(imported, Imported), imported
    print_imported(imported, GLIOMA)
    assert CHILD in capsys.readouterr().out.splitlines()[0]
    (files,) = find_cases(tmp_path / "cases")
    done = segment_case(predictor, files, tmp_path / "out", SegmentSettings())
    assert done.cautions[0] == CHILD
    assert BURNED in done.cautions[1]
    page = done.places.page.read_text()
    assert page.count(CHILD[1:]) == 1
    assert "data:image/png" not in page


def test_an_adult_s_head_is_shown_and_nothing_is_said(predictor, exported, tmp_path, capsys) -> None:
    tags = {"PatientAge": "045Y", "BodyPartExamined": "BRAIN", "BurnedInAnnotation": "NO"}
    done = of_export(predictor, exported("t1c", "t1 KM", **tags), tmp_path / "out")
    print_segmented(done, GLIOMA)
    assert "CAUTION" not in capsys.readouterr().out
    assert done.cautions == []
    assert "data:image/png" in done.places.page.read_text()


def test_a_case_that_needs_no_import_is_told_by_its_sidecar(predictor, phantoms: list[CaseFiles], tmp_path) -> None:
    files = phantoms[0]
    folder = tmp_path / "scans"
    folder.mkdir()
    image = folder / "x-t1c.nii.gz"
    nib.save(nib.load(files.images["t1c"].path), image)
    (folder / "x-t1c.json").write_text(json.dumps({"PatientAge": "004Y"}))
    alone = replace(files, images={"t1c": replace(files.images["t1c"], path=image)})
    done = segment_case(predictor, alone, tmp_path / "out", SegmentSettings())
    assert done.cautions == [CHILD]


# ---------------------------------------------------------------- seen or inferred


def test_enhancing_tumour_without_t1ce_is_inferred_wherever_its_millilitres_stand(
    predictor, exported, tmp_path, capsys
) -> None:
    done = of_export(predictor, exported("t2f", "FLAIR"), tmp_path / "out")
    print_segmented(done, GLIOMA)
    said = [line for line in capsys.readouterr().out.splitlines() if "DOUBTFUL" not in line]
    (line,) = [line for line in said if "whole tumour" in line]
    assert line.endswith(" ml (inferred, not seen)")
    assert " ml (partly inferred), enhancing tumour " in line
    assert line.count("inferred") == 2
    record = json.loads(done.places.record.read_text())
    assert record["evidence"] == {"wt": "seen", "tc": "partly inferred", "et": "inferred"}
    sentence = "Enhancing tumour is inferred, not seen: it shows in T1ce only, and none was used"
    assert sentence in record["warnings"]
    labels = [one.SegmentLabel for one in pydicom.dcmread(done.places.dicom("t2f")).SegmentSequence]
    assert labels == [
        "Necrotic and non-enhancing tumour core (partly inferred)",
        "Peritumoural oedema",
        "Enhancing tumour (inferred, not seen)",
    ]


def test_enhancing_tumour_in_t1ce_is_seen_everywhere(predictor, exported, tmp_path, capsys) -> None:
    done = of_export(predictor, exported("t1c", "t1 KM"), tmp_path / "out")
    print_segmented(done, GLIOMA)
    labels = [one.SegmentLabel for one in pydicom.dcmread(done.places.dicom("t1c")).SegmentSequence]
    said = capsys.readouterr().out + done.places.page.read_text() + "".join(labels)
    assert "inferred" not in said.replace(".inferred", "")  # the style sheet
    assert set(json.loads(done.places.record.read_text())["evidence"].values()) == {"seen"}


def test_a_t1ce_that_was_left_out_shows_nothing(predictor, phantoms: list[CaseFiles], tmp_path) -> None:
    done = segment_case(predictor, phantoms[0], tmp_path, SegmentSettings(subset=("t1n", "t2f")))
    assert done.evidence["et"] == "inferred"


# ---------------------------------------------------------------- once


def test_a_wrong_label_is_told_once_although_import_and_segmentation_both_read_the_scan(predictor, tmp_path) -> None:
    case = make_phantom(2, spacing=3.0)
    (tmp_path / "in").mkdir()
    nib.save(nib.Nifti1Image(case.images["t2f"].astype(np.int16), case.grid.affine), tmp_path / "in" / "T2 tra.nii.gz")
    done = of_export(predictor, tmp_path / "in", tmp_path / "out")
    told = [line for line in done.warnings if "looks like" in line]
    assert told == ["file 1 (T2 TRA): labelled T2, looks like FLAIR"]
    assert json.loads(done.places.record.read_text())["warnings"].count(told[0]) == 1
    assert not [line for line in done.warnings if ".nii" in line]
