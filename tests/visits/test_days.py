"""When a scan was taken, as files beside it say."""

import json
from datetime import date
from pathlib import Path

import pytest

from lacunet.intake.read.subject import day_beside, day_of


@pytest.mark.parametrize(
    ("text", "day"),
    [("20240229", date(2024, 2, 29)), ("20230229", None), ("2024", None), ("", None), ("2024xx01", None)],
)
def test_eight_digits_are_a_day_where_there_is_such_a_day(text, day):
    assert day_of(text) == day


@pytest.mark.parametrize(
    ("name", "content", "day"),
    [
        ("ses-2/sub-01_ses-2_scans.tsv", "filename\tacq_time\nanat/sub-01_ses-2_T1w.nii.gz\t1877-06-15T13:45:30\n", 15),
        (
            "ses-2/sub-01_ses-2_scans.tsv",
            "filename\tacq_time\nanat/sub-01_ses-2_T2w.nii.gz\t1877-06-15T13:45:30\n",
            None,
        ),
        ("sub-01_sessions.tsv", "session_id\tacq_time\nses-1\t1877-06-01\nses-2\t1877-06-16\n", 16),
        ("ses-2/anat/sub-01_ses-2_T1w.json", json.dumps({"AcquisitionDateTime": "1877-06-17T10:00:00"}), 17),
        ("ses-2/anat/sub-01_ses-2_T1w.json", json.dumps({"StudyDate": 18770618}), 18),
        ("ses-2/anat/sub-01_ses-2_T1w.json", json.dumps({"AcquisitionDateTime": "n/a"}), None),
        ("ses-2/anat/sub-01_ses-2_T1w.json", "[]", None),
    ],
)
def test_a_list_of_scans_or_sessions_or_a_sidecar_says_the_day(
    tmp_path: Path, name: str, content: str, day: int | None
):
    subject = tmp_path / "sub-01"
    (subject / "ses-2/anat").mkdir(parents=True)
    (subject / name).write_text(content, "utf-8")
    found = day_beside(subject / "ses-2/anat/sub-01_ses-2_T1w.nii.gz")
    assert found == (None if day is None else date(1877, 6, day))


def test_a_scan_beside_the_folder_of_its_session_has_no_day_in_its_list(tmp_path: Path):
    folder = tmp_path / "sub-01/ses-2"
    folder.mkdir(parents=True)
    (folder / "sub-01_ses-2_scans.tsv").write_text("filename\tacq_time\nanat/x.nii.gz\t1877-06-15\n", "utf-8")
    assert day_beside(tmp_path / "sub-01/sub-01_ses-2_T1w.nii.gz") is None
