"""Which results are visits of one person."""

from pathlib import Path

from lacunet.visits.offers import change_commands


def test_visits_that_follow_each_other_are_offered_and_persons_with_one_are_not():
    names = ["sub-01_ses-2", "sub-01_ses-1", "sub-01_ses-3", "sub-02_ses-1", "case-3f2a91bc"]
    found = change_commands(
        {name: Path("my masks") / name for name in names}, {}, Path("my masks"), ["--model", "ccsd"]
    )
    assert found == [
        f"lacunet change 'my masks/sub-01_ses-{one}' 'my masks/sub-01_ses-{one + 1}' -o "
        f"'my masks-changes/sub-01_ses-{one}-to-sub-01_ses-{one + 1}' --model ccsd"
        for one in (1, 2)
    ]


def test_a_manifest_s_persons_count_before_names():
    results = {name: Path("out") / name for name in ("a", "b", "sub-01_ses-1", "sub-01_ses-2")}
    found = change_commands(results, {"a": "anna", "b": "anna", "sub-01_ses-1": "x", "sub-01_ses-2": "y"}, Path("out"))
    assert found == ["lacunet change out/a out/b -o out-changes/a-to-b"]
