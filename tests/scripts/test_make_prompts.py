"""The script that makes tables of prompts: with an invented encoder, and with a tiny CLIP where transformers is."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from lacunet.errors import OutputError
from lacunet.methods.dual_stage import DualStage
from lacunet.nn.method import make_method
from lacunet.nn.prompts import read_table
from lacunet.task import GLIOMA
from small import ROOT


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "release"))
    yield __import__("make_prompts")
    sys.modules.pop("make_prompts", None)


@pytest.fixture
def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def call(*words: object) -> None:
        monkeypatch.setattr("sys.argv", ["make_prompts.py", *map(str, words)])
        script.main()

    return call


def invented(sentences: Sequence[str]) -> torch.Tensor:
    """Five numbers of a sentence, by a hash."""
    rows = [list(hashlib.sha256(sentence.encode()).digest()[:5]) for sentence in sentences]
    return torch.tensor(rows, dtype=torch.float32)


def test_makes_a_table_that_a_method_can_use(
    script: ModuleType, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
):
    fake = replace(script.ENCODERS["clip"], load=lambda source: invented)
    monkeypatch.setitem(script.ENCODERS, "clip", fake)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").write_bytes(b"weights")
    path = tmp_path / "clip.safetensors"
    run("--encoder", "clip", "--weights", tmp_path / "weights", "-o", path)
    assert "15 sentences by openai/clip-vit-base-patch32 (" in capsys.readouterr().out
    provenance = json.loads((tmp_path / "clip.json").read_text())["provenance"]
    assert provenance == {
        "encoder": "openai/clip-vit-base-patch32",
        "licence": "MIT",
        "sha256": hashlib.sha256(b"weights").hexdigest(),
    }
    assert make_method(DualStage, GLIOMA, {"width": 4, "levels": 2, "text": str(path)})


def test_without_transformers_there_is_a_word_on_what_to_install(script: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "transformers", None)  # an import of it then fails
    for encoder in script.ENCODERS.values():
        with pytest.raises(SystemExit, match="needs the package transformers: pip install transformers"):
            script.load_encoder(encoder, None)


def test_weights_that_cannot_be_loaded_are_named(script: ModuleType):
    def load(source: str):
        raise OSError(f"We couldn't connect to the hub to load {source}\nand more")

    with pytest.raises(
        SystemExit, match=r"openai/clip-vit-base-patch32: the weights cannot be loaded .* load \S+\); .*--weights"
    ):
        script.load_encoder(replace(script.ENCODERS["clip"], load=load), None)


def test_unknown_encoders_and_other_suffixes_are_refused(
    script: ModuleType, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
):
    with pytest.raises(SystemExit):
        run("--encoder", "clipp", "-o", tmp_path / "clip.safetensors")
    assert "invalid choice: 'clipp'" in capsys.readouterr().err
    monkeypatch.setitem(script.ENCODERS, "clip", replace(script.ENCODERS["clip"], load=lambda source: invented))
    with pytest.raises(OutputError, match=r"ends in \.safetensors"):
        run("-o", tmp_path / "clip.npz")


def test_the_cosines_of_three_rows(script: ModuleType):
    rows = torch.tensor([[1.0, 0.0], [0.0, 3.0], [2.0, 2.0]])
    half = 0.5**0.5
    assert script.cosines(rows).tolist() == pytest.approx([0, half, 0, half, half, half])


def test_clip_itself_from_a_folder(run: Callable[..., None], tmp_path: Path):
    """A tiny CLIP with invented weights, through the real code of transformers, where that is installed."""
    transformers = pytest.importorskip("transformers")
    letters = [
        *"abcdefghijklmnopqrstuvwxyz0123456789.,",
        *[f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz0123456789.,"],
    ]
    words = {word: index for index, word in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    (tmp_path / "vocab.json").write_text(json.dumps(words))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")).save_pretrained(tmp_path)
    config = transformers.CLIPTextConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, projection_dim=8, num_hidden_layers=1,
        num_attention_heads=2, bos_token_id=len(words) - 2, eos_token_id=len(words) - 1,
    )  # fmt: skip
    transformers.CLIPTextModelWithProjection(config).save_pretrained(tmp_path)
    run("--weights", tmp_path, "-o", tmp_path / "clip.safetensors")
    assert read_table(str(tmp_path / "clip.safetensors")).vectors.shape == (15, 8)
