"""`--part 1/2` and `--part 2/2` together write what one command does, and say what is missing until then."""

from pathlib import Path

import pytest

from calibrations_made import tiny_model
from lacunet.data.parts import Part, in_part, missing_words, read_part
from lacunet.errors import UsageError
from phantoms_made import write_phantoms
from same_files import written
from typed import Run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four invented patients, of which each of two parts has two, and a model."""
    folder: Path = tmp_path_factory.mktemp("world")
    names = [path.name for path in write_phantoms(folder / "cases", 4, seed=1, spacing=8.0)]
    assert 0 < len(in_part(Part(1, 2), names, str)) < 4
    tiny_model(folder / "model", spacing=8.0)
    return folder


@pytest.mark.parametrize("command", ["segment", "evaluate"])
def test_two_parts_in_any_order_write_what_one_command_does(
    lacunet: Run, world: Path, tmp_path: Path, command: str
) -> None:
    sources = [world / "model", world / "cases"] if command == "evaluate" else [world / "cases", "-m", world / "model"]
    words = [command, *sources, "--device", "cpu", *(["--subsets", "t1c"] if command == "evaluate" else [])]
    serial = lacunet(*words, "-o", tmp_path / "serial")
    out = tmp_path / "parts"

    status, said, _ = lacunet(*words, "-o", out, "--part", "2/2")
    assert (status, "part 2/2 is done; 1 of 2 parts is missing: 1" in said) == (0, True)
    assert not any((out / name).exists() for name in ("sources.csv", "summary.json"))
    status, _, told = lacunet("gather", out)
    assert (status, "1 of 2 parts is missing: 1; run what is missing" in told) == (1, True)
    status, _, told = lacunet(*words, "-o", out, "--part", "1/3")
    assert (status, "was begun in 2 parts; go on with --part .../2" in told) == (1, True)

    status, said, told = lacunet(*words, "-o", out, "--part", "1/2")
    assert (status, "part 1/2 is done, and so are all others" in said) == (0, True), told
    assert serial[0] == 0
    assert written(out) == written(tmp_path / "serial")

    if command == "evaluate":
        (out / "summary.json").unlink()
    assert lacunet("gather", out)[0] == 0
    assert written(out) == written(tmp_path / "serial")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("0/20", "there is no such part, they are 1/20 to 20/20; for a SLURM array that is --array=1-20"),
        ("21/20", "there is no such part"),
        ("3", "expected which part of how many, such as 3/20"),
        ("3/", "expected which part"),
        ("/20", "expected which part"),
        ("3/0", "expected which part"),
        ("-1/20", "expected which part"),
        ("1.5/20", "expected which part"),
        ("3/20/1", "expected which part"),
        ("٣/٢٠", "expected which part"),
        ("1/99999999999", "expected which part"),
        ("", "expected which part"),
    ],
)
def test_a_part_that_there_is_not_is_refused(words: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_part(words)
    assert str(refused.value).startswith(f"--part {words}: {message}")


def test_every_case_is_in_one_part_and_further_cases_move_none() -> None:
    names = [f"case-{number:05d}" for number in range(1000)]
    parts = [in_part(Part(number, 7), names, str) for number in range(1, 8)]
    assert sorted(name for part in parts for name in part) == names
    assert all(100 < len(part) < 190 for part in parts)
    assert in_part(Part(3, 7), [*names, "another", "one more"], str)[: len(parts[2])] == parts[2]
    assert in_part(None, names, str) == names
    assert in_part(Part(1, 1), names, str) == names


def test_missing_parts_are_named_in_few_words() -> None:
    assert missing_words([2], 3) == "1 of 3 parts is missing: 2"
    assert missing_words([1, 4, 5, 6, 9, 10], 20) == "6 of 20 parts are missing: 1, 4 to 6, 9 to 10"
