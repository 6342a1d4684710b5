"""Draw docs/images/demo.png and docs/images/viewer.png: pages of invented patients as a browser shows them.

python scripts/figures/picture_report.py [--output docs/images]

demo.png is the top of the page of `lacunet demo`; viewer.png is the viewer of an invented patient with all four
sequences, segmented by the shipped model. Says how long the viewers took to open. Needs Chromium, and the package
`playwright` of the extra `test`.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from lacunet.data.find import find_cases
from lacunet.data.phantom.phantom import write_phantom
from lacunet.models.model import load_model
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.demo import run_demo
from lacunet.segmentation.segment import segment_case
from lacunet.segmentation.write import SegmentSettings
from lacunet.task import GLIOMA

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]


def open_viewer(page: Page, report: Path) -> None:
    """The report with its viewer drawn, however long that takes without a graphics card."""
    page.set_default_timeout(600_000)
    page.goto(report.as_uri())
    start = time.perf_counter()
    page.get_by_role("button", name="Open the viewer").click()
    page.wait_for_selector("html[data-viewer=ready]")
    print(f"{report.parent.name}: viewer open after {time.perf_counter() - start:.0f} s")
    page.wait_for_timeout(3000)


def shrink(path: Path) -> None:
    """256 colours are enough for grey scans and a few lines."""
    Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    output = parser.parse_args().output
    predictor = Predictor(load_model("default"), "cpu")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        demo = run_demo(predictor, folder / "demo")
        (files,) = find_cases(write_phantom(folder / "phantom", 3, GLIOMA))
        four = segment_case(predictor, files, folder / "four", SegmentSettings())
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport={"width": 1265, "height": 1000})
        open_viewer(page, demo.folder / "report.html")
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=output / "demo.png", full_page=True, clip={"x": 0, "y": 0, "width": 1265, "height": 1530})
        page.close()
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        open_viewer(page, four.folder / "report.html")
        top = page.evaluate("document.querySelector('#viewer').getBoundingClientRect().top + scrollY")
        height = page.locator("#viewer").bounding_box()["height"]
        clip = {"x": 0, "y": top - 16, "width": 1440, "height": height + 32}
        page.screenshot(path=output / "viewer.png", full_page=True, clip=clip)
        browser.close()
    for picture in ("demo.png", "viewer.png"):
        shrink(output / picture)


if __name__ == "__main__":
    main()
