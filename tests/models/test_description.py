"""model.json: each value that is missing, of another type or out of its limits is named, before anything is made."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import lacunet.models.model as loading
from lacunet.data.prepare import Preparation
from lacunet.errors import ModelError
from lacunet.files import write_json
from lacunet.models.description import HASH, description_hash, read_description
from lacunet.models.folder import model_folder, shipped_models
from lacunet.models.model import load_model, save_model
from lacunet.nn.method import get_method, make_method
from lacunet.task import GLIOMA

CARD = {
    "data": "two cases",
    "recipe": {"method": "early_fusion", "train": {"steps": 10}},
    "results": {"cases": 2, "data": "test", "subsets": {"t1c": {"wt": {"dice": 0.5}}}},
}
GONE = object()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    save_model(tmp_path / "model", method, Preparation(2.0, 4.0), CARD)
    return tmp_path / "model"


def content_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return content


def change(folder: Path, key: str, value: object) -> None:
    """Set or remove one value, named with dots, and keep the hash of what was there before."""
    content = content_of(folder)
    *sections, last = key.split(".")
    below = content
    for section in sections:
        below = below[section]
    if value is GONE:
        del below[last]
    else:
        below[last] = value
    (folder / "model.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("task.regions", GONE, "'task.regions' is missing"),
        ("task.regions", [], "'task.regions' = "),
        ("task.regions", {}, "'task.regions' = {}: "),
        ("task.regions.wt", [1, 9], "regions: no such label: 9"),
        ("task.regions.wt", "all", "'task.regions.wt' = 'all': "),
        ("task.modalities", [f"m{number}" for number in range(30)], "'task.modalities' = .*at most 8 items"),
        ("task.modalities", ["t1c", "t1c"], "a modality is named twice"),
        ("task.modalities", ["../t1c"], "'task.modalities.0' = '../t1c': "),
        ("task.modalities", 4, "'task.modalities' = 4: "),
        ("task.titles", {}, "titles: no title for et, t1c, t1n"),
        ("task.labels.oedema", 0, "'task.labels.oedema' = 0: "),
        ("task.labels.oedema", 1.5, "'task.labels.oedema' = 1.5: "),
        ("task.painting", [["wt"]], "'task.painting.0.1' is missing|'task.painting.0' = "),
        ("task.painting", [["lesion", 2]], "painting: no such region: lesion"),
        ("task.conventions.brats2018", {"four": 4}, "'task.conventions.brats2018.four"),
        ("task", "glioma", "'task' = 'glioma': "),
        ("task", {}, "'task.name' is missing"),
        ("card", 7, "'card' = 7: "),
        ("card", None, "'card' = None: "),
        ("card.data", ["a"], r"'card.data' = \['a'\]: "),
        ("card.results", None, "'card.results' = None: "),
        ("card.results.subsets", [], r"'card.results.subsets' = \[\]: "),
        ("card.results.subsets.t1c.wt.dice", "high", "'card.results.subsets.t1c.wt.dice' = 'high': "),
        ("card.results.subsets.t1c.wt.dice", 1.5, "'card.results.subsets.t1c.wt.dice' = 1.5: "),
        ("card.results.cases", -1, "'card.results.cases' = -1: "),
        ("card.recipe", "none", "'card.recipe' = 'none': "),
        ("card.recipe.train", 7, "'card.recipe.train' = 7: "),
        ("card.recipe.train.steps", 0, "'card.recipe.train.steps' = 0: "),
        ("preparation.spacing", 0, "'preparation.spacing' = 0: .*greater than or equal to 0.25"),
        ("preparation.spacing", -1.5, "'preparation.spacing' = -1.5: "),
        ("preparation.spacing", 1e-9, "'preparation.spacing' = 1e-09: "),
        ("preparation.spacing", 1e9, "'preparation.spacing' = 1000000000.0: .*less than or equal to 10"),
        ("preparation.spacing", "1", "'preparation.spacing' = '1': "),
        ("preparation.spacing", True, "'preparation.spacing' = True: "),
        ("preparation.clip", -5, "'preparation.clip' = -5: .*greater than 0"),
        ("preparation.clip", 0, "'preparation.clip' = 0: "),
        ("preparation.clip", GONE, "'preparation.clip' is missing"),
        ("preparation.other", 2, "unknown key 'preparation.other'"),
        ("preparation", [2.0, 4.0], r"'preparation' = \[2.0, 4.0\]: "),
        ("method", 7, "'method' = 7: "),
        ("method", "x" * 300, "'method' = 'xxx.*: string should have at most 200 characters"),
        ("arguments", [8, 2], r"'arguments' = \[8, 2\]: "),
        ("arguments.levels", 10**9, "'arguments.levels' = 1000000000: at most 1,000,000 is expected"),
        ("arguments.pairs", [[-(10**12)]], "'arguments.pairs.0.0' = -1000000000000: "),
        ("arguments.levels", 10**6, "does not fit its method .*levels = 1000000: from 1 to 10 are possible"),
        ("arguments.levels", 0, "does not fit its method .*levels = 0: from 1 to 10 are possible"),
        ("arguments.width", 10**6, "does not fit its method .*width = 1000000: from 1 to 320 are possible"),
        ("arguments.width", -4, "does not fit its method .*width = -4: from 1 to 320 are possible"),
        ("arguments.width", "many", "does not fit its method "),
        ("arguments.width", 320, r"weights.safetensors has \(.*\), the arguments need \(.*320"),
        ("arguments.levels", 3, "weights.safetensors has .*, the arguments need "),
        ("sha256", "abc", "'sha256' = 'abc': "),
        ("sha256", None, "'sha256' = None: "),
        (HASH, "abc", f"'{HASH}' = 'abc': "),
        ("more", 1, "unknown key 'more'"),
    ],
)
def test_a_value_that_cannot_be_is_named(folder: Path, key: str, value: object, words: str) -> None:
    change(folder, key, value)
    if words.startswith(
        ("does not fit", "weights")
    ):  # it is found when the method is made: the hash is not asked first
        change(folder, HASH, GONE)
    with pytest.raises(ModelError, match=rf"model(\.json)?: .*{words}") as caught:
        load_model(str(folder))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(folder)) + 400


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[" * 100_000, "not JSON .more than 64 values inside each other"),
        (b'{"card": ' * 5000 + b"1" + b"}" * 5000, "not JSON .more than 64 values inside each other"),
        (b'{"format": 1, "card": ' + b"[" * 100 + b"]" * 100 + b"}", "not JSON .more than 64 values"),
        (b'{"format": NaN}', "not JSON .a number is NaN or infinite"),
        (b'{"format": -Infinity}', "not JSON .a number is NaN or infinite"),
        (b'{"format": 1e999}', "not JSON .a number is NaN or infinite"),
        (b'{"format": 1' + b"0" * 5000 + b"}", "not JSON "),
        (b'{"format": 1' + b"0" * 30 + b"}", "not JSON .a whole number needs more than 64 bits"),
        (b'{"format": 1, "format": 1}', "not JSON .the key 'format' is there twice"),
        (b'{"method": "\\ud800"}', "not JSON .half of a character"),
        ('{"method": "é"}'.encode("latin-1"), "not text in UTF-8 .byte 12"),
        (b"\xff\xfe{}", "not text in UTF-8"),
        (b" " * (4 * 2**20 + 1), "larger than 4 MiB"),
        (b"\x00", "not JSON"),
    ],
    ids=range(14),
)
def test_text_that_is_no_description_is_refused(folder: Path, text: bytes, words: str) -> None:
    (folder / "model.json").write_bytes(text)
    with pytest.raises(ModelError, match=rf"model\.json: {words}.*; get the model again$"):
        read_description(folder)


def test_a_network_larger_than_its_weights_takes_no_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[str] = []

    def noticed(*words: Any) -> Any:
        devices.append(torch.get_default_device().type)
        return make_method(*words)

    monkeypatch.setattr(loading, "make_method", noticed)
    load_model(str(folder))
    assert devices == ["meta", "cpu"]
    change(folder, "arguments.width", 320)
    change(folder, HASH, GONE)
    with pytest.raises(ModelError, match="the arguments need"):
        load_model(str(folder))
    assert devices == ["meta", "cpu", "meta"]


# ---------------------------------------------------------------- its own hash


@pytest.mark.parametrize(
    ("key", "value"),
    [("preparation.clip", 4.5), ("card.results.subsets.t1c.wt.dice", 0.9), ("card.licence", "any"), ("method", "ccsd")],
)
def test_a_description_that_was_changed_is_refused(folder: Path, key: str, value: object) -> None:
    change(folder, key, value)
    with pytest.raises(ModelError, match=r"model\.json: changed since it was written \(sha256 .*, expected .*remove"):
        load_model(str(folder))
    change(folder, HASH, GONE)  # as its author may do
    if key != "method":
        load_model(str(folder))


def test_another_order_of_the_keys_is_no_change(folder: Path) -> None:
    content = content_of(folder)
    write_json(folder / "model.json", dict(reversed(content.items())))
    assert read_description(folder).description_sha256 == content[HASH] == description_hash(content)


@pytest.mark.parametrize("name", shipped_models())
def test_every_shipped_description_has_its_hash(name: str) -> None:
    assert read_description(model_folder(name)).description_sha256 is not None
