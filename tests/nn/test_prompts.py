"""The table of prompts: its sentences, its rows, its provenance."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lacunet.errors import ModelError, OutputError
from lacunet.methods.dual_stage import DualStage
from lacunet.nn.method import make_method
from lacunet.nn.prompts import TextTable, make_table, prompt_vectors, read_table, sentence_of, write_table
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


def broken(folder: Path, change: Callable[[Path], object]) -> str:
    write_table(folder / "a.safetensors", make_table(GLIOMA, invented, {}))
    change(folder)
    return str(folder / "a.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "a.json").unlink(), "not a table of prompts with a.json beside it"),
        (lambda folder: (folder / "a.json").write_text("{"), "not a table of prompts"),
        (lambda folder: (folder / "a.json").write_text('{"sentences": []}'), "not a table of prompts"),
        (lambda folder: (folder / "a.safetensors").write_bytes(b"no"), "not a table of prompts"),
        (lambda folder: save_file({"vectors": torch.zeros(3, 5)}, folder / "a.safetensors"), r"15 sentences.*\(3, 5\)"),
        (lambda folder: save_file({"x": torch.zeros(3, 5)}, folder / "a.safetensors"), "not a table of prompts"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, change: Callable[[Path], object], words: str):
    with pytest.raises(ModelError, match=words):
        read_table(broken(tmp_path, change))


def test_a_table_of_other_sentences_is_refused(tmp_path: Path):
    task = replace(GLIOMA, titles={**GLIOMA.titles, "t2f": "T2-FLAIR"})
    with pytest.raises(
        ModelError, match=r"no sentence 'The input MRI modalities are T2-FLAIR.' .*make_prompts.py --task"
    ):
        prompt_vectors("minilm", task)


def test_a_table_is_written_beside_its_words_and_under_its_own_suffix(tmp_path: Path):
    with pytest.raises(OutputError, match=r"ends in \.safetensors"):
        write_table(tmp_path / "a.npz", TextTable((), torch.zeros(0, 1), {}))
