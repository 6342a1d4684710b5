"""The table of prompts: its sentences, its rows, its provenance, and making another."""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lacunet.errors import ModelError, OutputError, UsageError
from lacunet.methods.dual_stage import DualStage
from lacunet.nn import prompts
from lacunet.nn.method import make_method
from lacunet.nn.prompts import TextTable, make_table, prompt_vectors, read_table, sentence_of, text_encoder, write_table
from lacunet.task import GLIOMA


def invented(sentences: "list[str] | tuple[str, ...]") -> torch.Tensor:
    """Five numbers of a sentence, by a hash."""
    rows = [list(hashlib.sha256(sentence.encode()).digest()[:5]) for sentence in sentences]
    return torch.tensor(rows, dtype=torch.float32)


def test_the_sentence_is_the_papers():
    assert sentence_of(("t1c", "t2f"), GLIOMA) == "The input MRI modalities are T1ce, FLAIR."
    assert sentence_of(("t2w",), GLIOMA) == "The input MRI modalities are T2."


def test_the_table_of_the_package_holds_fifteen_sentences_of_a_real_encoder():
    table = read_table("minilm")
    assert set(table.sentences) == {sentence_of(subset, GLIOMA) for subset in GLIOMA.subsets}
    assert table.vectors.shape == (15, 384)
    torch.testing.assert_close(table.vectors.norm(dim=1), torch.ones(15))  # the encoder's own normalisation
    assert table.provenance["encoder"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert table.provenance["licence"] == "Apache-2.0"
    assert len(table.provenance["sha256"]) == 64
    assert table.name == "sentence-transformers/all-MiniLM-L6-v2 (28c9284d6fb6)"


def test_rows_go_by_the_number_of_the_subset_and_lose_what_all_share():
    name, rows = prompt_vectors("minilm", GLIOMA)
    table = read_table("minilm")
    assert name == table.name
    assert rows.mean(dim=0).abs().max() < 1e-5
    assert rows.std().item() == pytest.approx(1)
    centred = table.vectors - table.vectors.mean(dim=0)
    for subset in GLIOMA.subsets:
        number = sum(2**index for index, modality in enumerate(GLIOMA.modalities) if modality in subset)
        expected = centred[table.sentences.index(sentence_of(subset, GLIOMA))] / centred.std()
        torch.testing.assert_close(rows[number - 1], expected)


def test_a_table_is_read_as_it_was_written(tmp_path: Path):
    table = make_table(GLIOMA, invented, {"encoder": "made up"})
    write_table(tmp_path / "a.safetensors", table)
    again = read_table(str(tmp_path / "a.safetensors"))
    assert again.sentences == table.sentences
    assert torch.equal(again.vectors, table.vectors)
    assert again.provenance == {"encoder": "made up"}
    assert again.name == table.name
    assert table.name.startswith("made up (")
    assert replace(table, vectors=table.vectors + 1).name != table.name


def test_a_method_uses_the_table_it_is_given_and_says_which(tmp_path: Path):
    write_table(tmp_path / "a.safetensors", make_table(GLIOMA, invented, {"encoder": "made up"}))
    arguments = {"width": 4, "levels": 2, "text": str(tmp_path / "a.safetensors")}
    method = make_method(DualStage, GLIOMA, arguments)
    assert isinstance(method, DualStage)
    assert method.student.hyper is not None
    torch.testing.assert_close(method.student.hyper.describe.vectors, prompt_vectors(arguments["text"], GLIOMA)[1])
    kept = method.deployed().arguments
    assert (kept["text"].split(" (")[0], kept["text_width"]) == ("made up", 5)


def broken(place: Path, change: Callable[[Path], object]) -> str:
    write_table(place / "a.safetensors", make_table(GLIOMA, invented, {}))
    change(place)
    return str(place / "a.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda place: (place / "a.json").unlink(), "not a table of prompts with a.json beside it"),
        (lambda place: (place / "a.json").write_text("{"), "not a table of prompts"),
        (lambda place: (place / "a.json").write_text('{"sentences": []}'), "not a table of prompts"),
        (lambda place: (place / "a.safetensors").write_bytes(b"no"), "not a table of prompts"),
        (lambda place: save_file({"vectors": torch.zeros(3, 5)}, place / "a.safetensors"), r"15 sentences.*\(3, 5\)"),
        (lambda place: save_file({"x": torch.zeros(3, 5)}, place / "a.safetensors"), "not a table of prompts"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, change: Callable[[Path], object], words: str):
    with pytest.raises(ModelError, match=words):
        read_table(broken(tmp_path, change))


def test_a_table_of_other_sentences_is_refused(tmp_path: Path):
    task = replace(GLIOMA, titles={**GLIOMA.titles, "t2f": "T2-FLAIR"})
    with pytest.raises(
        ModelError, match=r"no sentence 'The input MRI modalities are T2-FLAIR.' .*lacunet prompts --task"
    ):
        prompt_vectors("minilm", task)


def test_a_table_is_written_beside_its_words_and_under_its_own_suffix(tmp_path: Path):
    with pytest.raises(OutputError, match=r"ends in \.safetensors"):
        write_table(tmp_path / "a.npz", TextTable((), torch.zeros(0, 1), {}))


# ---------------------------------------------------------------- making one


def test_the_command_makes_a_table_that_a_method_can_use(lacunet, monkeypatch, tmp_path):
    fake = replace(prompts.ENCODERS["clip"], load=lambda source: invented)
    monkeypatch.setitem(prompts.ENCODERS, "clip", fake)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").write_bytes(b"weights")
    place = tmp_path / "clip.safetensors"
    status, out, _ = lacunet("prompts", "--encoder", "clip", "--weights", tmp_path / "weights", "-o", place)
    assert status == 0
    assert "15 sentences by openai/clip-vit-base-patch32 (" in out
    provenance = json.loads((tmp_path / "clip.json").read_text())["provenance"]
    assert provenance["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert make_method(DualStage, GLIOMA, {"width": 4, "levels": 2, "text": str(place)})


def test_without_transformers_there_is_a_word_on_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)  # an import of it then fails
    for name in ("clip", "minilm"):
        with pytest.raises(ModelError, match=r"needs the package transformers: pip install 'lacunet\[text\]'"):
            text_encoder(name)


def test_weights_that_cannot_be_had_are_named(monkeypatch):
    def load(source: str):
        raise OSError(f"We couldn't connect to the hub to load {source}\nand more")

    monkeypatch.setitem(prompts.ENCODERS, "clip", replace(prompts.ENCODERS["clip"], load=load))
    with pytest.raises(
        ModelError, match=r"openai/clip-vit-base-patch32: the weights of clip cannot be had .*--weights"
    ):
        text_encoder("clip")


def test_unknown_encoders_and_places_are_refused(lacunet, tmp_path):
    with pytest.raises(UsageError, match="no text encoder 'clipp'; did you mean 'clip'"):
        text_encoder("clipp")
    status, _, err = lacunet("prompts", "-o", tmp_path / "clip.npz")
    assert (status, "ends in .safetensors" in err) == (1, True)
    (tmp_path / "there.safetensors").write_bytes(b"")
    status, _, err = lacunet("prompts", "-o", tmp_path / "there.safetensors")
    assert (status, "is there already" in err) == (1, True)


def test_clip_itself_from_a_folder(lacunet, tmp_path):
    """A tiny CLIP with invented weights, through the real code of transformers, where that is installed."""
    transformers = pytest.importorskip("transformers")
    letters = [
        *"abcdefghijklmnopqrstuvwxyz0123456789.,",
        *[f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz0123456789.,"],
    ]
    words = {word: place for place, word in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    (tmp_path / "vocab.json").write_text(json.dumps(words))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")).save_pretrained(tmp_path)
    config = transformers.CLIPTextConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, projection_dim=8, num_hidden_layers=1,
        num_attention_heads=2, bos_token_id=len(words) - 2, eos_token_id=len(words) - 1,
    )  # fmt: skip
    transformers.CLIPTextModelWithProjection(config).save_pretrained(tmp_path)
    status, _out, err = lacunet("prompts", "--weights", tmp_path, "-o", tmp_path / "clip.safetensors")
    assert status == 0, err
    assert read_table(str(tmp_path / "clip.safetensors")).vectors.shape == (15, 8)
