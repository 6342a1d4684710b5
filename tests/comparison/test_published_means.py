"""Published means of three regions: as the collection has them, and as the pages of the methods show them."""

import csv
import json
import re
from importlib.resources import files

import pytest

from lacunet.comparison.published.tables import published_tables
from lacunet.task import GLIOMA
from small import ROOT, SHARED

MEANS = [
    ("brats2018-rfnet", "RFNet", "RFNet_readme", "BraTS2018_mean_of_3_splits"),
    *(("brats2018-rfnet", name, "RFNet_readme", "others_BraTS2018", name) for name in ("HeMIS", "U-HVED", "RobustSeg")),
    ("brats2020-rfnet", "RFNet", "RFNet_readme", "BraTS2020"),
    *(("brats2020-rfnet", name, "RFNet_readme", "others_BraTS2020", name) for name in ("HeMIS", "U-HVED", "RobustSeg")),
    *(("brats2018-m3ae", name, "M3AE_supplement", "BraTS2018_test_split", name) for name in ("M3AE", "M3AE-VL")),
    *(("brats2018-ims2trans", name, "IMS2Trans_readme", "BraTS2018", name) for name in ("IMS2Trans", "mmFormer")),
    ("brats2018-smsn", "SMSN", "SMSN", "BraTS2018"),
    ("brats2020-smsn", "SMSN", "SMSN", "BraTS2020"),
    ("brainmetastases-smsn", "SMSN", "SMSN", "BrainMetastasis_transfer_from_BraTS2020"),
    ("brainmetastases-smsn", "M2FTrans", "SMSN", "BrainMetastasis_transfer_from_BraTS2020", "M2FTrans"),
    *(
        ("brats2020-ccsd", name, "CCSD", "BraTS2020", name)
        for name in ("SMU-Net", "ShaSpec", "M3AE", "MIFPN", "TMFormer", "CCSD")
    ),
    ("brats2018-ccsd-table3", "neither", "CCSD", "ablation_BraTS2018", "neither"),
    ("brats2018-ccsd-table3", "HMSD only", "CCSD", "ablation_BraTS2018", "HMSD_only"),
    ("brats2018-ccsd-table3", "DMCD only", "CCSD", "ablation_BraTS2018", "DMCD_only"),
    ("brats2018-ccsd-table3", "HMSD and DMCD", "CCSD", "ablation_BraTS2018", "both"),
    *(
        ("brats2018-ccsd-table4", f"{kind} features, {ours}", "CCSD", "feature_type", kind, theirs)
        for kind in ("shared", "specific", "fused")
        for ours, theirs in (("HMSD", "HMSD"), ("DMCD", "DMCD"), ("HMSD and DMCD", "both"))
    ),
    ("brats2018-ccsd-table6", "random path", "CCSD", "criticality", "random"),
    ("brats2018-ccsd-table6", "criticality by gradients", "CCSD", "criticality", "gradient"),
    ("brats2018-ccsd-table6", "criticality by cosine", "CCSD", "criticality", "cosine"),
    *(
        (f"brats2018-dualstage-table2{ours}", name, "DualStage", f"ablation_BraTS2018_{theirs}", part)
        for ours, theirs in (("", "FM1"), ("-full", "FM100"))
        for name, part in (
            ("mask-reconstruction", "Mask-Rec"),
            ("+ distribution approximation", "+DA"),
            ("+ prompt-guided adaptation", "+PGMA"),
        )
    ),
    ("brats2018-dualstage-table2", "+ complete-then-distil", "DualStage", "ablation_BraTS2018_FM1", "+CTD"),
    ("brats2018-dualstage-table3", "(a) no distillation", "DualStage", "CTD_FM1", "a_none"),
    ("brats2018-dualstage-table3", "(b) teacher sees what is available", "DualStage", "CTD_FM1", "b_KD_available_only"),
    ("brats2018-dualstage-table3", "(c) teacher sees completed input", "DualStage", "CTD_FM1", "c_Mrec+KD"),
    ("brats2018-dualstage-table3", "(d) and the completion is refined", "DualStage", "CTD_FM1", "d_Mrec+KD+L_Mrec"),
]
"""A table, its column, and where the collection has its three numbers."""

FROM_AN_ABSTRACT = {("brats2020-ims2trans", "IMS2Trans"), ("brats2020-ims2trans", "mmFormer")}
"""Columns that the collection lacks."""

PAGES = {
    "im_fuse": "IM-Fuse",
    "ims2trans": "IMS2Trans",
    "m2ftrans": "M2FTrans",
    "m3ae": "M3AE",
    "m3fecon": "M3FeCon",
    "meta_learning": "Konwer et al.",
    "mifpn": "MIFPN",
    "mmformer": "mmFormer",
    "mmmvit": "MMMViT",
    "rfnet": "RFNet",
    "shaspec": "ShaSpec",
    "smunet": "SMU-Net",
    "tmformer": "TMFormer",
}
"""The page of a method, and what published tables call it."""

SECTIONS = [
    "First commands",
    "Idea",
    "Departures",
    "What our sources leave open",
    "Recipes",
    "Published numbers",
    "Measured",
]


def by_region(cells):
    """Numbers of WT, TC and ET, from a list in that order or from a dictionary."""
    return cells if isinstance(cells, list) else [cells[region.upper()] for region in GLIOMA.regions]


def at(source, path):
    for key in path:
        source = source[key]
    return source


def page_of(name):
    return (ROOT / "docs" / "methods" / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not (SHARED / "published.json").is_file(), reason="the collection is not here")
def test_means_are_those_of_the_collection():
    source = json.loads((SHARED / "published.json").read_text())["averages"]
    dice, distances = {}, {}
    with files("lacunet.comparison.published").joinpath("means.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            dice.setdefault((row["table"], row["method"]), []).append(float(row["dice"]))
            if row["hd95"]:
                distances.setdefault(row["method"], []).append(float(row["hd95"]))
    wanted = {(table, method): by_region(at(source, path)) for table, method, *path in MEANS}
    assert {column: means for column, means in dice.items() if column not in FROM_AN_ABSTRACT} == wanted
    assert distances == {name: by_region(cells) for name, cells in source["CCSD"]["BraTS2020_HD95"].items()}


@pytest.mark.parametrize(("page", "method"), PAGES.items())
def test_a_methods_page_shows_the_means_of_all_its_columns(page, method):
    rows = re.findall(r"^\| `([\w-]+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", page_of(page), flags=re.MULTILINE)
    shown = {table: [float(mean) for mean in means] for table, *means in rows}
    columns = {
        table.name: [round(100 * table.score(method, region).printed_mean, 6) for region in GLIOMA.regions]
        for table in published_tables().values()
        if method in table.methods
    }
    assert shown == columns


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_methods_have_the_same_sections(page):
    assert re.findall(r"^## (.*)$", page_of(page), flags=re.MULTILINE) == SECTIONS
