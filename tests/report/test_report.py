"""The pages a person reads: what they say, what they draw, and that nothing from outside gets in."""

import base64
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from math import nan

import matplotlib
import numpy as np
import pytest
from PIL import Image

from lacunet.case import Grid
from lacunet.errors import OutputError
from lacunet.evaluation.heat import by_size, heat_rows, ranked_cases, worst_cases
from lacunet.evaluation.page import (
    CasePicture,
    EvaluationView,
    evaluation_page,
    write_evaluation_page,
)
from lacunet.evaluation.scores import Row
from lacunet.evaluation.summary import Means, Summary
from lacunet.intake.found import Caution
from lacunet.report.page import join_words, millilitres
from lacunet.report.pictures import cuts, outline, pictures, png_uri, window
from lacunet.report.planes import AXIAL, CORONAL, SAGITTAL, busiest, section, size_mm
from lacunet.segmentation.doubts import Doubt
from lacunet.segmentation.expectation import Expectation
from lacunet.segmentation.page import CaseView, case_page, headline, write_case_page
from lacunet.task import GLIOMA

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SHAPE = (20, 24, 16)
SPACING = (1.0, 1.0, 3.0)
GRID = Grid(SHAPE, np.diag([*SPACING, 1.0]))
NASTY = '<script>alert("a & b")</script>'


def toy_labels() -> np.ndarray:
    """A tumour in the patient's right front upper corner; most of it at x=15, y=19, z=12."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[14:17, 18:21, 11:14] = 2
    labels[15, 19, 10:15] = 3
    labels[15, 17:22, 12] = 1
    labels[13:18, 19, 12] = 3
    return labels


def toy_image() -> np.ndarray:
    image = np.zeros(SHAPE, np.float32)
    image[2:18, 2:22, 2:15] = np.linspace(50, 150, 16)[:, None, None]
    return image


def case_view() -> CaseView:
    return CaseView(
        name="patient 7",
        task=GLIOMA,
        images={"t1c": toy_image(), "t2f": toy_image()},
        grid=GRID,
        prediction=toy_labels(),
        subset=("t1c", "t2f"),
        volumes={"wt": 84.1, "tc": 31.0, "et": 22.5},
        expected=Expectation({"wt": 0.87, "tc": 0.8, "et": 0.41}, 6, "test split"),
        warnings=("Something to know",),
        provenance={"model": "default", "weights sha256": "9f86d081"},
    )


def toy_rows(cases: tuple[str, ...] = ("a", "b"), subsets: tuple[str, ...] = ("t1n", "t1c+t2f")) -> list[Row]:
    """Dice falls from case to case and rises with the number of sequences."""
    return [
        Row(
            case,
            subset,
            region,
            dice=0.5 - 0.1 * number + 0.1 * subset.count("+"),
            hd95=5.0,
            reference_ml=10.0,
            prediction_ml=12.0,
        )
        for number, case in enumerate(cases)
        for subset in subsets
        for region in GLIOMA.regions
    ]


def toy_summary(subsets: tuple[str, ...] = ("t1n", "t1c+t2f")) -> Summary:
    scores = {
        name: {region: Means(dice=0.5 + 0.1 * name.count("+"), hd95=5.25) for region in GLIOMA.regions}
        for name in subsets
    }
    mean = {"wt": Means(dice=0.876, hd95=6.54), "tc": Means(dice=0.765, hd95=7.65), "et": Means(dice=nan)}
    return Summary(policy="brats", cases=2, subsets=scores, mean=mean, aurc={"wt": 2.31, "tc": 1.5})


def evaluation_view() -> EvaluationView:
    return EvaluationView("default", GLIOMA, toy_summary(), toy_rows(), provenance={"command": "lacunet evaluate"})


class Loads(HTMLParser):
    """Everything a browser would fetch, and every script."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = 0
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag in ("script", "iframe", "object", "embed")
        for name, value in attrs:
            if name in ("src", "srcset", "href", "xlink:href", "data", "action", "poster", "background"):
                self.found.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


def loads(page: str) -> Loads:
    parser = Loads()
    parser.feed(page)
    return parser


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


def test_axial_picture_has_the_patients_right_on_the_left_and_the_front_up():
    volume = np.zeros((4, 5, 6), int)
    volume[3, 4, 0] = 1  # right, anterior, inferior
    assert section(volume, AXIAL, 0).shape == (5, 4)
    assert section(volume, AXIAL, 0)[0, 0] == 1


def test_coronal_picture_has_the_patients_right_on_the_left_and_the_head_up():
    volume = np.zeros((4, 5, 6), int)
    volume[3, 0, 5] = 1  # right, posterior, superior
    assert section(volume, CORONAL, 0).shape == (6, 4)
    assert section(volume, CORONAL, 0)[0, 0] == 1


def test_sagittal_picture_has_the_front_on_the_left_and_the_head_up():
    volume = np.zeros((4, 5, 6), int)
    volume[2, 4, 5] = 1  # anterior, superior
    assert section(volume, SAGITTAL, 2).shape == (6, 5)
    assert section(volume, SAGITTAL, 2)[0, 0] == 1


def test_the_slice_with_most_tumour_is_chosen():
    mask = np.zeros((5, 5, 5), bool)
    mask[1:4, 2, 3] = True
    mask[2, 2, 1] = True
    assert [busiest(mask, plane) for plane in (AXIAL, CORONAL, SAGITTAL)] == [3, 2, 2]


def test_the_middle_slice_is_chosen_where_there_is_no_tumour():
    assert busiest(np.zeros((5, 7, 9), bool), AXIAL) == 4
    assert busiest(np.zeros((5, 7, 9), bool), SAGITTAL) == 2


def test_size_in_mm_knows_anisotropic_spacing():
    assert size_mm((10, 20, 4), (1.0, 1.0, 5.5), AXIAL) == (10, 20)
    assert size_mm((10, 20, 4), (1.0, 1.0, 5.5), CORONAL) == (10, 22)
    assert size_mm((10, 20, 4), (1.0, 2.0, 5.5), SAGITTAL) == (40, 22)


def test_outline_runs_half_way_between_inside_and_outside():
    mask = np.zeros((4, 6), bool)
    mask[1:3, 1:5] = True  # pixels from (1, 1) to (5, 3)
    points = np.array(
        [[float(number) for number in pair.split()] for pair in re.findall(r"[\d.]+ [\d.]+", outline(mask))]
    )
    assert points.min(axis=0).tolist() == [1, 1]
    assert points.max(axis=0).tolist() == [5, 3]
    assert outline(np.zeros((4, 6), bool)) == ""


def test_outline_of_a_mask_at_the_picture_s_edge_is_closed():
    assert outline(np.ones((3, 3), bool)).endswith("Z")


def test_outline_lies_on_the_bright_voxels_it_belongs_to():
    """The tumour is the only bright thing: its outline must enclose it in every plane, R and A left, A and S up."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[14:17, 18:21, 11:14] = 3
    image = (labels > 0).astype(np.float32) * 9 + (toy_image() > 0)
    at = cuts(GLIOMA, {"t1c": image}, GRID, labels, None)
    for cut, picture in zip(at, pictures(image, "T1ce", at), strict=True):
        rows, columns = np.nonzero(decoded(picture.uri) > 200)
        (path,) = {entry.path for entry in cut.outlines}
        points = np.array([[float(number) for number in pair.split()] for pair in re.findall(r"[\d.]+ [\d.]+", path)])
        assert points.min(axis=0).tolist() == [columns.min(), rows.min()]
        assert points.max(axis=0).tolist() == [columns.max() + 1, rows.max() + 1]
        height, width = decoded(picture.uri).shape
        assert columns.max() < width / 2
        assert rows.max() < height / 2


def test_cuts_go_through_most_of_the_tumour_and_say_where():
    at = cuts(GLIOMA, {"t1c": toy_image()}, GRID, toy_labels(), None)
    assert [cut.index for cut in at] == [12, 19, 15]
    assert [cut.position for cut in at] == [36.0, 19.0, 15.0]
    assert at[0].words == "z = 36 mm, slice 13 of 16"
    assert [entry.region for entry in at[0].outlines] == ["wt", "tc", "et"]


def test_cuts_follow_the_reference_where_the_prediction_is_empty():
    at = cuts(GLIOMA, {"t1c": toy_image()}, GRID, np.zeros(SHAPE, np.uint8), toy_labels())
    assert [cut.index for cut in at] == [12, 19, 15]
    assert {entry.kind for entry in at[0].outlines} == {"reference"}


def test_pictures_are_stretched_by_the_spacing():
    cut = cuts(GLIOMA, {"t1c": toy_image()}, GRID, toy_labels(), None)[1]
    picture = pictures(toy_image(), "T1ce", [cut])[0]
    height, width = decoded(picture.uri).shape
    assert cut.size == (width * 1.0, height * 3.0)
    assert f'viewBox="0 0 {cut.size[0]:.2f} {cut.size[1]:.2f}"' in case_page(case_view())


def test_window_is_of_what_is_not_background():
    image = np.zeros((10, 10, 10), np.float32)
    image[:5] = np.linspace(100, 200, 500).reshape(5, 10, 10)
    low, high = window(image)
    assert (low, high) == pytest.approx((100.5, 199.5), abs=0.1)
    assert window(np.zeros((2, 2, 2))) == (0.0, 1.0)
    assert window(np.full((2, 2, 2), 7.0)) == (6.0, 8.0)


def test_png_keeps_every_grey_value():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (decoded(png_uri(grey)) == grey).all()


def test_headline_is_one_plain_line():
    line = "Whole tumour 84.1 ml, tumour core 31.0 ml, enhancing tumour 22.5 ml, from T1ce and FLAIR"
    assert headline(case_view()) == line
    assert line in case_page(case_view())


def test_doubts_stand_between_the_headline_and_the_numbers_and_take_what_is_expected_away():
    doubt = Doubt("both sides", "72 % of <it> lies on both sides")
    view = replace(case_view(), doubts=[doubt], withheld=tuple(GLIOMA.regions), expected=None)
    page = case_page(view)
    assert "This mask is doubtful" in page
    assert page.index(headline(view)) < page.index("72 % of &lt;it&gt; lies on both sides.") < page.index("<table")
    assert "this case is not like those in which the model was measured" in page
    assert "card does not say" not in page
    assert "doubtful" not in case_page(case_view()).split("</style>")[1]


def test_a_region_that_is_withheld_says_so_and_the_others_stay():
    view = case_view()
    dice = {region: one for region, one in view.expected.dice.items() if region != "et"}
    page = case_page(replace(view, withheld=["et"], expected=replace(view.expected, dice=dice)))
    assert page.count("withheld: see above") == 1
    assert "0.87" in page
    assert "not measured" not in page


def test_every_page_says_what_a_volume_does_not_show():
    words = "A volume is no evidence of a tumour"
    assert f"{words}." in case_page(replace(case_view(), caveat=words))


def test_case_page_shows_its_numbers_and_where_they_come_from():
    page = case_page(case_view())
    for text in (
        "84.1",
        "31.0",
        "22.5",
        "0.87",
        "0.80",
        "0.41",
        "6 cases",
        "test split",
        "9f86d081",
        "not a medical device",
    ):
        assert text in page
    assert "Missing: T1 and T2." in page


def test_warnings_come_before_every_picture_and_table():
    page = case_page(case_view())
    assert page.index("Something to know.") < min(page.index("<table"), page.index("<image"))


def test_case_page_without_reference_does_not_speak_of_one():
    body = case_page(case_view()).split("</style>")[1]
    assert "reference" not in body.lower()


def test_case_page_with_reference_shows_both():
    view = replace(
        case_view(),
        reference=toy_labels(),
        reference_volumes={"wt": 77.7, "tc": 33.3, "et": 11.1},
        dice={"wt": 0.912, "tc": 0.823, "et": 0.734},
    )
    page = case_page(view)
    for text in ("77.7", "33.3", "11.1", "0.91", "0.82", "0.73", 'class="outline reference region-0"'):
        assert text in page


def test_case_page_of_an_empty_prediction_says_so():
    view = replace(case_view(), prediction=np.zeros(SHAPE, np.uint8), volumes={"wt": 0.0, "tc": 0.0, "et": 0.0})
    page = case_page(view)
    assert "No tumour found in T1ce and FLAIR." in page
    assert "through the middle of the brain" in page
    assert 'class="outline' not in page


def test_case_page_of_one_sequence_and_nothing_known():
    view = replace(case_view(), images={"t2f": toy_image()}, subset=("t2f",), expected=None, warnings=(), provenance={})
    page = case_page(view)
    assert page.count("<image") == 3
    assert "Missing: T1, T1ce and T2." in page
    assert "does not say what to expect from FLAIR" in page
    assert "Read this first" not in page


def test_a_sequence_that_was_not_used_is_shown_and_named_so():
    page = case_page(replace(case_view(), subset=("t2f",)))
    assert page.count("<image") == 6
    assert "not used by the model" in page


def test_an_expectation_of_one_region_leaves_the_others_open():
    page = case_page(replace(case_view(), expected=Expectation({"wt": 0.87, "tc": float("nan")}, 1, "one")))
    assert page.count("not measured") == 2
    assert "on 1 case (one)" in page


def test_words_from_outside_are_escaped_in_a_case_page():
    view = replace(
        case_view(),
        name=NASTY,
        warnings=(NASTY,),
        provenance={NASTY: NASTY},
        helpful_sequence=NASTY,
        expected=Expectation({"wt": 0.5}, 2, NASTY),
    )
    page = case_page(view)
    assert loads(page).scripts == 0
    assert page.count("&lt;script&gt;") == 7


def test_words_from_outside_are_escaped_in_an_evaluation_page():
    picture = CasePicture(NASTY, "t1n", "t1n", toy_image(), GRID, toy_labels(), toy_labels())
    view = EvaluationView(
        NASTY,
        GLIOMA,
        toy_summary().model_copy(update={"policy": NASTY}),
        toy_rows((NASTY, "$b_$")),
        NASTY,
        NASTY,
        [picture],
        (NASTY,),
    )
    page = evaluation_page(view)
    assert loads(page).scripts == 0
    assert NASTY not in page
    assert "$b_$" in page


@pytest.mark.parametrize("kind", ["case", "evaluation"])
def test_a_page_fetches_nothing(kind):
    picture = CasePicture("a", "t1n", "t1n", toy_image(), GRID, toy_labels(), toy_labels())
    page = case_page(case_view()) if kind == "case" else evaluation_page(replace(evaluation_view(), pictures=[picture]))
    parsed = loads(page)
    assert parsed.found
    assert all(link.startswith(("data:", "#")) for link in parsed.found)
    assert not parsed.handlers
    assert not re.search(r"@import|url\((?!#)", page)
    assert "<image" in page


def test_pages_are_the_same_every_time():
    assert case_page(case_view()) == case_page(case_view())
    assert evaluation_page(evaluation_view()) == evaluation_page(evaluation_view())


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    evaluation_page(evaluation_view())
    assert dict(matplotlib.rcParams) == before


def test_ids_of_one_page_are_unique():
    ids = re.findall(r'\bid="([^"]+)"', evaluation_page(evaluation_view()))
    assert len(ids) == len(set(ids))


def test_evaluation_page_shows_its_numbers():
    page = evaluation_page(replace(evaluation_view(), policy_words="both empty counts as 1"))
    for text in (
        "0.88",
        "6.5 mm",
        "2.31",
        "0.77",
        "5.2",
        "Policy <b>brats</b>: both empty counts as 1.",
        "lacunet evaluate",
    ):
        assert text in page
    assert "2 cases, 2 subsets" in page
    assert "WT  AURC 2.31" in re.sub(r"&#160;|\xa0", " ", page)


def test_evaluation_page_of_all_subsets_in_the_task_s_order():
    names = tuple(GLIOMA.subset_name(subset) for subset in GLIOMA.subsets)
    summary = toy_summary(names[::-1])
    rows = heat_rows(GLIOMA, summary, [])
    assert [row.title for row in rows] == [GLIOMA.subset_title(subset) for subset in GLIOMA.subsets]
    assert [row.first for row in rows].count(True) == 4
    assert rows[4].dots == (True, True, False, False)
    view = EvaluationView("m", GLIOMA, summary, toy_rows(subsets=names))
    assert evaluation_page(view).count('class="heat dice begins"') == 16


def test_evaluation_page_of_cases_that_lack_sequences_counts_them():
    rows = toy_rows() + toy_rows(("c",), ("t1n",))
    assert [row.cases for row in heat_rows(GLIOMA, toy_summary(), rows)] == [3, 2]
    assert '<th scope="col">Cases</th>' in evaluation_page(replace(evaluation_view(), rows=rows))


def test_evaluation_page_of_a_single_subset_and_unknown_scores():
    rows = [replace(row, dice=nan, hd95=nan) for row in toy_rows(("a",), ("t2f",))]
    unknown = {"t2f": {region: Means(dice=nan) for region in GLIOMA.regions}}
    summary = toy_summary(("t2f",)).model_copy(update={"aurc": {}, "cases": 1, "subsets": unknown})
    page = evaluation_page(EvaluationView("m", GLIOMA, summary, rows))
    assert "1 case, 1 subset of" in page
    assert "nan" not in re.sub(r"<[^>]*>", " ", page.split("</style>")[1]).lower().split()


def test_many_cases_are_folded():
    page = evaluation_page(replace(evaluation_view(), rows=toy_rows(tuple(f"case {n}" for n in range(45)))))
    assert "5 more cases" in page


def test_a_page_of_very_many_cases_has_the_worst_and_says_what_the_others_have(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lacunet.evaluation.page.STRIPS_KEPT", 42)
    monkeypatch.setattr("lacunet.evaluation.page.POINTS_KEPT", 30)
    rows = toy_rows(tuple(f"case {n}" for n in range(45)))
    summary = toy_summary().model_copy(update={"cases": 45})
    page = evaluation_page(replace(evaluation_view(), rows=rows, summary=summary))
    ranked = ranked_cases(rows)
    assert "2 more cases" in page
    assert f"The other 3 cases have a mean of {ranked[42].mean:.2f} or more" in page
    assert [entry.case for entry in ranked if f">{entry.case}<" in page] == [entry.case for entry in ranked[:42]]
    assert "30 of 45 cases, evenly from the worst to the best" in page


def test_summary_may_come_from_json():
    summary = Summary.model_validate(json.loads(json.dumps(toy_summary().to_json())))
    assert evaluation_page(replace(evaluation_view(), summary=summary)) == evaluation_page(evaluation_view())


def test_worst_cases_come_with_their_fullest_subset():
    assert worst_cases(GLIOMA, toy_rows(("a", "b", "c")), 2) == [("c", "t1c+t2f"), ("b", "t1c+t2f")]


def test_by_size_groups_subsets():
    summary = toy_summary(("t1n", "t2f", "t1c+t2f"))
    assert by_size(GLIOMA, summary, "wt") == {1: [0.5, 0.5], 2: [0.6]}


def test_empty_masks_are_counted_in_words():
    rows = toy_rows()
    rows[2], rows[5] = replace(rows[2], reference_ml=0.0, prediction_ml=0.0), replace(rows[5], reference_ml=0.0)
    page = evaluation_page(replace(evaluation_view(), rows=rows))
    assert "ET: the reference is empty in 1 of 2 cases and the prediction in 1 of 4 segmentations." in page
    assert "No reference and no prediction was empty." in evaluation_page(evaluation_view())


def test_worst_cases_are_drawn_with_their_scores():
    picture = CasePicture("b", "t1c+t2f", "t2f", toy_image(), GRID, toy_labels(), toy_labels())
    page = evaluation_page(replace(evaluation_view(), pictures=[picture]))
    assert page.count("<image") == 3
    assert "from T1ce + FLAIR, drawn on FLAIR" in page
    assert "WT Dice 0.50, HD95 5.0 mm, 12.0 of 10.0 ml" in page


@pytest.mark.parametrize(
    ("value", "text"),
    [(84.12, "84.1"), (0.0, "0.0"), (0.04, "0.04"), (0.001, "< 0.01"), (None, "–"), (float("nan"), "–")],
)
def test_millilitres_never_print_a_small_volume_as_none(value, text):
    assert millilitres(value) == text


def test_words_are_joined_as_people_do():
    assert [join_words(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_pages_are_written_whole(tmp_path):
    write_case_page(tmp_path / "case é.html", case_view())
    write_evaluation_page(tmp_path / "deep" / "report.html", evaluation_view())
    assert (tmp_path / "case é.html").read_text(encoding="utf-8") == case_page(case_view())
    assert (tmp_path / "deep" / "report.html").read_text(encoding="utf-8").endswith("</html>\n")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_case_page(tmp_path / "file" / "case.html", case_view())


def browse(path, folder) -> str:
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    options += " --disable-component-update --disable-sync --enable-logging=stderr --v=0 --virtual-time-budget=2000"
    command = [CHROMIUM, *options.split(), f"--user-data-dir={folder}", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "CONSOLE" not in done.stderr
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_browser_has_nothing_to_complain_about(tmp_path):
    both = case_page(case_view()).replace("</body>", "") + evaluation_page(evaluation_view()).split("<body>")[1]
    (tmp_path / "both.html").write_text(both, encoding="utf-8")
    assert "patient 7" in browse(tmp_path / "both.html", tmp_path / "profile")


def test_a_volume_that_no_sequence_can_show_is_called_inferred_at_every_place():
    view = replace(case_view(), images={"t2f": toy_image()}, subset=("t2f",), volume_words={"et": "80 %: 1.0 to 30.0"})
    line = headline(view)
    assert "tumour core 31.0 ml (partly inferred), enhancing tumour 22.5 ml (inferred, not seen), from FLAIR" in line
    page = case_page(view).split("</style>")[1]
    places = [match.end() for match in re.finditer(r"22\.5", page)]
    assert len(places) == 2
    assert all(page[place : place + 60].count("inferred, not seen") == 1 for place in places)
    assert "inferred" not in case_page(case_view()).split("</style>")[1]


def test_cautions_come_first_and_burned_in_text_takes_every_picture_away():
    child = Caution("age", "the patient is <b>under 18</b>")
    page = case_page(replace(case_view(), cautions=[child], viewer=True)).split("</style>", 1)[1]
    assert page.index("The patient is &lt;b&gt;under 18") < page.index("Whole tumour 84.1 ml")
    assert "data:image/png" in page
    burned = Caution("burned-in text", "text is burned into T1ce")
    page = case_page(replace(case_view(), cautions=[burned], viewer=True)).split("</style>", 1)[1]
    assert "text in them may name the patient" in page
    assert not any(word in page for word in ("data:image/png", "<image", "viewer-data", "<canvas"))
