"""A scan that does not fit the others is named, with what to do; and left out where that is asked for."""

import json
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from calibrations_made import tiny_model
from lacunet.case import CaseFiles, ImageFile
from lacunet.cli.terminal import print_segmented
from lacunet.data.prepare import Preparation
from lacunet.evaluation.fit import Fit
from lacunet.methods.early_fusion import EarlyFusion
from lacunet.models.model import Model
from lacunet.nn.batch import Images, Logits, Presence, hide
from lacunet.nn.method import Method, Stage
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation import bad_scan
from lacunet.segmentation.answer import ask
from lacunet.segmentation.asked import ask_in_parts
from lacunet.segmentation.bad_scan import BadScan, bad_scan_of, left_out_words, recommendation, without
from lacunet.segmentation.segment import segment_case
from lacunet.segmentation.write import SegmentSettings
from lacunet.task import GLIOMA

FOUR = GLIOMA.modalities
GOOD = Fit(alone=0.7, others=0.7)
BAD = Fit(alone=0.1, others=0.8)


class Bright(Method[Images]):
    """Tumour is what is bright in the mean of the scans that are shown."""

    paper = EarlyFusion.paper

    def __init__(self, task: object) -> None:
        super().__init__(GLIOMA)
        self.unused = nn.Parameter(torch.zeros(1))
        self.divisor, self.encoded = 1, 0

    def encode(self, images: Images, presence: Presence) -> Images:
        self.encoded += 1
        return hide(images, presence)

    def decode(self, encoded: Images, presence: Presence) -> Logits:
        shown = hide(encoded, presence)
        mean = shown.sum(1, keepdim=True) / presence.sum(1)[:, None, None, None, None]
        return (mean - 1.0).expand(-1, 3, -1, -1, -1)

    def stages(self) -> list[Stage]:
        return [Stage(name="none", loss=self._loss, trains=[self])]

    def _loss(self, batch: object, clock: object) -> Mapping[str, Tensor]:
        return {"none": self.unused.sum()}


def predictor_made() -> Predictor:
    return Predictor(Model("bright", Bright(GLIOMA).eval(), Preparation(2.0), {}, "0" * 64), "cpu", "float32")


def files_made(folder: Path, bad: str = "", missing: str = "") -> CaseFiles:
    """A brain with a bright tumour at one place, but for the bad scan, which has it at the other side."""
    at = (np.moveaxis(np.indices((48, 56, 44)), 0, -1) - np.array([23.5, 27.5, 21.5])) * 2.0
    inside = np.linalg.norm(at / np.array([44.0, 52.0, 40.0]), axis=-1) < 1
    images = {}
    for seed, modality in enumerate(FOUR):
        if modality == missing:
            continue
        side = -20.0 if modality == bad else 20.0
        tumour = np.linalg.norm(at - np.array([side, 8.0, 5.0]), axis=-1) < 13
        noise = np.random.default_rng(seed).normal(0, 4, at.shape[:3])
        image = np.where(inside, np.where(tumour, 180.0, 100.0) + noise, 0).astype(np.float32)
        path = folder / f"made-{modality}.nii.gz"
        nib.save(nib.Nifti1Image(image, np.diag([2.0, 2.0, 2.0, 1.0])), path)
        images[modality] = ImageFile(path)
    return CaseFiles("made", "made", images, None, "made", None)


# ---------------------------------------------------------------- which scan


@pytest.mark.parametrize(
    ("fits", "wanted"),
    [
        ({}, None),
        (dict.fromkeys(FOUR, GOOD), None),
        ({**dict.fromkeys(FOUR, GOOD), "t2w": BAD}, "t2w"),
        ({**dict.fromkeys(FOUR, GOOD), "t1n": Fit(0.1, 0.8), "t2w": Fit(0.0, 0.8)}, "t2w"),
        ({"t2f": Fit(0.5, 0.7), "t1n": Fit(0.4, 0.8), "t1c": GOOD}, None),
    ],
)
def test_the_scan_farthest_below_its_limit_is_the_bad_one(fits, wanted):
    found = bad_scan_of(fits)
    assert (found and found.modality) == wanted


def test_each_sequence_has_a_limit_of_its_own(monkeypatch):
    monkeypatch.setattr(bad_scan, "LEAST_FIT", {"t1n": -0.5, "t2f": -0.1})
    monkeypatch.setattr(bad_scan, "LEAST_FIT_ELSE", -0.3)
    low = Fit(alone=0.3, others=0.7)  # a score of -0.4
    assert bad_scan_of({"t1n": low}) is None
    assert bad_scan_of({"t2f": low}) == BadScan("t2f", low, -0.1)
    assert bad_scan_of({"adc": low}) == BadScan("adc", low, -0.3)
    assert bad_scan_of({"adc": low, "t2f": low}).modality == "t2f"


def test_the_limits_are_of_the_sequences_that_the_task_has():
    assert set(bad_scan.LEAST_FIT) == set(FOUR)
    assert all(-1 < limit < 0 for limit in (*bad_scan.LEAST_FIT.values(), bad_scan.LEAST_FIT_ELSE))


def test_the_sentences_say_which_why_and_what_to_do():
    found = BadScan("t2w", BAD, -0.35)
    numbers = (
        "the mask from it alone has a Dice of 0.10 with the mask from the other sequences, and the masks from each of "
        "those alone 0.80 on average"
    )
    assert recommendation(GLIOMA, FOUR, found) == (
        f"T2 may be a bad scan (motion, shading, another sequence or another place): {numbers}; look at it, and if it "
        "is bad, segment again without it (--leave-out-bad, or --subset t1n+t1c+t2f)"
    )
    assert left_out_words(GLIOMA, found) == (
        f"T2 was not used, since it may be a bad scan (--leave-out-bad): {numbers}. Look at it: a tumour that it alone "
        "shows is left out too"
    )
    assert without(FOUR, found) == ("t1n", "t1c", "t2f")


# ---------------------------------------------------------------- from a case


@pytest.mark.parametrize("bad", FOUR)
def test_a_bad_scan_is_named_and_nothing_else_is_done(tmp_path, bad):
    answer = ask(predictor_made(), files_made(tmp_path, bad))
    (doubt,) = [one for one in answer.doubts if one.kind == "bad scan"]
    assert doubt.sentence.startswith(f"{GLIOMA.titles[bad]} may be a bad scan")
    assert answer.signs.fits[bad].score < -0.5
    assert min(fit.score for modality, fit in answer.signs.fits.items() if modality != bad) > -0.2
    assert (answer.subset, answer.left_out) == (FOUR, None)


def test_good_scans_and_two_scans_are_never_called_bad(tmp_path):
    assert "bad scan" not in {doubt.kind for doubt in ask(predictor_made(), files_made(tmp_path)).doubts}
    (tmp_path / "bad").mkdir()
    files = files_made(tmp_path / "bad", "t2w")
    two = ask(predictor_made(), files, ("t2w", "t2f"), leave_out_bad=True)
    assert (two.subset, two.left_out) == (("t2w", "t2f"), None)
    assert "bad scan" not in {doubt.kind for doubt in two.doubts}


def test_the_bad_scan_is_left_out_from_the_same_encoding(tmp_path):
    files, predictor = files_made(tmp_path, "t2w"), predictor_made()
    plain = ask(predictor, files)
    before = predictor.model.method.encoded
    answer = ask(predictor, files, leave_out_bad=True)
    assert predictor.model.method.encoded == before + 1
    rest = ("t1n", "t1c", "t2f")
    assert (answer.subset, answer.left_out.modality) == (rest, "t2w")
    alone = ask(predictor, files, rest)
    np.testing.assert_array_equal(answer.labels, alone.labels)
    assert answer.doubts == alone.doubts
    assert (answer.signs.agreement, answer.signs.fits) == (alone.signs.agreement, alone.signs.fits)
    words = left_out_words(GLIOMA, answer.left_out)
    assert words in answer.warnings
    assert [warning for warning in answer.warnings if warning != words] == alone.warnings
    assert list(answer.case.images) == list(FOUR)  # it is still shown
    assert not np.array_equal(answer.labels, plain.labels)


def test_of_three_scans_the_bad_one_is_left_out_too(tmp_path):
    answer = ask(predictor_made(), files_made(tmp_path, "t1n", missing="t2w"), leave_out_bad=True)
    assert (answer.subset, answer.left_out.modality) == (("t1c", "t2f"), "t1n")
    assert answer.signs.fits == {}


def test_nothing_is_left_out_where_all_fit(tmp_path):
    predictor = predictor_made()
    plain, answer = (ask(predictor, files_made(tmp_path), leave_out_bad=one) for one in (False, True))
    assert (answer.subset, answer.left_out, answer.warnings) == (FOUR, None, plain.warnings)
    np.testing.assert_array_equal(answer.labels, plain.labels)


def test_maps_are_kept_only_of_what_may_become_the_answer(tmp_path):
    case = ask(predictor_made(), files_made(tmp_path)).case
    for one_may_go, kept, asked_for in ((False, 1, 9), (True, 5, 15)):
        asked = ask_in_parts(predictor_made(), case, FOUR, one_may_go)
        assert (len(asked.answers), len(asked.masks)) == (kept, asked_for)


@pytest.mark.parametrize("leave_out_bad", [False, True])
def test_record_page_and_terminal_say_it(tmp_path, capsys, leave_out_bad):
    settings = SegmentSettings(viewer=False, leave_out_bad=leave_out_bad)
    done = segment_case(predictor_made(), files_made(tmp_path, "t2w"), tmp_path / "out", settings)
    record, page = json.loads(done.places.record.read_text()), done.places.page.read_text()
    print_segmented(done, GLIOMA)
    said = capsys.readouterr().out
    assert record["acquired"] == "t1n+t1c+t2w+t2f"
    if leave_out_bad:
        words = "T2 was not used, since it may be a bad scan (--leave-out-bad)"
        assert record["subset"] == "t1n+t1c+t2f"
        (own,) = record["left_out"].items()
        assert own[0] == "t2w"
        assert set(own[1]) == {"alone", "others", "least"}
        assert own[1]["alone"] < 0.2 < 0.8 < own[1]["others"]
        assert "    note: " + words in said
        assert "bad scan" not in {doubt["kind"] for doubt in record["doubts"]}
    else:
        words = "T2 may be a bad scan (motion, shading, another sequence or another place)"
        assert (record["subset"], record["left_out"]) == ("t1n+t1c+t2w+t2f", {})
        assert "bad scan" in {doubt["kind"] for doubt in record["doubts"]}
        assert "made: DOUBTFUL: " in said
        assert "--subset t1n+t1c+t2f" in said
    assert words in page
    assert words in said
    assert any(warning.startswith(words) for warning in record["warnings"])
    assert set(record["signs"]["fit"]) == set(record["subset"].split("+"))


def test_the_command_has_the_option(tmp_path, lacunet, monkeypatch):
    files_made(tmp_path)
    monkeypatch.setattr(bad_scan, "LEAST_FIT", {**dict.fromkeys(FOUR, -2.0), "t2w": 2.0})  # as if T2 were bad
    model = tiny_model(tmp_path / "model")
    scans = [word for name in FOUR for word in (f"--{name}", tmp_path / f"made-{name}.nii.gz")]
    common = ["segment", *scans, "--model", model, "--no-viewer", "--no-import"]
    status, out, err = lacunet(*common, "-o", tmp_path / "plain")
    assert status == 0, err
    assert "DOUBTFUL" in out
    assert "T2 may be a bad scan" in out
    status, out, err = lacunet(*common, "-o", tmp_path / "without", "--leave-out-bad")
    assert status == 0, err
    assert "note: T2 was not used" in out
    (record,) = (tmp_path / "without").glob("*/case.json")
    assert json.loads(record.read_text())["subset"] == "t1n+t1c+t2f"
