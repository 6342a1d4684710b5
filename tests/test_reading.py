"""JSON and TOML that others wrote: every reader gives one line with the file, what was found and what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lacunet.data.find import find_cases
from lacunet.data.split import read_list, read_split
from lacunet.errors import DataError, LacunetError, ModelError, RecipeError, UsageError
from lacunet.evaluation.summary import read_summary
from lacunet.intake.record import read_record
from lacunet.models.calibration import read_calibration_file
from lacunet.models.folder import model_folder
from lacunet.reading import DEEPEST, is_file, parse_json, parse_toml, read_text, shown
from lacunet.task import GLIOMA, Task, get_task
from lacunet.training.log import read_log
from lacunet.training.recipe import read_recipe


def read_msd(path: Path) -> object:
    (path.parent / "imagesTr").mkdir(exist_ok=True)
    return find_cases(path.parent)


Reader = Callable[[Path], object]

READERS: list[tuple[str, Reader, type[LacunetError]]] = [
    ("summary.json", read_summary, DataError),
    ("split.json", read_split, DataError),
    ("dataset.json", read_msd, DataError),
    ("calibration.json", read_calibration_file, ModelError),
    ("import.json", lambda path: read_record(path.parent), DataError),
    ("task.json", lambda path: get_task(str(path)), UsageError),
    ("log.jsonl", lambda path: read_log(path.parent), DataError),
]

NOT_JSON: list[tuple[bytes, str]] = [
    (b"[" * 100_000, "more than 64 values inside each other"),
    (b'{"a":' * 3000 + b"1" + b"}" * 3000, "more than 64 values inside each other"),
    (b'{"a": NaN}', "a number is NaN or infinite"),
    (b'{"a": -Infinity}', "a number is NaN or infinite"),
    (b'{"a": 1e999}', "a number is NaN or infinite"),
    (b'{"a": 1' + b"0" * 40 + b"}", "a whole number needs more than 64 bits"),
    (b'{"a": 1' + b"0" * 5000 + b"}", "not JSON"),
    (b'{"a": 1, "a": 2}', "the key 'a' is there twice"),
    (b'{"a": "\\ud800"}', "half of a character"),
    (b'{"a": "\xe9"}', "not text in UTF-8"),
    (b"\xff\xfe{\x00}\x00", "not text in UTF-8"),
    (b'{"a": ', "not JSON"),
]


@pytest.mark.parametrize(("text", "words"), NOT_JSON, ids=range(len(NOT_JSON)))
@pytest.mark.parametrize(("name", "read", "error"), READERS, ids=[name for name, *_ in READERS])
def test_text_that_is_not_json_is_one_line(
    tmp_path: Path, name: str, read: Reader, error: type[LacunetError], text: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(error, match=rf"{name}[:,].*{words}.*; ") as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(tmp_path)) + 300


@pytest.mark.parametrize(("name", "read", "error"), READERS[:-1], ids=[name for name, *_ in READERS[:-1]])
def test_a_file_of_any_size_is_read_up_to_a_limit_only(
    tmp_path: Path, name: str, read: Reader, error: type[LacunetError]
) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(2**30)  # takes no space on disk
    with pytest.raises(error, match=rf"{name}: larger than \d+ MiB, the most that is read; "):
        read(tmp_path / name)


@pytest.mark.parametrize(("name", "read", "error"), READERS, ids=[name for name, *_ in READERS])
@pytest.mark.parametrize("text", ["[]", "7", '"x"', "null", "[[1]]"])
def test_json_of_another_form_is_refused(
    tmp_path: Path, name: str, read: Reader, error: type[LacunetError], text: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(error, match=rf"{name}[:,]"):
        read(tmp_path / name)


def test_a_file_without_an_end_is_left() -> None:
    with pytest.raises(DataError, match="larger than 1 MiB"):
        read_text(Path("/dev/zero"), DataError, "name another", largest=2**20)


def test_what_is_json_is_read_as_it_is() -> None:
    value = {"a": [1, 2.5, None, True, "é\U0001f9e0"], "b": {"c": -(2**63)}}
    assert parse_json(json.dumps(value)) == value
    deep: Any = 1
    for _ in range(DEEPEST):
        deep = [deep]
    assert parse_json(json.dumps(deep)) == deep
    with pytest.raises(ValueError, match="more than 64"):
        parse_json(json.dumps([deep]))


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_name_that_no_file_can_have_is_none(name: str) -> None:
    assert not is_file(Path(name))
    with pytest.raises(DataError, match="cannot be read"):
        read_text(Path(name), DataError, "name another")
    with pytest.raises(UsageError, match="no task "):
        get_task(name)
    with pytest.raises(ModelError, match="no model there"):
        model_folder(name)


def test_a_value_in_an_error_is_cut() -> None:
    assert shown("x" * 10**6) == "'" + "x" * 59 + "..."
    assert shown(10**5000) == "a number of many digits"
    assert shown({"a": 1}) == "{'a': 1}"


# ---------------------------------------------------------------- recipes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 5000, "more than 64 values inside each other"),
        ("a = " + "[" * 100 + "]" * 100, "more than 64 values inside each other"),
        (".".join("a" * 100) + " = 1", "more than 64 values inside each other"),
        ("a = " + "9" * 5000, "not TOML"),
        ("a = 1" + "0" * 30, "a whole number needs more than 64 bits"),
        ("train.learning_rate = inf", "a number is NaN or infinite"),
        ("arguments.temperature = nan", "a number is NaN or infinite"),
        ("seed = 1\nseed = 2", "not TOML"),
        ("#" * (2**20 + 1), "larger than 1 MiB"),
    ],
    ids=range(9),
)
def test_toml_that_no_recipe_needs_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "recipe.toml").write_text(f"method = 'ccsd'\n{text}")
    with pytest.raises(RecipeError, match=rf"recipe\.toml: .*{words}") as caught:
        read_recipe(tmp_path / "recipe.toml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("train.crop=[100000, 64, 64]", r"'train.crop.0' = 100000: input should be less than or equal to 1024"),
        ("train.batch=1000000000", "'train.batch' = 1000000000: "),
        ("train.steps=1000000000000", "'train.steps' = 1000000000000: "),
        ("train.workers=100000", "'train.workers' = 100000: "),
        ("prepare.clip=-5", "'prepare.clip' = -5: input should be greater than 0"),
        ("prepare.spacing=0", "'prepare.spacing' = 0: "),
        ("train.optimiser=" + "x" * 1000, r"'train.optimiser' = 'x{59}\.\.\.: "),
    ],
)
def test_a_size_that_no_training_has_is_refused(tmp_path: Path, change: str, words: str) -> None:
    (tmp_path / "recipe.toml").write_text("method = 'ccsd'")
    with pytest.raises(RecipeError, match=words):
        read_recipe(tmp_path / "recipe.toml", [change])


def test_toml_dates_and_texts_are_plain() -> None:
    assert parse_toml("a = 'x'\nb = [1, 2]")["b"] == [1, 2]


# ---------------------------------------------------------------- tasks, data sets, imports


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("modalities", [], "'modalities' = .*at least 1 item"),
        ("titles", {"wt": "x"}, "titles: no title for et"),
        ("labels", {"oedema": "2"}, "'labels.oedema' = '2'"),
        ("regions", {"a/b": [1]}, "'regions.a/b"),
        ("shown_by", {"et": ["ct"]}, "shown_by: no such modality: ct"),
        ("aliases", {"x": "ct"}, "aliases: no such modality: ct"),
    ],
)
def test_a_task_whose_fields_do_not_agree_is_refused(tmp_path: Path, key: str, value: object, words: str) -> None:
    fields = {**GLIOMA.to_json(), key: value}
    with pytest.raises(UsageError, match=rf"^task: {words}.*; `Task.to_json` shows"):
        Task.from_json(json.loads(json.dumps(fields)))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"labels": ["background", "edema"]}, r"'labels' = \['background', 'edema'\]: "),
        ({"labels": {"edema": "two"}}, "'labels': 'edema': 'two' is no label; a number and its name are expected"),
        ({"labels": {"²": "edema"}}, "is no label"),
        ({"labels": {"edema": -1}}, "is no label"),
        ({"modality": {"zero": "T1"}}, r"'modality.zero"),
        ({"modality": {"-1": "T1"}}, r"'modality.-1"),
        ({"modality": {"0": 7}}, r"'modality.0' = 7: "),
        ({"modality": ["T1"]}, r"'modality' = \['T1'\]: "),
        ({"modality": {"0": "x" * 300}}, r"channel 0 is 'x{59}\.\.\., which is no modality"),
    ],
)
def test_a_data_set_that_does_not_say_what_it_is_is_refused(tmp_path: Path, fields: object, words: str) -> None:
    (tmp_path / "imagesTr").mkdir()
    said = {"modality": {"0": "T1"}, **fields} if isinstance(fields, dict) else fields
    (tmp_path / "dataset.json").write_text(json.dumps(said))
    with pytest.raises(DataError, match=rf"dataset\.json: .*{words}"):
        find_cases(tmp_path)


def test_a_list_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes("Müller".encode("latin-1"))
    with pytest.raises(DataError, match=r"train\.txt: not text in UTF-8 .byte 1.; a list has one case on each line"):
        read_list(tmp_path / "train.txt")


def test_the_advice_fits_the_reason_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\); give a file$"):
        read_text(tmp_path, DataError, "get the model again")
    with pytest.raises(DataError, match=r"cannot be read \(No such file or directory\); get the model again$"):
        read_text(tmp_path / "none", DataError, "get the model again")
