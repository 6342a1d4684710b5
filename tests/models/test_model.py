"""Model folders: what is kept, and what is refused."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from lacunet.data.prepare import Preparation
from lacunet.errors import ModelError, RecipeError, UsageError
from lacunet.models.folder import DEFAULT
from lacunet.models.model import load_model, save_model
from lacunet.nn.method import Method, get_method, make_method
from lacunet.task import GLIOMA, Task
from small import ROOT

OWN_METHOD = ROOT / "tests" / "two_stages.py"
CARD = {"licence": "CC0", "results": {"subsets": {"t1c+t2f": {"wt": {"dice": 0.8}, "et": {"dice": 0.7}}}}}


def tiny() -> Method:
    torch.manual_seed(0)
    return make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "a model é", tiny(), Preparation(2.0, 4.0), CARD)
    return tmp_path / "a model é"


def describe(folder: Path, **changed: Any) -> None:
    """Change the description as its author could: without the hash of what it was."""
    path = folder / "model.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    description.update({"description_sha256": ..., **changed})
    description = {name: value for name, value in description.items() if value is not ...}
    path.write_text(json.dumps(description), encoding="utf-8")


def test_what_is_saved_is_what_is_loaded(folder: Path) -> None:
    model = load_model(str(folder))
    assert model.name == "a model é"
    assert model.preparation == Preparation(2.0, 4.0)
    assert model.task == GLIOMA
    assert model.card == CARD
    assert dict(model.method.arguments) == {"width": 4, "levels": 2}
    for name, value in tiny().state_dict().items():
        assert torch.equal(model.method.state_dict()[name], value)


def test_a_folder_holds_weights_and_a_description_only(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "weights.safetensors"]


def test_a_model_is_called_after_its_folder_and_a_run_s_after_the_run(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "first" / "model")
    assert load_model(str(folder)).name == folder.name
    assert load_model(str(tmp_path / "first")).name == load_model(str(tmp_path / "first" / "model")).name == "first"
    assert load_model("default").name == DEFAULT


def test_a_run_folder_stands_for_its_model(tmp_path: Path) -> None:
    save_model(tmp_path / "run" / "model", tiny(), Preparation(), {})
    assert load_model(str(tmp_path / "run")).method.task == GLIOMA


def test_the_card_tells_what_to_expect_of_a_subset(folder: Path) -> None:
    model = load_model(str(folder))
    assert model.expected_dice(("t1c", "t2f")) == {"wt": 0.8, "et": 0.7}
    assert model.expected_dice(("t1c",)) == {}


def test_a_task_survives_json() -> None:
    assert Task.from_json(json.loads(json.dumps(GLIOMA.to_json()))) == GLIOMA


def test_half_precision_halves_the_file_and_hardly_moves_the_logits(folder: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "half", tiny(), Preparation(), {}, half=True)
    sizes = [(path / "weights.safetensors").stat().st_size for path in (folder, tmp_path / "half")]
    tensors = sum(value.numel() for value in tiny().state_dict().values())
    assert sizes[0] - sizes[1] == pytest.approx(2 * tensors, abs=64)
    loaded = load_model(str(tmp_path / "half")).method
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}
    images, shown = torch.randn(1, 4, 8, 8, 8), torch.ones((1, 4), dtype=torch.bool)
    with torch.no_grad():
        assert torch.allclose(loaded(images, shown), tiny()(images, shown), atol=1e-2)


def test_tensors_that_share_their_memory_are_saved(tmp_path: Path) -> None:
    method = tiny()
    method.register_buffer("same", method.head.weight.data)
    save_model(tmp_path / "model", method, Preparation(), {})
    assert (tmp_path / "model" / "weights.safetensors").is_file()


# ---------------------------------------------------------------- refused


def test_changed_weights_are_refused(folder: Path) -> None:
    weights = folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.safetensors: changed since it was written"):
        load_model(str(folder))


@pytest.mark.parametrize("name", ["weights.pt", "more/optimiser.PKL", "array.npy", "pytorch_model.bin"])
def test_a_pickle_in_the_folder_is_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    with pytest.raises(ModelError, match="can run code"):
        load_model(str(folder))


@pytest.mark.parametrize("field", ["method", "arguments", "task", "preparation", "sha256", "card"])
def test_a_missing_field_is_named(folder: Path, field: str) -> None:
    describe(folder, **{field: ...})
    with pytest.raises(ModelError, match=f"'{field}' is missing"):
        load_model(str(folder))


@pytest.mark.parametrize("number", [0, 99, "1", None])
def test_another_format_is_refused(folder: Path, number: Any) -> None:
    describe(folder, format=number)
    with pytest.raises(ModelError, match=f"format {number!r}, expected 1"):
        load_model(str(folder))


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null"])
def test_a_description_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "model.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"model\.json: (not JSON|format None)"):
        load_model(str(folder))


@pytest.mark.parametrize(
    "changed",
    [
        {"arguments": {"width": 8, "levels": 2}},
        {"arguments": {"colour": "red"}},
        {"method": "no_such_method"},
        {"method": "../outside"},
    ],
)
def test_a_description_that_does_not_fit_is_refused(folder: Path, changed: dict[str, Any]) -> None:
    describe(folder, **changed)
    with pytest.raises(ModelError, match="does not fit its method"):
        load_model(str(folder))


def test_weights_that_are_no_safetensors_are_refused(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"not tensors")
    describe(folder, sha256=hashlib.sha256(b"not tensors").hexdigest())
    with pytest.raises(ModelError, match="does not fit its method"):
        load_model(str(folder))


def test_missing_weights_are_named(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"weights\.safetensors: cannot be read"):
        load_model(str(folder))


def test_no_model_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model there"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    ("made", "named"),
    [("ccsd/seed-1", "ccsd/seed-1"), ("ccsd/seed-1/fold-1", "ccsd/seed-1/fold-1"), ("splits", "NAME/seed-1")],
)
def test_a_benchmark_s_folder_is_no_model_and_names_one(tmp_path: Path, made: str, named: str) -> None:
    (tmp_path / made).mkdir(parents=True)
    (tmp_path / "benchmark.json").write_text("{}")
    with pytest.raises(ModelError, match=f": is a benchmark's folder; name one of its runs, such as .*/{named}$"):
        load_model(str(tmp_path))


# ---------------------------------------------------------------- one's own method


def test_a_method_of_ones_own_is_run_only_when_its_file_is_given(tmp_path: Path) -> None:
    method = make_method(get_method("two_stages", OWN_METHOD), GLIOMA, {"width": 2})
    save_model(tmp_path / "model", method, Preparation(), {})
    assert load_model(str(tmp_path / "model"), OWN_METHOD).method.arguments == {"width": 2}
    with pytest.raises(ModelError, match=r"no method 'two_stages'.*--method-file"):
        load_model(str(tmp_path / "model"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1", "expected exactly one class derived from Method, found none"),
        ("def broken(:", "cannot be imported"),
        ("import lacunet_nowhere", "cannot be imported"),
    ],
)
def test_a_file_without_a_method_is_refused(tmp_path: Path, code: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        get_method("mine", tmp_path / "mine.py")


def test_a_missing_method_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"mine\.py: not a Python file"):
        get_method("mine", tmp_path / "mine.py")


def test_the_nearest_method_is_named() -> None:
    with pytest.raises(UsageError, match=r"no method 'early_fusoin'; did you mean 'early_fusion'\?"):
        get_method("early_fusoin")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widht": 8}, r"no argument 'widht'; did you mean 'width'\?; it has: width, levels"),
        ({"width": 12}, "refuses its arguments"),
        ({"width": -4}, "refuses its arguments"),
        ({"levels": 0}, "refuses its arguments"),
        ({"width": "many"}, "refuses its arguments"),
    ],
)
def test_arguments_that_the_method_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make_method(get_method("early_fusion"), GLIOMA, arguments)
