"""Shading is taken out of the scans that are chosen, and every place says so."""

import json

import nibabel as nib
import numpy as np
import pytest

from calibrations_made import tiny_model
from lacunet.case import Case, CaseFiles, Grid, ImageFile
from lacunet.data.shading import shading
from lacunet.intake import build
from lacunet.models.model import load_model
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.answer import ask
from lacunet.segmentation.even import evened
from lacunet.segmentation.segment import segment_case
from lacunet.segmentation.write import SegmentSettings
from lacunet.task import GLIOMA

SHAPE = (72, 84, 64)
GRID = Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0]))


@pytest.fixture(scope="module")
def case() -> Case:
    """T1 is even, FLAIR 2.5 times brighter on the right than on the left."""
    at = (np.moveaxis(np.indices(SHAPE), 0, -1) - (np.asarray(SHAPE) - 1) / 2) * 2.0
    radius = np.sqrt(((at / np.array([62.0, 76.0, 56.0])) ** 2).sum(axis=-1))
    folds = np.sin(at / 9.0).sum(axis=-1)
    tissue = np.where((radius > 0.85) | (folds > 1.2), 70.0, 100.0)
    noise = np.random.default_rng(0).normal(0, 3, SHAPE)
    even = np.where(radius < 1, np.maximum(tissue + noise, 1), 0).astype(np.float32)
    low, high = np.percentile(at[..., 0][radius < 1], [5, 95])
    shaded = even * np.exp(np.log(2.5) * (at[..., 0] - low) / (high - low)).astype(np.float32)
    return Case("made", "made", {"t1n": even, "t2f": shaded}, GRID, GRID)


@pytest.mark.parametrize(("choice", "chosen"), [("off", set()), ("auto", {"t2f"}), ("on", {"t1n", "t2f"})])
def test_the_chosen_scans_are_corrected_and_no_other(case, choice, chosen):
    found, done = evened(case, ("t1n", "t2f"), choice)
    assert set(done) == chosen
    for modality in case.images:
        same = np.array_equal(found.images[modality], case.images[modality])
        assert same == (modality not in chosen)
    if "t2f" in done:
        assert done["t2f"].before == pytest.approx(2.5, rel=0.1)
        assert done["t2f"].after == shading(found.images["t2f"], GRID) < 1.3
        assert np.array_equal(found.images["t2f"] != 0, case.images["t2f"] != 0)


def test_scans_that_are_not_used_are_not_looked_at(case):
    found, done = evened(case, ("t1n",), "auto")
    assert (found is case, done) == (True, {})


def test_n4_gives_the_same_on_any_number_of_threads(case):
    before = build.sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        results = []
        for threads in (1, 3):
            build.sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            results.append(build.even_out(case.images["t2f"]))
    finally:
        build.sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert np.array_equal(*results)


def test_answer_record_and_page_say_what_was_done(case, tmp_path):
    predictor = Predictor(load_model(str(tiny_model(tmp_path / "model"))), "cpu", "float32")
    images = {}
    for modality, image in case.images.items():
        path = tmp_path / f"made-{modality}.nii.gz"
        nib.save(nib.Nifti1Image(image, GRID.affine), path)
        images[modality] = ImageFile(path)
    files = CaseFiles("made", "made", images, None, "made", None)
    plain, answer = ask(predictor, files), ask(predictor, files, n4="auto")
    assert (dict(plain.evened), set(answer.evened)) == ({}, {"t2f"})
    assert {doubt.kind for doubt in plain.doubts} - {doubt.kind for doubt in answer.doubts} == {"shading"}
    np.testing.assert_allclose(answer.case.images["t2f"], plain.case.images["t2f"])
    corrected, _ = evened(answer.case, answer.subset, "auto")
    np.testing.assert_array_equal(answer.labels, predictor(corrected).labels())
    done = segment_case(predictor, files, tmp_path / "out", SegmentSettings(n4="auto", viewer=False))
    record = json.loads(done.places.record.read_text())
    one = answer.evened["t2f"]
    assert record["n4"] == {"t2f": {"before": one.before, "after": one.after}}
    sentence = (
        f"corrected for uneven brightness (N4): {one.before:.2f} times brighter in one place than in another before"
    )
    assert [line for line in done.warnings if sentence in line]
    assert sentence in done.places.page.read_text()
    assert record["provenance"]["corrected for uneven brightness (N4)"] == "FLAIR"
    assert set(GLIOMA.regions) == set(done.volumes)
    settings = SegmentSettings(n4="auto", subset=("t1n",), viewer=False)
    even = json.loads(segment_case(predictor, files, tmp_path / "even", settings).places.record.read_text())
    assert even["n4"] == {}
    said = "no scan: none is more than 1.8 times brighter in one place than in another"
    assert even["provenance"]["corrected for uneven brightness (N4)"] == said
    assert (
        "corrected for uneven brightness (N4)"
        not in json.loads(
            segment_case(predictor, files, tmp_path / "off", SegmentSettings(viewer=False)).places.record.read_text()
        )["provenance"]
    )
