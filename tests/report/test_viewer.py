"""The viewer inside a case's page: what the page holds, what a browser makes of it, and that nothing gets in or out."""

import base64
import gzip
import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from lacunet.case import Grid
from lacunet.data.find import case_from_files
from lacunet.data.prepare import Preparation
from lacunet.evaluation.evaluate import EvaluateSettings, evaluate
from lacunet.models.model import Model
from lacunet.nn.method import get_method, make_method
from lacunet.prediction.predictor import Predictor
from lacunet.report.page import resource, security_policy
from lacunet.report.pictures import cuts, window
from lacunet.report.viewer import NIIVUE_SHA256, EightBit, eight_bit, nifti_text, niivue_script, viewer_data
from lacunet.segmentation.expectation import Expectation
from lacunet.segmentation.page import CaseView, case_page, write_case_page
from lacunet.segmentation.segment import segment_case
from lacunet.segmentation.write import SegmentSettings
from lacunet.task import GLIOMA

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SOFTWARE_GL = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
PATIENCE = 180_000.0
"""Milliseconds: drawing without a graphics card on a busy machine is slow."""

SHAPE = (52, 60, 20)
TURN = np.array([[0.94, -0.34, 0, -20], [0.34, 0.94, 0, 15], [0, 0, 3, -30], [0, 0, 0, 1]])
GRID = Grid(SHAPE, TURN)
NASTY = (
    "</script><script>window.hacked=1</script>",
    "<!--<script>",
    '"><img src=x onerror="window.hacked=1">',
    "' onmouseover='window.hacked=1",
    "{{ 7 * 7 }} ]]> \u2028 &lt;b&gt;",
)


def brain(seed: int) -> np.ndarray:
    """Grey values around 100 in an ellipsoid that leaves a margin around it; the tumour brighter."""
    offsets = np.indices(SHAPE).reshape(3, -1).T - np.array([26, 30, 10])
    inside = ((offsets / np.array([12, 16, 7])) ** 2).sum(axis=1).reshape(SHAPE) <= 1
    noise = np.random.default_rng(seed).normal(100, 5, SHAPE)
    return np.where(inside, noise + 60 * (tumour() > 0), 0).astype(np.float32)


def tumour(shift: int = 0) -> np.ndarray:
    """On the patient's right, in front and above: boxes in each other, so that each region is seen in every plane."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[27 + shift : 36 + shift, 29:40, 8:17] = 2
    labels[29 + shift : 34 + shift, 31:38, 10:15] = 1
    labels[30 + shift : 33 + shift, 32:37, 11:14] = 3
    return labels


def case_view() -> CaseView:
    return CaseView(
        name="patient 7",
        task=GLIOMA,
        images={"t1c": brain(1), "t2f": brain(2)},
        grid=GRID,
        prediction=tumour(),
        subset=("t1c", "t2f"),
        volumes={"wt": 84.1, "tc": 31.0, "et": 22.5},
        reference=tumour(-2),
        reference_volumes={"wt": 84.1, "tc": 31.0, "et": 22.5},
        provenance={"model": "default"},
        viewer=True,
    )


def shown_box() -> tuple[slice, slice, slice]:
    """The part of the grid that pictures and viewer show."""
    view = case_view()
    return cuts(GLIOMA, view.images, GRID, view.prediction, view.reference)[0].box


class Parsed(HTMLParser):
    """Tags, scripts and links of a page, as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.scripts: list[str] = []
        self.types: list[str | None] = []
        self.policy = ""
        self.words: list[str] = []
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = tag if tag in ("script", "style") else ""
        given = dict(attrs)
        if tag == "script":
            self.scripts.append("")
            self.types.append(given.get("type"))
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action", "data")]
        self.handlers += [name for name in given if name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, text: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += text
        elif not self._inside:
            self.words.append(text)


def data_of(page: str) -> dict:
    parsed = Parsed(page)
    return json.loads(parsed.scripts[parsed.types.index("application/json")])


def opened_nifti(text: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


def in_eight_bits(image: np.ndarray) -> EightBit:
    return eight_bit(image, *window(image))


# ---------------------------------------------------------------- what the page holds


def test_eight_bits_keep_every_grey_value_to_half_a_step():
    image = brain(1)
    small = in_eight_bits(image)
    low, high = window(image)
    inside = image != 0
    kept = inside & (image >= low - 0.5 * (high - low)) & (image <= high + 0.5 * (high - low))
    assert kept[inside].mean() > 0.99
    restored = small.intercept + small.slope * small.voxels.astype(float)
    assert np.abs(restored - image)[kept].max() <= small.slope * 0.501
    assert small.slope <= 2 * (high - low) / 254
    assert small.voxels[inside].min() >= 1
    assert not small.voxels[~inside].any()


def test_a_scan_without_headroom_uses_all_steps():
    image = np.zeros((4, 4, 16), np.float32)
    image[1:3, 1:3] = np.arange(1, 17)
    small = in_eight_bits(image)
    assert (small.voxels.max(), small.voxels[1, 1, 0]) == (255, 1)
    assert small.intercept + small.slope == pytest.approx(1)
    assert small.intercept + 255 * small.slope == pytest.approx(16)


def test_a_vessel_far_above_the_window_takes_no_steps_from_the_brain():
    image = brain(1)
    image[26, 30, 10], image[26, 30, 11] = 1e6, -1e6
    assert in_eight_bits(image).voxels[26, 30, 10:12].tolist() == [255, 1]
    assert in_eight_bits(image).slope < 2


def test_what_is_zero_or_not_finite_is_step_zero():
    image = brain(1)
    image[26, 30, 10], image[26, 30, 11], image[26, 30, 12] = np.nan, np.inf, 0
    assert in_eight_bits(image).voxels[26, 30, 10:13].tolist() == [0, 0, 0]


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_scan_becomes_some_grey(value):
    small = in_eight_bits(np.full((3, 3, 3), value, np.float32))
    assert small.slope > 0
    assert (small.voxels > 0).all() == (value > 0)


def test_negative_grey_values_are_kept_too():
    image = np.zeros((4, 4, 4), np.float32)
    image[1:3, 1:3] = np.linspace(-50, 50, 16).reshape(2, 2, 4)
    small = in_eight_bits(image)
    there = image != 0
    assert np.abs(small.intercept + small.slope * small.voxels - image)[there].max() <= small.slope * 0.501


def test_the_page_holds_every_scan_around_the_brain_where_it_lies():
    view = case_view()
    data = data_of(case_page(view))
    box = shown_box()
    assert [scan["title"] for scan in data["scans"]] == ["T1ce", "FLAIR"]
    assert any(side.start > 0 for side in box)
    for scan in data["scans"]:
        image = opened_nifti(scan["nifti"])
        found, expected = image.get_fdata(), view.images[scan["name"]][box]
        assert np.abs(found - expected)[expected != 0].max() <= scan["slope"] * 0.51
        np.testing.assert_array_equal(np.asarray(image.dataobj.get_unscaled()) == 0, expected == 0)
        corner = [side.start for side in box]
        np.testing.assert_allclose(image.affine @ [0, 0, 0, 1], TURN @ [*corner, 1], atol=1e-4)
        np.testing.assert_allclose(image.affine[:3, :3], TURN[:3, :3], atol=1e-6)
        assert image.header.get_zooms() == pytest.approx(GRID.spacing)
        assert image.header.get_xyzt_units()[0] == "mm"
        assert scan["window"] == pytest.approx(window(view.images[scan["name"]]))


def test_the_page_holds_the_masks_voxel_by_voxel():
    view = case_view()
    data = data_of(case_page(view))
    box = shown_box()
    for mask, labels in zip(data["masks"], (view.prediction, view.reference), strict=True):
        image = opened_nifti(mask["nifti"])
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), labels[box])
        assert image.get_data_dtype() == np.uint8
    assert [mask["title"] for mask in data["masks"]] == ["Prediction", "Reference"]
    assert [region["labels"] for region in data["regions"]] == [[1, 2, 3], [1, 3], [3]]


def test_the_viewer_begins_where_the_pictures_are_cut():
    view = case_view()
    at = cuts(GLIOMA, view.images, GRID, view.prediction, view.reference)
    data = viewer_data(GLIOMA, view.images, GRID, view.masks, at)
    assert [cut.index for cut in at] == [12, 34, 31]
    np.testing.assert_allclose(data["start"], (TURN @ [31, 34, 12, 1])[:3])
    assert data["first"] == [side.start for side in at[0].box]
    assert data["count"] == list(SHAPE)


def test_a_mask_without_tumour_is_left_out():
    view = replace(case_view(), prediction=np.zeros(SHAPE, np.uint8), reference=None)
    page = case_page(view)
    assert data_of(page)["masks"] == []
    assert '<input type="radio" name="viewer-mask"' not in page
    assert [mask["name"] for mask in data_of(case_page(replace(view, reference=tumour())))["masks"]] == ["reference"]


def test_the_header_of_an_embedded_scan_says_nothing_but_its_place():
    header = opened_nifti(nifti_text(tumour(), TURN)).header
    for name in ("descrip", "aux_file", "db_name", "intent_name", "data_type"):
        assert bytes(header[name]).strip(b"\0") == b""


def test_a_page_has_a_panel_for_each_acquired_sequence_and_names_the_others():
    page = case_page(replace(case_view(), subset=("t2f",)))
    assert page.count('<figure class="panel"') == 2
    body = page[page.index('id="viewer-body"') : page.index('<section class="look">')]
    assert body.count("not acquired") == 2
    assert body.count("not used by the model") == 1
    assert body.count(" disabled>") == 2


def test_a_page_without_viewer_has_no_script_and_no_voxels():
    page = case_page(replace(case_view(), viewer=False))
    assert "<script" not in page
    assert "viewer" not in page
    assert CaseView.viewer is False


def test_the_pictures_are_the_same_with_and_without_viewer():
    pages = [case_page(replace(case_view(), viewer=viewer)) for viewer in (True, False)]
    look = [page[page.index('<section class="look">') : page.index("</main>")] for page in pages]
    assert look[0] == look[1]


def test_a_page_with_viewer_is_the_same_every_time():
    assert case_page(case_view()) == case_page(case_view())


def test_size_of_a_page_is_niivue_s_and_at_most_a_byte_and_a_half_for_each_voxel_of_a_scan():
    page, plain = case_page(case_view()), case_page(replace(case_view(), viewer=False))
    voxels = sum(np.count_nonzero(image) for image in case_view().images.values())
    assert len(niivue_script()) < 2_400_000
    assert len(page) - len(plain) - len(niivue_script()) < 1.5 * voxels + 40_000


def test_niivue_is_the_published_file_with_its_licences_in_front():
    script = resource("vendor/niivue.umd.js")
    assert hashlib.sha256(script.encode()).hexdigest() == NIIVUE_SHA256
    whole = niivue_script()
    assert whole.index("BSD 2-Clause License") < whole.index(script[:200])
    for words in ("</script", "<!--", "\r"):
        assert words not in whole + resource("viewer.js")


def test_a_page_with_viewer_refers_to_nothing_outside():
    page = case_page(case_view())
    parsed = Parsed(page)
    assert all(link.startswith("data:") for link in parsed.links)
    assert not parsed.handlers
    own = page.replace(resource("vendor/niivue.umd.js"), "")
    assert not re.search(r"https?://|@import|url\(", own.replace("http-equiv", ""))


def test_the_page_allows_its_own_scripts_and_nothing_else():
    parsed = Parsed(case_page(case_view()))
    runs = [script for script, kind in zip(parsed.scripts, parsed.types, strict=True) if kind is None]
    assert runs == [niivue_script(), resource("viewer.js")]
    assert parsed.policy == security_policy(runs)
    for script in runs:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in parsed.policy
    assert parsed.policy.startswith("default-src 'none'")
    assert "connect-src" not in parsed.policy
    assert "script-src 'none'" in Parsed(case_page(replace(case_view(), viewer=False))).policy


# ---------------------------------------------------------------- words from outside


def hostile_view(words: str) -> CaseView:
    titles = {**GLIOMA.titles, "t1c": words, "wt": words, "et": "enhancing tumour"}
    return replace(
        case_view(),
        name=words,
        task=replace(GLIOMA, titles=titles),
        warnings=(words,),
        provenance={words: words},
        helpful_sequence=words,
        expected=Expectation({"wt": 0.5}, 2, words),
    )


@pytest.mark.parametrize("words", NASTY)
def test_words_from_outside_stay_words(words):
    harmless, page = Parsed(case_page(hostile_view("harmless"))), case_page(hostile_view(words))
    parsed = Parsed(page)
    assert parsed.tags == harmless.tags
    assert parsed.types == harmless.types
    assert parsed.handlers == []
    assert parsed.scripts[1:] == harmless.scripts[1:]
    assert sum(words in text for text in parsed.words) >= 6
    data = data_of(page)
    assert data["scans"][0]["title"] == words
    assert data["regions"][0]["title"] == words


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    return Predictor(Model("tiny", method.eval(), Preparation(6.0), {}, "0" * 64), "cpu", "float32")


SECRETS = ("JANE DOE", "19600131", "Jane_Doe", "secret-hospital")
FILE_NAME = "scan\"><svg onload=alert(1)> & 'x'.nii.gz"


def hostile_scan(folder: Path) -> Path:
    """A scan whose header and folder speak of a patient, and whose file name is markup."""
    image = nib.Nifti1Image(brain(1), TURN)
    image.header["descrip"] = b"JANE DOE 19600131 <script>alert(1)</script>"
    image.header["aux_file"] = b"secret-hospital/1"
    image.header["intent_name"] = b"JANE DOE"
    image.header["db_name"] = b"19600131"
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(image, folder / "plain.nii.gz")
    return (folder / "plain.nii.gz").rename(folder / FILE_NAME)


def test_results_hold_no_folder_and_nothing_of_a_header(predictor, tmp_path):
    scan = hostile_scan(tmp_path / "secret-hospital" / "Jane_Doe")
    name = '<script>alert("a & b")<!--'
    files = case_from_files({"t1c": scan}, name)
    done = segment_case(predictor, files, tmp_path / "out", SegmentSettings(probabilities=True))
    written = [path for path in done.folder.iterdir() if path.is_file()]
    assert {path.suffix for path in written} == {".gz", ".html", ".json"}
    for path in written:
        content = path.read_bytes()
        content = gzip.decompress(content) + content[:200] if path.suffix == ".gz" else content
        for secret in (*SECRETS, str(tmp_path)):
            assert secret.encode() not in content, f"{secret} in {path.name}"
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    parsed = Parsed(page)
    assert parsed.types == ["application/json", None, None]
    assert "svg onload" not in page.replace("&lt;svg onload", "")
    assert any(FILE_NAME in text for text in parsed.words)
    assert any(name in text for text in parsed.words)
    record = json.loads((done.folder / "case.json").read_text(encoding="utf-8"))
    assert record["provenance"]["scans"] == FILE_NAME


def test_what_cannot_be_read_is_named_by_its_file_alone_on_a_page(predictor, tmp_path):
    scan = hostile_scan(tmp_path / "secret-hospital" / "Jane_Doe")
    mask = scan.with_name("mask.nii.gz")
    nib.save(nib.Nifti1Image(tumour(), TURN), mask)
    cases = [case_from_files({"t1c": scan}, "good", reference=mask, labels="brats2023")]
    for number, content in enumerate((b"", b"no scan", gzip.compress(b"no scan" * 100), b"no scan")):
        file = scan.with_name(f"{number}-broken{'.mha' if number == 3 else '.nii.gz'}")
        file.write_bytes(content)
        cases.append(case_from_files({"t1c": file}, f"bad {number}", reference=mask, labels="brats2023"))
    result = evaluate(predictor, cases, tmp_path / "out", EvaluateSettings((("t1c",),), pictures=1))
    assert len(result.problems) == 4
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("-broken.") >= 4
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert not [secret for secret in (*SECRETS, str(tmp_path)) if secret in text], path.name


def test_segmenting_puts_the_viewer_into_the_page_unless_told_not_to(predictor, tmp_path):
    scan = hostile_scan(tmp_path / "scans")
    sizes = []
    for number, settings in enumerate((SegmentSettings(), SegmentSettings(viewer=False))):
        done = segment_case(predictor, case_from_files({"t1c": scan}, f"case {number}"), tmp_path, settings)
        page = (done.folder / "report.html").read_text(encoding="utf-8")
        assert ('id="viewer"' in page) == settings.viewer
        sizes.append(len(page))
    assert sizes[1] < 200_000 < 2_300_000 < sizes[0]


# ---------------------------------------------------------------- in a browser


@dataclass
class Tab:
    """A page in a browser, and all that it asked for or complained about."""

    page: object
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def panel(self, name: str = "t1c"):
        return self.page.locator(f'.panel[data-scan="{name}"] .screen')

    def pixels(self, name: str = "t1c") -> np.ndarray:
        """What a person sees of a panel, after everything was drawn."""
        frames = "async () => { for (let n = 0; n < 6; n++) await new Promise(requestAnimationFrame); }"
        self.page.evaluate(frames)
        return np.asarray(Image.open(io.BytesIO(self.panel(name).screenshot())).convert("RGB")).astype(int)

    def switch(self, name: str, value: str, on: bool = True) -> None:
        self.page.locator(f'input[name="{name}"][value="{value}"]').set_checked(on, force=True)

    def slide(self, name: str, value: float) -> None:
        self.page.locator(f"#viewer-{name}").fill(str(value))

    def again(self) -> None:
        self.page.locator("#viewer-reset").click()

    def text(self, place: str) -> str:
        return self.page.locator(place).inner_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    if CHROMIUM is None:
        pytest.skip("no Chromium here; on Debian: apt install chromium")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE_GL)
        yield started
        started.close()


SCREEN = {"width": 820, "height": 700}


def open_tab(browser, view: CaseView, folder: Path, script: str = "", **settings) -> Tab:
    """The view's page, with every request but the one for the page itself refused and kept."""
    write_case_page(folder / "page.html", view)
    address = (folder / "page.html").as_uri()
    context = browser.new_context(viewport=SCREEN, **settings)
    context.set_default_timeout(PATIENCE)
    tab = Tab(context.new_page())

    def refuse(route) -> None:
        tab.requests.append(route.request.url)
        route.continue_() if route.request.url == address else route.abort()

    context.route("**/*", refuse)
    tab.page.on("console", lambda message: tab.complaints.append(message.text))
    tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.page.on("dialog", lambda dialog: tab.complaints.append(dialog.message))
    if script:
        tab.page.add_init_script(script)
    tab.page.goto(address)
    return tab


LIKE_A_GRAPHICS_CARD = """
const own = WebGL2RenderingContext.prototype.getExtension;
WebGL2RenderingContext.prototype.getExtension = function (name) {
  return name === "WEBGL_debug_renderer_info" ? null : own.call(this, name);
};
"""
"""Hides from the page that software draws, so that it opens the viewer by itself."""


@pytest.fixture(scope="module")
def tab(browser, tmp_path_factory) -> Iterator[Tab]:
    """A case of two sequences with a reference, whose words from outside are markup, on a turned grid."""
    words = NASTY[0] + NASTY[2]
    view = replace(case_view(), name=words, warnings=(words,), provenance={words: words}, helpful_sequence=words)
    opened = open_tab(browser, view, tmp_path_factory.mktemp("tab"), LIKE_A_GRAPHICS_CARD)
    opened.page.locator("#viewer").scroll_into_view_if_needed()
    opened.page.wait_for_selector("html[data-viewer]")
    yield opened
    opened.page.context.close()


@pytest.fixture
def viewer(tab: Tab) -> Iterator[Tab]:
    """The same page as it begins; whatever a test did, nothing was asked for and nothing complained about."""
    tab.again()
    yield tab
    assert tab.complaints == []
    assert [request for request in tab.requests if not request.startswith("file:")] == []


def coloured(pixels: np.ndarray) -> np.ndarray:
    """Where a pixel is not grey."""
    return pixels.max(axis=-1) - pixels.min(axis=-1) > 12


def blue(pixels: np.ndarray) -> np.ndarray:
    """Where a pixel has the colour of the whole tumour outside its core."""
    return np.abs(pixels - [95, 182, 255]).max(axis=-1) <= 3


def test_browser_opens_two_panels_for_two_sequences_and_asks_for_nothing_else(viewer):
    assert viewer.page.evaluate("document.documentElement.dataset.viewer") == "ready"
    assert viewer.page.locator(".panel canvas").count() == 2
    assert viewer.page.locator("#viewer-missing").count() == 0
    assert len(viewer.requests) == 1
    assert viewer.page.evaluate("window.hacked") is None
    assert viewer.text("h1") == NASTY[0] + NASTY[2]


@pytest.mark.parametrize("region", ["wt", "tc", "et"])
def test_browser_takes_a_region_away_and_brings_it_back(viewer, region):
    before = viewer.pixels()
    viewer.switch("viewer-region", region, on=False)
    without = viewer.pixels()
    changed = (before != without).any(axis=-1)
    assert 50 < changed.sum() < changed.size / 4
    viewer.switch("viewer-region", region)
    np.testing.assert_array_equal(viewer.pixels(), before)


def test_browser_shows_the_regions_in_the_colours_of_the_pictures(viewer):
    viewer.slide("opacity", 100)
    pixels = viewer.pixels()
    for place in range(3):
        line = viewer.page.evaluate(
            f"getComputedStyle(document.querySelector('.outline.region-{place}')).getPropertyValue('stroke')"
        )
        colour = [int(number) for number in re.findall(r"\d+", line)]
        assert (np.abs(pixels - colour).max(axis=-1) <= 3).sum() > 200, f"region {place} in {line}"


def test_browser_paints_the_inner_region_over_the_outer_one(viewer):
    """With the whole tumour alone, all of it has one colour; an inner region alone covers only itself."""
    viewer.slide("opacity", 100)
    areas = {}
    for region in ("wt", "tc", "et"):
        for other in ("wt", "tc", "et"):
            viewer.switch("viewer-region", other, on=other == region)
        areas[region] = int(coloured(viewer.pixels()).sum())
    assert areas["wt"] > areas["tc"] > areas["et"] > 0


def test_browser_changes_the_mask_s_opacity_and_leaves_its_outline(viewer):
    viewer.slide("opacity", 0)
    thin = coloured(viewer.pixels()).sum()
    viewer.slide("opacity", 60)
    thick = coloured(viewer.pixels()).sum()
    viewer.switch("viewer-mask", "")
    none = coloured(viewer.pixels()).sum()
    assert thick > 2 * thin
    assert thin > none + 100


def test_browser_switches_between_prediction_and_reference(viewer):
    """The reference lies two voxels further left, which is to the right on the screen."""
    viewer.slide("opacity", 100)
    middles = []
    for mask in ("prediction", "reference"):
        viewer.switch("viewer-mask", mask)
        pixels = viewer.pixels()
        columns = np.nonzero(blue(pixels))[1]
        middles.append((columns.min() + columns.max()) / 2)
    across = shown_box()[0]
    voxel = pixels.shape[1] / (across.stop - across.start)
    assert middles[1] - middles[0] == pytest.approx(2 * voxel, rel=0.2)


def test_browser_hides_a_sequence_and_gives_its_room_to_the_other(viewer):
    viewer.page.set_viewport_size({"width": 820, "height": 1600})  # tall enough that the width decides
    viewer.pixels("t2f")
    width = viewer.panel("t2f").bounding_box()["width"]
    viewer.switch("viewer-scan", "t1c", on=False)
    viewer.pixels("t2f")
    assert not viewer.panel("t1c").is_visible()
    assert viewer.panel("t2f").bounding_box()["width"] > width
    viewer.switch("viewer-scan", "t1c")
    assert viewer.panel("t1c").is_visible()
    viewer.page.set_viewport_size(SCREEN)


def test_browser_shows_each_plane_and_all_three(viewer):
    seen = [viewer.pixels()]
    for plane, letters in (("coronal", "RLSI"), ("sagittal", "APSI"), ("all", "RLAPRLSIAPSI")):
        viewer.switch("viewer-plane", plane)
        seen.append(viewer.pixels())
        assert "".join(viewer.panel().locator(".edge").all_inner_texts()) == letters
        assert all(first.shape != seen[-1].shape or (first != seen[-1]).any() for first in seen[:-1])


@pytest.mark.parametrize(("plane", "centre"), [("axial", (31, 34)), ("coronal", (31, 12)), ("sagittal", (34, 12))])
def test_browser_hangs_the_planes_as_the_letters_say(viewer, plane, centre):
    """The tumour lies on the patient's right: its middle is where the pictures of the page have it."""
    viewer.switch("viewer-plane", plane)
    viewer.slide("opacity", 100)
    pixels = viewer.pixels()
    rows, columns = np.nonzero(blue(pixels))
    box = shown_box()
    across, up = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}[plane]
    for found, length, index, axis in (
        ((columns.min() + columns.max()) / 2, pixels.shape[1], centre[0], across),
        ((rows.min() + rows.max()) / 2, pixels.shape[0], centre[1], up),
    ):
        side = box[axis]
        assert found / length == pytest.approx(1 - (index + 0.5 - side.start) / (side.stop - side.start), abs=0.03)


def millimetres(viewer: Tab) -> list[int]:
    """Where the crosshair is, as the page says it."""
    return [int(number) for number in re.findall(r"-?\d+", viewer.text("#viewer-place").replace("−", "-"))]


def test_browser_says_place_value_and_regions_under_the_crosshair(viewer):
    mm = (TURN @ [31, 34, 12, 1])[:3]
    assert millimetres(viewer) == pytest.approx(list(mm), abs=0.51)
    assert "whole tumour, tumour core, enhancing tumour" in viewer.text("#viewer-place")
    assert viewer.text("#viewer-slice-name") == "Axial slice 13 of 20"
    viewer.switch("viewer-plane", "coronal")
    assert viewer.text("#viewer-slice-name") == "Coronal slice 35 of 60"
    for name, image in case_view().images.items():
        value = float(viewer.page.locator(f'.panel[data-scan="{name}"] output').inner_text())
        assert value == pytest.approx(float(image[31, 34, 12]), abs=in_eight_bits(image).slope)


def test_browser_links_the_crosshair_of_the_panels(viewer):
    viewer.switch("viewer-mask", "")
    box = viewer.panel("t2f").bounding_box()
    for across, down in ((0.9, 0.1), (0.3, 0.6)):
        viewer.panel("t2f").click(position={"x": across * box["width"], "y": down * box["height"]})
        viewer.page.keyboard.press("Escape")
        for name in ("t1c", "t2f"):
            lines = coloured(viewer.pixels(name))
            found = lines.sum(axis=0).argmax() / lines.shape[1], lines.sum(axis=1).argmax() / lines.shape[0]
            assert found == pytest.approx((across, down), abs=0.02), name
    assert "tumour" not in viewer.text("#viewer-place")


def test_browser_says_zero_where_the_scan_is_zero(viewer):
    viewer.panel().click(position={"x": 5, "y": 5})
    assert viewer.page.locator('.panel[data-scan="t1c"] output').inner_text() == "0"


def test_browser_turns_slices_by_slider_and_keys(viewer):
    first = viewer.pixels()
    viewer.slide("slice", int(viewer.page.locator("#viewer-slice").input_value()) + 3)
    assert viewer.text("#viewer-slice-name") == "Axial slice 16 of 20"
    assert (viewer.pixels() != first).any()
    viewer.panel().locator("canvas").focus()
    viewer.page.keyboard.press("PageDown")
    assert viewer.text("#viewer-slice-name") == "Axial slice 15 of 20"
    place = viewer.text("#viewer-place")
    viewer.page.keyboard.press("ArrowLeft")
    viewer.page.keyboard.press("ArrowUp")
    assert viewer.text("#viewer-place") != place
    assert millimetres(viewer) == pytest.approx(list((TURN @ [32, 35, 14, 1])[:3]), abs=0.51)


def wait_until(page, happened) -> None:
    """Up to half a minute."""
    for _ in range(300):
        if happened():
            return
        page.wait_for_timeout(100)
    raise AssertionError("did not happen")


def test_browser_leaves_the_wheel_to_the_page_until_a_panel_was_clicked(viewer):
    page = viewer.page
    page.locator("#viewer-reset").focus()
    viewer.panel().hover()
    name, top = viewer.text("#viewer-slice-name"), page.evaluate("scrollY")
    page.mouse.wheel(0, 120)
    wait_until(page, lambda: page.evaluate("scrollY") != top)
    assert viewer.text("#viewer-slice-name") == name
    viewer.panel().click(position={"x": 20, "y": 20})
    top = page.evaluate("scrollY")
    page.mouse.wheel(0, 120)
    wait_until(page, lambda: viewer.text("#viewer-slice-name") != name)
    assert page.evaluate("scrollY") == top


def test_browser_hides_the_mask_at_a_key_press(viewer):
    viewer.panel().locator("canvas").focus()
    viewer.switch("viewer-mask", "reference")
    viewer.panel().locator("canvas").focus()
    viewer.page.keyboard.press("m")
    assert viewer.page.locator('input[name="viewer-mask"]:checked').input_value() == ""
    viewer.page.keyboard.press("m")
    assert viewer.page.locator('input[name="viewer-mask"]:checked').input_value() == "reference"


def test_browser_changes_brightness_and_contrast_by_slider_and_by_right_drag(viewer):
    viewer.switch("viewer-mask", "")
    grey = viewer.pixels().mean()
    viewer.slide("brightness", 30)
    assert viewer.pixels().mean() > grey + 2
    viewer.again()
    viewer.switch("viewer-mask", "")
    viewer.panel().hover()
    box = viewer.panel().bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    viewer.page.mouse.move(x, y)
    viewer.page.mouse.down(button="right")
    viewer.page.mouse.move(x, y + 60, steps=3)
    viewer.page.mouse.up(button="right")
    assert viewer.pixels().mean() < grey - 2


def test_browser_zooms_around_the_crosshair(viewer):
    viewer.slide("opacity", 100)
    before = coloured(viewer.pixels())
    viewer.slide("zoom", 2)
    after = coloured(viewer.pixels())
    assert after.sum() > 2 * before.sum()
    middles = [np.argwhere(seen.sum(axis=0) == seen.sum(axis=0).max()).mean() for seen in (before, after)]
    assert middles[0] == pytest.approx(middles[1], abs=0.02 * before.shape[1])


def test_browser_begins_at_the_window_of_the_pictures(viewer):
    """Brain and tumour are as grey in the panel as in the picture below it."""
    viewer.switch("viewer-mask", "")
    viewer.page.locator("#show-none").check(force=True)
    picture = viewer.page.locator(".look .plane.axial .slice").first
    shot = np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("L")).astype(float)
    panel = viewer.pixels().mean(axis=-1)
    viewer.page.locator("#show-all").check(force=True)
    brain_and_tumour = [np.percentile(seen[seen > 15], [50, 95]) for seen in (shot, panel)]
    assert brain_and_tumour[0] == pytest.approx(brain_and_tumour[1], abs=12)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_browser_fits_a_narrow_screen(viewer, scheme):
    viewer.page.emulate_media(color_scheme=scheme)
    viewer.page.set_viewport_size({"width": 420, "height": 900})
    assert viewer.page.evaluate("document.documentElement.scrollWidth") <= 420
    assert coloured(viewer.pixels()).any()
    viewer.page.set_viewport_size({"width": 820, "height": 700})
    viewer.page.emulate_media(color_scheme="light")


def test_browser_prints_the_pictures_and_not_the_viewer(viewer):
    viewer.page.emulate_media(media="print")
    assert not viewer.page.locator("#viewer").is_visible()
    assert viewer.page.locator(".look image").first.is_visible()
    viewer.page.emulate_media(media="screen")


@pytest.mark.parametrize(
    ("script", "settings"),
    [
        ("const own = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext = function (kind) "
         "{ return kind === 'webgl2' ? null : own.apply(this, arguments); };", {}),
        ("", {"java_script_enabled": False}),
    ],
    ids=["no WebGL2", "no JavaScript"],
)  # fmt: skip
def test_browser_without_webgl_says_one_line_and_shows_the_pictures(browser, tmp_path, script, settings):
    tab = open_tab(browser, case_view(), tmp_path, script, **settings)
    tab.page.wait_for_timeout(300)
    assert "needs a browser with JavaScript and WebGL2" in tab.text("#viewer-missing")
    assert not tab.page.locator("#viewer-body").is_visible()
    assert tab.page.locator(".look image").first.is_visible()
    assert tab.complaints == []
    tab.page.context.close()


def test_browser_without_graphics_card_opens_the_viewer_when_asked(browser, tmp_path):
    view = case_view()
    tab = open_tab(browser, replace(view, images={"t2f": view.images["t2f"]}, subset=("t2f",)), tmp_path)
    tab.page.locator("#viewer").scroll_into_view_if_needed()
    tab.page.wait_for_timeout(300)
    assert "without a graphics card" in tab.text("#viewer-missing")
    assert not tab.page.locator("#viewer-body").is_visible()
    tab.page.get_by_role("button", name="Open the viewer").click()
    tab.page.wait_for_selector("html[data-viewer=ready]")
    assert coloured(tab.pixels("t2f")).any()
    assert tab.complaints == []
    tab.page.context.close()


def test_browser_refuses_a_script_that_got_in(browser, tmp_path):
    """The page's policy is a second wall: even markup that nothing escaped does not run and fetches nothing."""
    write_case_page(tmp_path / "page.html", replace(case_view(), viewer=False))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    bad = '<script>window.hacked = 1</script><img src="https://example.invalid/x.png" onerror="window.hacked = 2">'
    (tmp_path / "page.html").write_text(page.replace("</main>", bad + "</main>"), encoding="utf-8")
    context = browser.new_context()
    tab = Tab(context.new_page())
    tab.page.on("response", lambda response: tab.requests.append(response.url))
    tab.page.on("requestfailed", lambda request: tab.complaints.append(f"{request.url}: {request.failure}"))
    tab.page.goto((tmp_path / "page.html").as_uri())
    assert tab.page.evaluate("window.hacked") is None
    assert [address for address in tab.requests if address.startswith("http")] == []
    assert tab.complaints == ["https://example.invalid/x.png: csp"]
    context.close()
