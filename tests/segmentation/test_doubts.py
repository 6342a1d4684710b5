"""Which masks are doubtful, in which words, and what is withheld then."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from calibrations_made import calibration_made, tiny_model
from lacunet.cli.terminal import print_segmented
from lacunet.data.midplane import Plane
from lacunet.data.nifti import load_case
from lacunet.data.prepare import Preparation
from lacunet.data.scan_facts import ScanFacts
from lacunet.description.lobes import TITLES
from lacunet.description.where import Where
from lacunet.evaluation.agreement import Agreement, PartMask
from lacunet.evaluation.metrics import region_masks
from lacunet.models.calibration import Calibration, Range, Seen
from lacunet.models.model import Model, load_model
from lacunet.nn.method import get_method, make_method
from lacunet.prediction.postprocess import get_rule
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.answer import ask, signs_of
from lacunet.segmentation.asked import ask_in_parts
from lacunet.segmentation.doubts import Doubt, Signs, doubts_of, unreliable_regions
from lacunet.segmentation.expectation import Expectation, Expected, agreeing, caveat, expected_of, withhold
from lacunet.segmentation.segment import segment_case
from lacunet.segmentation.write import SegmentSettings
from lacunet.task import GLIOMA, METS

T1CE_FLAIR = ("t1c", "t2f")
USUAL = Signs(
    volumes={"wt": 84.0, "tc": 30.0, "et": 12.0},
    agreement=Agreement(
        {
            name: PartMask({"wt": volume, "tc": 20.0, "et": 5.0}, {"wt": 0.8, "tc": 0.6, "et": 0.5})
            for name, volume in {"t1c": 60.0, "t2f": 90.0}.items()
        }
    ),
    where=Where(both_sides=0.1, distant_ml=0.0),
    facts=ScanFacts(brain_ml=1400.0, voxel_mm=1.0, shading={"t1c": 1.2, "t2f": 1.3}),
)
SEEN = Seen(
    brain_ml=Range(low=1200.0, high=1900.0),
    voxel_mm=Range(low=1.0, high=1.0),
    shading=Range(low=1.1, high=2.2),
    volume_ml={"wt": Range(low=19.0, high=300.0)},
)


def agreeing_by(wt: float, et: float = 0.5) -> Agreement:
    return Agreement(
        {
            "t1c": PartMask({"wt": 39.0, "tc": 1.0, "et": 1.0}, {"wt": wt - 0.1, "tc": 0.6, "et": et}),
            "t2f": PartMask({"wt": 193.0, "tc": 1.0, "et": 1.0}, {"wt": wt + 0.1, "tc": 0.6, "et": et}),
        }
    )


def calibrated(**usual: float) -> Calibration:
    """With what is seen, and with usual agreements of T1ce + FLAIR by region."""
    calibration = calibration_made()
    own = {
        region: one.model_copy(update={"agreement": usual.get(region)})
        for region, one in calibration.subsets["t1c+t2f"].items()
    }
    return calibration.model_copy(update={"seen": SEEN, "subsets": {**calibration.subsets, "t1c+t2f": own}})


@pytest.mark.parametrize("calibration", [None, calibration_made(), calibrated(wt=0.4)])
def test_a_usual_mask_is_not_doubtful(calibration):
    assert doubts_of(GLIOMA, T1CE_FLAIR, USUAL, calibration) == []
    assert unreliable_regions(GLIOMA, T1CE_FLAIR, USUAL, calibration) == {}


@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        (
            {"agreement": agreeing_by(0.21)},
            "disagreement",
            "The sequences disagree: whole tumour 39.0 ml from T1ce, 193.0 ml from FLAIR (mean Dice with this mask "
            "0.21, usually at least 0.42)",
        ),
        (
            {"where": Where(0.72, 0.0)},
            "both sides",
            "72 % of the whole tumour found lies at the same places on both sides of the brain, as anatomy and shading "
            "do and tumours seldom do",
        ),
        (
            {"where": Where(0.1, 18.0)},
            "pieces",
            "18.0 ml of the whole tumour found lie more than 20 mm from its largest piece: a second tumour or a false "
            "finding",
        ),
        (
            {"volumes": {"wt": 0.0, "tc": 0.0, "et": 0.0}},
            "nothing found",
            "No tumour was found, and the model was measured on cases that have a tumour",
        ),
        (
            {"facts": replace(USUAL.facts, shading={"t1c": 2.6, "t2f": 1.9})},
            "shading",
            "T1ce is unevenly bright: 2.60 times brighter in one place than in another, most scans at most 1.80 times",
        ),
    ],
)
def test_a_doubt_without_a_calibration(change, kind, sentence):
    (doubt,) = doubts_of(GLIOMA, T1CE_FLAIR, replace(USUAL, **change), None)
    assert (doubt.kind, doubt.sentence) == (kind, sentence)


@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        (
            {"agreement": agreeing_by(0.45)},
            "disagreement",
            "The sequences disagree: whole tumour 39.0 ml from T1ce, 193.0 ml from FLAIR (mean Dice with this mask "
            "0.45, usually at least 0.50)",
        ),
        (
            {"volumes": {"wt": 2.1, "tc": 0.0, "et": 0.0}},
            "volume",
            "The whole tumour found has 2.1 ml, those of the cases that the model was calibrated with 19.0 to 300.0 ml",
        ),
        (
            {"volumes": {"wt": 420.0, "tc": 0.0, "et": 0.0}},
            "volume",
            "The whole tumour found has 420.0 ml, those of the cases that the model was calibrated with 19.0 to "
            "300.0 ml",
        ),
        (
            {"facts": replace(USUAL.facts, brain_ml=700.0)},
            "brain",
            "The scans show 700 ml of brain, those that the model was calibrated with 1200 to 1900 ml",
        ),
        (
            {"facts": replace(USUAL.facts, voxel_mm=5.5)},
            "voxels",
            "The longest side of a voxel is 5.5 mm, of the scans that the model was calibrated with 1 mm",
        ),
        (
            {"facts": replace(USUAL.facts, shading={"t1c": 1.2, "t2f": 2.3})},
            "shading",
            "FLAIR is unevenly bright: 2.30 times brighter in one place than in another, those that the model was "
            "calibrated with at most 2.20 times",
        ),
    ],
)
def test_a_doubt_of_what_a_calibration_saw(change, kind, sentence):
    (doubt,) = doubts_of(GLIOMA, T1CE_FLAIR, replace(USUAL, **change), calibrated(wt=0.5))
    assert (doubt.kind, doubt.sentence) == (kind, sentence)


def test_a_little_beyond_what_was_seen_is_no_doubt():
    near = replace(USUAL.facts, brain_ml=1120.0, voxel_mm=1.4, shading={"t1c": 2.2})
    assert doubts_of(GLIOMA, T1CE_FLAIR, replace(USUAL, facts=near), calibrated()) == []


def test_a_single_sequence_cannot_disagree_and_metastases_may_be_several():
    alone = replace(USUAL, agreement=None, where=Where(0.0, 30.0))
    assert [doubt.kind for doubt in doubts_of(GLIOMA, ("t2f",), alone, None)] == ["pieces"]
    assert doubts_of(METS, ("t2f",), alone, None) == []


def test_a_region_is_unreliable_where_it_agrees_less_than_its_subset_usually_does():
    calibration = calibrated(wt=0.4, tc=0.5, et=0.3)
    signs = replace(USUAL, agreement=agreeing_by(0.2, et=0.12))
    found = unreliable_regions(GLIOMA, T1CE_FLAIR, signs, calibration)
    sentence = (
        "ET is unreliable here: the masks from parts of the sequences agree with it less than usual "
        "(mean Dice with this mask 0.12, usually at least 0.30)"
    )
    assert found == {"et": [Doubt("disagreement", sentence)]}
    assert unreliable_regions(GLIOMA, ("t2f",), replace(signs, agreement=None), calibration) == {}
    assert unreliable_regions(GLIOMA, T1CE_FLAIR, signs, None) == {}


@pytest.mark.parametrize(("volume", "doubtful"), [(0.0, False), (0.2, True), (0.5, False), (60.0, False), (61.0, True)])
def test_a_region_of_another_size_than_any_that_was_seen_is_named(volume, doubtful):
    calibration = calibrated()
    seen = SEEN.model_copy(update={"volume_ml": {**SEEN.volume_ml, "et": Range(low=0.5, high=60.0)}})
    calibration = calibration.model_copy(update={"seen": seen})
    signs = replace(USUAL, volumes={"wt": 84.0, "tc": 70.0, "et": volume})
    sentence = (
        f"The enhancing tumour found has {volume:.1f} ml, those of the cases that the model was calibrated with 0.5 to "
        "60.0 ml"
    )
    found = unreliable_regions(GLIOMA, T1CE_FLAIR, signs, calibration)
    assert found == ({"et": [Doubt("volume", sentence)]} if doubtful else {})
    assert doubts_of(GLIOMA, T1CE_FLAIR, signs, calibration) == []


# ---------------------------------------------------------------- what is expected


@pytest.mark.parametrize(
    ("spans", "volumes", "wanted"),
    [
        ({"wt": (10, 30), "tc": (5, 20), "et": (1, 3)}, (20, 10, 2), {"wt": (10, 30), "tc": (5, 20), "et": (1, 3)}),
        ({"wt": (25, 30), "tc": (1, 8), "et": (1, 3)}, (20, 10, 2), {"wt": (20, 30), "tc": (1, 10), "et": (1, 3)}),
        ({"wt": (10, 30), "tc": (12, 40), "et": (1, 3)}, (20, 15, 2), {"wt": (10, 40), "tc": (10, 40), "et": (1, 3)}),
        ({"wt": (10, 30), "tc": None, "et": (11, 35)}, (20, 15, 12), {"wt": (10, 35), "tc": None, "et": (10, 35)}),
        ({"wt": None, "tc": None, "et": None}, (20, 15, 12), {"wt": None, "tc": None, "et": None}),
        ({"wt": (139, 151), "tc": (0, 4), "et": (0, 1)}, (0, 0, 0), {"wt": (0, 151), "tc": (0, 4), "et": (0, 1)}),
    ],
)
def test_ranges_hold_what_was_found_and_nest(spans, volumes, wanted):
    spans = {region: span and (float(span[0]), float(span[1])) for region, span in spans.items()}
    assert agreeing(spans, dict(zip(GLIOMA.regions, map(float, volumes), strict=True)), GLIOMA) == wanted


def test_ranges_of_a_calibrated_model_contradict_nothing(tmp_path):
    """Made so that WT is always found too large: its range lies below what is found."""
    calibration = calibration_made()
    offsets = {"wt": (-6.0, -3.0), "tc": (-1.0, 9.0), "et": (0.5, 1.0)}
    own = {
        region: one.model_copy(update={"radius_mm": Range(low=offsets[region][0], high=offsets[region][1])})
        for region, one in calibration.subsets["t1c+t2f"].items()
    }
    model = load_model(str(tiny_model(tmp_path / "model")))
    model = replace(model, calibration=calibration.model_copy(update={"subsets": {"t1c+t2f": own}}))
    volumes = {"wt": 40.0, "tc": 35.0, "et": 12.0}
    said = expected_of(model, T1CE_FLAIR, volumes, [], "none", None)
    spans = said.record["volume_ranges_ml"]
    assert all(low <= volumes[region] <= high for region, (low, high) in spans.items())
    assert spans["et"][0] <= spans["tc"][0] <= spans["wt"][0]
    assert spans["et"][1] <= spans["tc"][1] <= spans["wt"][1]
    assert said.volume_words["wt"].startswith("80 %: ")
    corrected = expected_of(model, T1CE_FLAIR, volumes, [], "none", None, corrected=True)
    assert (corrected.expectation, corrected.volume_words) == (None, {})
    assert "were not corrected for uneven brightness (N4): it gives no ranges here" in corrected.warnings[0]
    assert "volume_ranges_ml" not in corrected.record


def test_withheld_regions_leave_no_number_behind():
    ranges = {"wt": (0.6, 0.9), "tc": (0.4, 0.8), "et": None}
    expectation = Expectation({"wt": 0.8, "tc": 0.7, "et": 0.4}, 22, "invented", ranges, 0.8)
    record = {"cases": 22, "volume_ranges_ml": {"wt": [1, 2], "tc": [0, 1], "et": None}, "dice_ranges": dict(ranges)}
    expected = Expected(expectation, {"wt": "80 %: 1.0 to 2.0", "tc": "80 %: 0.0 to 1.0"}, "a sentence", (), record)
    some = withhold(expected, {"tc": [Doubt("volume", "why"), Doubt("disagreement", "why too")]})
    assert some.expectation.dice == {"wt": 0.8, "et": 0.4}
    assert some.expectation.ranges == {"wt": (0.6, 0.9), "et": None}
    assert some.volume_words == {"wt": "80 %: 1.0 to 2.0"}
    assert some.record["volume_ranges_ml"] == {"wt": [1, 2], "tc": None, "et": None}
    assert some.withheld == {"tc": ("volume", "disagreement")}
    whole = withhold(expected, {region: [Doubt("both sides", "why")] for region in GLIOMA.regions})
    assert (whole.expectation, whole.volume_words, whole.helpful_sequence) == (None, {}, "a sentence")
    assert set(whole.record["dice_ranges"].values()) == {None}
    assert withhold(expected, {}) is expected
    assert record["volume_ranges_ml"]["tc"] == [0, 1]


def test_the_caveat_says_what_the_card_knows_of_brains_without_a_tumour(tmp_path):
    model = load_model(str(tiny_model(tmp_path / "model")))
    words = "A volume is no evidence of a tumour: the model also finds some in brains without one"
    assert caveat(model, T1CE_FLAIR) == words
    free = {"cases": 12, "subsets": {"t1c+t2f": {"wt": {"median": 3.21, "mean": 9.0, "worst": 40.0}}}}
    model = replace(model, card={"results": {"tumour_free": free}})
    assert caveat(model, T1CE_FLAIR) == f"{words} (WT from these sequences in 12 such brains: 3.2 ml, median)"
    assert caveat(model, ("t2f",)) == words


# ---------------------------------------------------------------- from a case


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    card = {"results": {"cases": 3, "subsets": {"t1c+t2f": {region: {"dice": 0.8} for region in GLIOMA.regions}}}}
    return Predictor(Model("tiny", method.eval(), Preparation(6.0), card, "0" * 64), "cpu", "float32")


def test_signs_are_those_of_the_masks_on_the_network_s_grid(predictor, phantoms):
    case = load_case(phantoms[0])
    whole, *parts = predictor.with_parts(case, T1CE_FLAIR, [("t1c",), ("t2f",)])
    labels = whole.labels()
    asked = ask_in_parts(predictor, case, T1CE_FLAIR, one_may_go=False)
    masks = region_masks(labels, GLIOMA)
    midline = Plane(np.array([1.0, 0.0, 0.0]), 0.0)
    signs = signs_of(case, masks, whole, asked, midline)
    assert signs.volumes["wt"] == pytest.approx(np.count_nonzero(labels) * case.grid.voxel_ml)
    assert set(signs.agreement.parts) == {"t1c", "t2f"}
    frame = whole.answers[0].frame
    voxel = 0.001 * np.prod(np.array(frame.size) / np.array(frame.shape)) * 4.0**3
    for part in parts:
        found = signs.agreement.parts[part.subset[0]].volumes_ml
        assert found["wt"] == pytest.approx(np.count_nonzero(part.answers[0].maps[0] > 0) * voxel)
        assert found["wt"] == pytest.approx(np.count_nonzero(part.regions()["wt"]) * case.grid.voxel_ml, rel=0.15)
    assert set(signs.facts.shading) == {"t1c", "t2f"}
    assert signs.fits == {}
    alone = ask_in_parts(predictor, case, ("t1c",), one_may_go=True)
    assert signs_of(case, masks, alone.answers["t1c",], alone, midline).agreement is None


def test_masks_from_parts_go_through_the_same_rules(predictor, phantoms):
    nothing = replace(get_rule("largest"), change=lambda found: np.zeros_like(found.labels))
    case = load_case(phantoms[0])
    as_found, after = (ask_in_parts(predictor, case, T1CE_FLAIR, False, rules).masks for rules in ((), (nothing,)))
    assert set(after) == set(as_found) == {T1CE_FLAIR, ("t1c",), ("t2f",)}
    assert all(masks["wt"].any() for masks in as_found.values())
    assert not any(masks["wt"].any() for masks in after.values())


def test_page_record_and_terminal_of_a_doubtful_mask(predictor, phantoms, tmp_path, capsys):
    """An untrained network finds tumour everywhere."""
    files = phantoms[0]
    answer = ask(predictor, files, T1CE_FLAIR)
    assert "both sides" in {doubt.kind for doubt in answer.doubts}
    done = segment_case(predictor, files, tmp_path, SegmentSettings(subset=T1CE_FLAIR, viewer=False))
    record = json.loads(done.places.record.read_text())
    assert record["doubts"] == [{"kind": doubt.kind, "sentence": doubt.sentence} for doubt in answer.doubts]
    assert record["caveat"].startswith("A volume is no evidence of a tumour")
    assert record["warnings"][: len(answer.doubts)] == [doubt.sentence for doubt in answer.doubts]
    assert record["expected_dice"] == {}
    assert record["withheld"] == {region: [doubt.kind for doubt in answer.doubts] for region in GLIOMA.regions}
    assert set(record["signs"]) == {
        "agreement", "fit", "both_sides", "distant_ml", "brain_ml", "voxel_mm", "shading", "taken_out_ml",
    }  # fmt: skip
    assert set(record["signs"]["agreement"]) == {"t1c", "t2f"}
    assert set(record["signs"]["agreement"]["t1c"]) == {"volumes_ml", "dice"}
    whole = record["measures"]["wt"]
    assert set(whole) == {"voxels", "centre_mm", "side", "right_share", "midline_mm", "lobes", "foci"}
    assert whole["voxels"] == np.count_nonzero(answer.labels)
    assert whole["foci"][0]["product_mm2"] == max(focus["product_mm2"] for focus in whole["foci"])
    page = done.places.page.read_text()
    assert "This mask is doubtful" in page
    size = page.split("<h2>Size and place</h2>")[1].split("</table>")[0]
    first, share = whole["foci"][0], round(100 * whole["right_share"])
    assert f"<td>{first['longest_mm']:.0f} × {first['across_mm']:.0f} mm</td><td>{len(whole['foci'])}</td>" in size
    assert (f"<td>{share} % right</td>" if share >= 50 else f"<td>{100 - share} % left</td>") in size
    assert "<td>crosses it</td>" in size
    largest, part = next(iter(whole["lobes"].items()))
    assert f'<tr class="under"><td colspan="5">{TITLES[largest].capitalize()} {100 * part:.0f} %, ' in size
    assert "0.80" not in page.split("</style>")[1].split("<figure>")[0]
    print_segmented(done, GLIOMA)
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == f"{files.name}: DOUBTFUL: {'; '.join(doubt.sentence for doubt in answer.doubts)}"
    assert second.startswith(f"{files.name}: whole tumour")
