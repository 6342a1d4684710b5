"""Sentences that say which sequences there are, as vectors of a frozen text encoder, kept in a small table.

There are as many sentences as subsets, fifteen for four modalities, so that training and use need no text encoder: the
table that comes with the package was made once, and `lacunet prompts` makes another.
"""

import hashlib
import json
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

from lacunet.errors import ModelError, OutputError, UsageError, nearest
from lacunet.files import whole_file, write_json
from lacunet.task import Subset, Task

TEMPLATE = "The input MRI modalities are {}."
"""The paper's sentence (Zhao et al., 2026); the modalities' common names, in the task's order."""

SHIPPED = {"minilm": "dual_stage_text.safetensors"}
"""Tables of the package by name: files beside the method that uses them."""

Vectors = Float[Tensor, "sentence width"]


@dataclass(frozen=True)
class TextTable:
    """Sentences and what a text encoder says of them.

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
        """The encoder, and the first digits of a hash of the vectors: what a run says of the table it used."""
        content = self.vectors.contiguous().numpy().tobytes()
        return f"{self.provenance.get('encoder', 'unknown')} ({hashlib.sha256(content).hexdigest()[:12]})"


def sentence_of(subset: Subset, task: Task) -> str:
    """`The input MRI modalities are T1ce, FLAIR.`"""
    return TEMPLATE.format(", ".join(task.titles[modality] for modality in subset))


def prompt_vectors(source: str, task: Task) -> tuple[str, Vectors]:
    """A table's name and a row per subset of a task, for a network to look up.

    What all sentences share says nothing about the subset and is taken off; the rest has unit deviation.

    Args:
        source: `minilm`, or a file that `write_table` wrote.
        task: Its subsets, each by its number: the sum of 2 ** index of its modalities. The first row is number 1.

    Raises:
        ModelError: no such table, or one without the sentences of this task.
    """
    table = read_table(source)
    places = {sentence: place for place, sentence in enumerate(table.sentences)}
    numbered = sorted(task.subsets, key=lambda subset: sum(2 ** task.modalities.index(name) for name in subset))
    wanted = [sentence_of(subset, task) for subset in numbered]
    for sentence in wanted:
        if sentence not in places:
            raise ModelError(
                f"{source}: the table has no sentence '{sentence}' (its first is '{table.sentences[0]}'); make one for "
                "this task: lacunet prompts --task"
            )
    rows = table.vectors[[places[sentence] for sentence in wanted]]
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
            "lacunet prompts makes others"
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
        words: dict[str, Any] = json.loads(said.read_text(encoding="utf-8"))
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


# ------------------------------------------------ text encoders, by the optional package transformers


@dataclass(frozen=True)
class TextEncoder:
    """A frozen text encoder.

    Attributes:
        weights: What it is called on the hub, where no folder is named.
        licence: Of the weights.
        load: Folder or name -> sentences -> vectors.
    """

    weights: str
    licence: str
    load: Callable[[str], Callable[[Sequence[str]], Vectors]]


def text_encoder(name: str, weights: str | None = None) -> tuple[Callable[[Sequence[str]], Vectors], dict[str, str]]:
    """A text encoder, ready, and where it comes from.

    Args:
        name: `clip` (the paper's) or `minilm`.
        weights: A folder with the weights, as transformers saves them; None asks the hub for them.

    Raises:
        UsageError: no such encoder.
        ModelError: transformers is not installed, or the weights cannot be had.
    """
    if name not in ENCODERS:
        raise UsageError(f"no text encoder '{name}'{nearest(name, ENCODERS)}; known: {', '.join(ENCODERS)}")
    encoder, source = ENCODERS[name], weights or ENCODERS[name].weights
    try:
        encode = encoder.load(source)
    except ImportError as error:
        raise ModelError("a text encoder needs the package transformers: pip install 'lacunet[text]'") from error
    except (OSError, ValueError, SafetensorError, RuntimeError, KeyError) as error:
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{source}: the weights of {name} cannot be had ({cause}); name a folder that holds them with --weights"
        ) from error
    provenance = {"encoder": encoder.weights, "licence": encoder.licence}
    if weights is not None:
        provenance["sha256"] = _hash_of(Path(weights))
    return encode, provenance


def _load_clip(source: str) -> Callable[[Sequence[str]], Vectors]:
    """CLIP's text features: the projected end-of-text token."""
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    tokenizer, model = CLIPTokenizer.from_pretrained(source), CLIPTextModelWithProjection.from_pretrained(source)

    def encode(sentences: Sequence[str]) -> Vectors:
        with torch.inference_mode():
            vectors: Tensor = model.eval()(**tokenizer(list(sentences), padding=True, return_tensors="pt")).text_embeds
        return vectors.clone()

    return encode


def _load_minilm(source: str) -> Callable[[Sequence[str]], Vectors]:
    """Sentence-transformers' way: the mean over the tokens, of length one."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModel.from_pretrained(source)

    def encode(sentences: Sequence[str]) -> Vectors:
        tokens = tokenizer(list(sentences), padding=True, return_tensors="pt")
        with torch.inference_mode():
            states: Tensor = model.eval()(**tokens).last_hidden_state
        there = tokens["attention_mask"][..., None]
        return torch.nn.functional.normalize((states * there).sum(1) / there.sum(1), dim=1).clone()

    return encode


def _hash_of(folder: Path) -> str:
    """Of the file with the weights."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return "no single file"


ENCODERS = {
    "clip": TextEncoder("openai/clip-vit-base-patch32", "MIT", _load_clip),
    "minilm": TextEncoder("sentence-transformers/all-MiniLM-L6-v2", "Apache-2.0", _load_minilm),
}
