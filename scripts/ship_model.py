"""Put a trained run into the package as a model that ships: float16 weights, and a card with its measured table.

    python scripts/ship_model.py runs/first default
    lacunet evaluate default DATA --split DATA/split.json:test -o runs/default-test
    python scripts/ship_model.py runs/first default --evaluation runs/default-test

The first call writes the weights; the evaluation is of exactly these; the last call writes its table on the card.
"""

import argparse
import json
from pathlib import Path

from lacunet.model import load_model, save_model

MODELS = Path(__file__).resolve().parents[1] / "src" / "lacunet" / "models"
LICENCE = "research only: trained on BraTS data, not for clinical use"


def main() -> None:
    """Read the command line, write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--evaluation", type=Path, help="folder that `lacunet evaluate` wrote")
    parser.add_argument("--data", default="19 glioma cases of BraTS 2018, 2021 and 2023")
    arguments = parser.parse_args()
    model = load_model(str(arguments.run))
    card = {**model.card, "data": arguments.data, "licence": LICENCE}
    if arguments.evaluation is not None:
        card["results"] = results(arguments.evaluation)
    save_model(MODELS / arguments.name, model.method, model.preparation, card, half=True)
    if arguments.evaluation is not None:
        require_same_weights(arguments.name, arguments.evaluation)
    size = sum(path.stat().st_size for path in (MODELS / arguments.name).iterdir())
    print(f"{MODELS / arguments.name}: {size / 2**20:.1f} MiB")


def results(folder: Path) -> dict[str, object]:
    """The part of an evaluation's summary that a card keeps."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    wanted = ("policy", "data", "cases", "subsets", "mean", "by_size", "aurc", "empty")
    return rounded({key: summary[key] for key in wanted if key in summary})


def rounded(value: object) -> object:
    """Four digits are more than six cases can tell."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def require_same_weights(name: str, evaluation: Path) -> None:
    """The table must be of these weights."""
    summary = json.loads((evaluation / "summary.json").read_text(encoding="utf-8"))
    written = load_model(name).sha256
    if summary["identity"]["weights"] != written:
        raise SystemExit(f"{evaluation}: an evaluation of other weights; evaluate '{name}' again")


if __name__ == "__main__":
    main()
