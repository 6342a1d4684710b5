"""Where results lie: no name leads elsewhere, and BIDS finds what it looks for."""

from pathlib import Path

import pytest

from lacunet.errors import DataError
from lacunet.segmentation.layout import bids_name, places, record_in, require_apart

OUT = Path("out")


def test_a_case_has_its_own_folder() -> None:
    at = places(OUT, "case 1")
    assert at.mask == OUT / "case 1" / "case 1-mask.nii.gz"
    assert at.probability("et") == OUT / "case 1" / "case 1-probability-et.nii.gz"
    assert at.native_mask("t1c") == OUT / "case 1" / "case 1-mask-on-t1c.nii.gz"
    assert at.dicom("t1c") == OUT / "case 1" / "case 1-mask-on-t1c.dcm"
    assert (at.page, at.record) == (OUT / "case 1" / "report.html", OUT / "case 1" / "case.json")


def test_a_bids_derivative_has_subjects_and_sessions() -> None:
    at = places(OUT, "sub-07_ses-pre", "bids")
    folder = OUT / "sub-07" / "ses-pre" / "anat"
    assert at.mask == folder / "sub-07_ses-pre_desc-lacunet_dseg.nii.gz"
    assert at.record == folder / "sub-07_ses-pre_desc-lacunet_dseg.json"
    assert at.probability("wt") == folder / "sub-07_ses-pre_label-WT_probseg.nii.gz"
    assert at.native_mask("t2f") == folder / "sub-07_ses-pre_space-t2f_desc-lacunet_dseg.nii.gz"
    objects = OUT / "derivatives" / "dicom-seg" / "sub-07" / "ses-pre"
    assert at.dicom("t2f") == objects / "sub-07_ses-pre_space-t2f_desc-lacunet_dseg.dcm"
    assert at.page == OUT / "sub-07_ses-pre.html"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sub-01", "sub-01"),
        ("sub-01_ses-2", "sub-01_ses-2"),
        ("BraTS-GLI-00000-000", "sub-BraTSGLI00000000"),
        ("sub-a_b", "sub-ab"),
        ("Müller 3", "sub-Mller3"),
    ],
)
def test_other_names_become_subjects(name: str, expected: str) -> None:
    assert bids_name(name) == expected


def test_a_name_without_letters_is_refused() -> None:
    with pytest.raises(DataError, match="case name '试': BIDS names have letters and digits of ASCII only"):
        places(OUT, "试", "bids")


@pytest.mark.parametrize("layout", ["plain", "bids"])
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a\\b"])
def test_a_name_never_leads_out_of_the_folder(name: str, layout: str) -> None:
    with pytest.raises(DataError, match="not a plain name"):
        places(OUT, name, layout)  # type: ignore[arg-type]


def test_two_cases_in_one_place_are_refused() -> None:
    require_apart(["a-b", "ab"], "plain")
    require_apart(["a", "b", "a"], "bids")
    with pytest.raises(DataError, match="cases a-b and ab would both be sub-ab in BIDS; rename one"):
        require_apart(["a-b", "ab"], "bids")


def test_the_record_of_a_case_is_found_in_either_layout_beside_masks_on_other_grids(tmp_path: Path) -> None:
    for layout, folder in (("plain", tmp_path / "plain/sub-01_ses-2"), ("bids", tmp_path / "bids/sub-01/ses-2")):
        at = places(tmp_path / layout, "sub-01_ses-2", layout)
        assert record_in(folder) is None
        native = at.native_mask("t1c")
        for path in (at.record, native.with_name(native.name.replace(".nii.gz", ".json"))):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
        assert record_in(folder) == at.record
    assert record_in(at.folder) == at.record
    assert record_in(tmp_path / (300 * "a")) is None  # no folder can have such a name
    at.record.with_name("sub-02_desc-lacunet_dseg.json").write_text("{}")
    with pytest.raises(DataError, match="anat: holds 2 cases; name the folder of one"):
        record_in(at.folder)
