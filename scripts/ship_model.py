"""Put a trained run into the package as a model that ships: float16 weights, and a card with its measured table.

    python scripts/ship_model.py runs/first default
    lacunet evaluate default DATA --split DATA/split.json:test -o runs/default-test
    lacunet calibrate runs/fold0 runs/fold1 runs/fold2 runs/fold3 --data DATA -o runs/calibration
    python scripts/ship_model.py runs/first default --evaluation runs/default-test --calibration runs/calibration

The first call writes the weights; the evaluation is of exactly these; the last call writes its table on the card, and
puts beside the weights what models of the same recipe said of cases that they had not seen (docs/calibration.md).
"""

import argparse
import json
from pathlib import Path

from lacunet.calibration import CALIBRATION, put_beside, read_calibration, read_calibration_file
from lacunet.errors import ModelError
from lacunet.files import rounded
from lacunet.model import load_model, save_model

MODELS = Path(__file__).resolve().parents[1] / "src" / "lacunet" / "models"
LICENCE = "research only: trained on BraTS data, not for clinical use"


def main() -> None:
    """Read the command line, write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--evaluation", type=Path, help="folder that `lacunet evaluate` wrote")
    parser.add_argument("--calibration", type=Path, help="folder that `lacunet calibrate` wrote")
    parser.add_argument("--data", default="19 glioma cases of BraTS 2018, 2021 and 2023")
    arguments = parser.parse_args()
    model = load_model(str(arguments.run))
    card = {**model.card, "data": arguments.data, "licence": LICENCE}
    if arguments.evaluation is not None:
        card["results"] = results(arguments.evaluation)
    save_model(MODELS / arguments.name, model.method, model.preparation, card, half=True)
    calibrate(MODELS / arguments.name, arguments.calibration)
    if arguments.evaluation is not None:
        require_same_weights(arguments.name, arguments.evaluation)
    size = sum(path.stat().st_size for path in (MODELS / arguments.name).iterdir())
    print(f"{MODELS / arguments.name}: {size / 2**20:.1f} MiB")


def results(folder: Path) -> dict[str, object]:
    """The part of an evaluation's summary that a card keeps; four digits are more than six cases can tell."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    wanted = ("policy", "data", "cases", "subsets", "mean", "by_size", "aurc", "empty")
    return {key: rounded(summary[key], 4) for key in wanted if key in summary}


def calibrate(model: Path, folder: Path | None) -> None:
    """Put a calibration beside the weights; without one, remove that of other weights."""
    if folder is not None:
        put_beside(read_calibration_file(folder / CALIBRATION), model)
        return
    try:
        read_calibration(model)
    except ModelError as error:
        (model / CALIBRATION).unlink()
        print(f"removed: {error}")


def require_same_weights(name: str, evaluation: Path) -> None:
    """The table must be of these weights."""
    summary = json.loads((evaluation / "summary.json").read_text(encoding="utf-8"))
    written = load_model(name).sha256
    if summary["identity"]["weights"] != written:
        raise SystemExit(f"{evaluation}: an evaluation of other weights; evaluate '{name}' again")


if __name__ == "__main__":
    main()
