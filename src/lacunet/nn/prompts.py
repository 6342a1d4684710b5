"""Sentences that say which sequences there are, as vectors of a frozen text encoder, kept in a small table.

There is one sentence for each subset, fifteen for four modalities, so training and use need no text encoder. The table
of the package was made once by `scripts/release/make_prompts.py`, which makes others too.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lacunet.errors import ModelError, OutputError, nearest
from lacunet.files import whole_file, write_json
from lacunet.reading import parse_json
from lacunet.task import Subset, Task

TEMPLATE = "The input MRI modalities are {}."
"""The paper's sentence (Zhao et al., 2026); the modalities' common names, in the task's order."""

SHIPPED = {"minilm": "dual_stage_text.safetensors"}
"""Tables of the package by name: files beside the method that uses them."""

Vectors = Float[Tensor, "sentence width"]


@dataclass(frozen=True)
class TextTable:
    """Sentences and their vectors.

    Attributes:
        sentences: In any order.
        vectors: A row for each, as the encoder gives it.
        provenance: Where the vectors come from: `encoder`, `weights`, `sha256` of the weights, `licence`, ...
    """

    sentences: tuple[str, ...]
    vectors: Vectors
    provenance: Mapping[str, str]

    @property
    def name(self) -> str:
        """The encoder, and the first digits of a hash of the vectors. A run records it."""
        content = self.vectors.contiguous().numpy().tobytes()
        return f"{self.provenance.get('encoder', 'unknown')} ({hashlib.sha256(content).hexdigest()[:12]})"


def sentence_of(subset: Subset, task: Task) -> str:
    """`The input MRI modalities are T1ce, FLAIR.`"""
    return TEMPLATE.format(", ".join(task.titles[modality] for modality in subset))


def prompt_vectors(source: str, task: Task) -> tuple[str, Vectors]:
    """A table's name and a row per subset of a task, for a network to look up.

    The mean of all sentences says nothing about the subset and is subtracted; the rest is scaled to unit deviation.

    Args:
        source: `minilm`, or a file that `write_table` wrote.
        task: Its subsets, each by its number: the sum of 2 ** index of its modalities. The first row is number 1.

    Raises:
        ModelError: no such table, or one without the sentences of this task.
    """
    table = read_table(source)
    rows_by_sentence = {sentence: index for index, sentence in enumerate(table.sentences)}
    numbered = sorted(task.subsets, key=lambda subset: sum(2 ** task.modalities.index(name) for name in subset))
    wanted = [sentence_of(subset, task) for subset in numbered]
    for sentence in wanted:
        if sentence not in rows_by_sentence:
            raise ModelError(
                f"{source}: the table has no sentence '{sentence}' (its first is '{table.sentences[0]}'); make one for "
                "this task: scripts/release/make_prompts.py --task"
            )
    rows = table.vectors[[rows_by_sentence[sentence] for sentence in wanted]]
    rows = rows - rows.mean(dim=0)
    return table.name, rows / rows.std().clamp_min(1e-12)


def make_table(task: Task, encode: Callable[[Sequence[str]], Vectors], provenance: Mapping[str, str]) -> TextTable:
    """Every sentence of a task through a text encoder."""
    sentences = tuple(sentence_of(subset, task) for subset in task.subsets)
    return TextTable(sentences, encode(sentences).detach().float().cpu(), provenance)


def read_table(source: str) -> TextTable:
    """A table of the package, or one from a `.safetensors` file with its `.json` beside it.

    Raises:
        ModelError: not there, damaged, or the two do not fit.
    """
    if source in SHIPPED:
        return _read(Path(str(files("lacunet.methods").joinpath(SHIPPED[source]))))
    path = Path(source)
    if not path.is_file():
        raise ModelError(
            f"{source}: no such table of prompts{nearest(source, SHIPPED)}; the package has {', '.join(SHIPPED)}, and "
            "scripts/release/make_prompts.py makes others"
        )
    return _read(path)


def write_table(path: Path, table: TextTable) -> None:
    """Write vectors (`.safetensors`) and, beside them, sentences and provenance (`.json`).

    Raises:
        OutputError: another suffix, or it cannot be written.
    """
    if path.suffix != ".safetensors":
        raise OutputError(f"{path}: a table of prompts ends in .safetensors; its sentences go to a .json beside it")
    with whole_file(path) as temporary:
        temporary.write_bytes(save({"vectors": table.vectors.contiguous()}))
    write_json(path.with_suffix(".json"), {"sentences": list(table.sentences), "provenance": dict(table.provenance)})


def _read(path: Path) -> TextTable:
    said = path.with_suffix(".json")
    try:
        vectors = load(path.read_bytes())["vectors"].float()
        words: dict[str, Any] = parse_json(said.read_text(encoding="utf-8"))
        table = TextTable(tuple(words["sentences"]), vectors, dict(words["provenance"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise ModelError(
            f"{path}: not a table of prompts with {said.name} beside it ({cause}); make it again"
        ) from error
    if vectors.dim() != 2 or len(table.sentences) != len(vectors) or not torch.isfinite(vectors).all():
        raise ModelError(
            f"{path}: {len(table.sentences)} sentences, but vectors of shape {tuple(vectors.shape)}; make it again"
        )
    return table
