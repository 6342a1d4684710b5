"""Put a trained run into the package as a model that ships: float16 weights, and a card with its measured table.

    python scripts/release/ship_model.py runs/ccsd ccsd --data '19 glioma cases of BraTS 2018, 2021 and 2023'
    lacunet evaluate ccsd DATA --split DATA/split.json:test -o runs/shipped-ccsd
    lacunet calibrate folds/ccsd/seed-1 --data DATA -o runs/calibration
    python scripts/release/ship_model.py runs/ccsd ccsd --data ... --evaluation runs/shipped-ccsd \\
        --calibration runs/calibration

The first call writes the weights; the evaluation is of exactly these; the last call writes its table on the card, and
puts beside the weights what models of the same recipe said of cases that they had not seen (docs/calibration.md).
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from lacunet.evaluation.summary import read_summary
from lacunet.files import rounded, whole_folder
from lacunet.models.calibration import CALIBRATION, put_beside, read_calibration_file
from lacunet.models.description import Description, read_description
from lacunet.models.model import load_model, save_model
from lacunet.prediction.postprocess import Rule, rules_named, rules_of

MODELS = Path(__file__).resolve().parents[2] / "src" / "lacunet" / "models"
LICENCE = "research only: trained on BraTS data, not for clinical use"


def main() -> None:
    """Read the command line, write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name", help="of the model; models/folder.py says which one `default` is")
    parser.add_argument("--data", required=True, help="what it was trained on, in words for its card")
    parser.add_argument("--evaluation", type=Path, help="folder that `lacunet evaluate` wrote")
    parser.add_argument("--calibration", type=Path, help="folder that `lacunet calibrate` wrote")
    parser.add_argument(
        "--postprocess", action="append", default=[], help="a rule for its masks; repeatable; else the run's own"
    )
    options = parser.parse_args()
    if options.name == "default":
        parser.error("'default' stands for a model by its own name")
    rules = rules_named(options.postprocess)
    folder = ship(options.run, MODELS / options.name, options.data, options.evaluation, options.calibration, rules)
    print(f"{folder}: {sum(path.stat().st_size for path in folder.iterdir()) / 2**20:.1f} MiB")


def ship(
    run: Path,
    folder: Path,
    data: str,
    evaluation: Path | None,
    calibration: Path | None,
    rules: Sequence[Rule] | None = None,
) -> Path:
    """Write the model folder whole, or leave what is there. Without rules that are asked for, it has the run's own."""
    model = load_model(str(run))
    postprocessing = [rule.name for rule in rules_of(rules, model.postprocessing)]
    card = {**model.card, "data": data, "licence": LICENCE, "trained_with": versions(run)}
    if evaluation is not None:
        card["results"] = results(evaluation)
    with whole_folder(folder) as made:
        save_model(made, model.method, model.preparation, card, half=True, postprocessing=postprocessing)
        if evaluation is not None:
            require_same(read_description(made), evaluation)
        if calibration is not None:
            require_same_rules(read_description(made), calibration)
            put_beside(read_calibration_file(calibration / CALIBRATION), made)
        elif (folder / CALIBRATION).is_file():
            require_own_calibration(read_description(made).sha256, folder)
            shutil.copy(folder / CALIBRATION, made)
    return folder


def versions(run: Path) -> dict[str, object]:
    """Of lacunet and torch, and the commit (`+`: with changes of its own), as the run wrote them down."""
    path = run / "environment.json"
    written = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    packages = written.get("packages", {})
    return {"commit": written.get("commit"), **{name: packages.get(name) for name in ("lacunet", "torch")}}


def results(folder: Path) -> dict[str, object]:
    """The part of an evaluation's summary that a card keeps; six digits, so that no table rounds twice."""
    summary = read_summary(folder / "summary.json").to_json()
    wanted = (
        "policy",
        "data",
        "cases",
        "subsets",
        "mean",
        "by_size",
        "aurc",
        "empty",
        "monotony",
        "tumour_free",
        "cohorts",
    )
    return {key: rounded(summary[key], 6) for key in wanted if key in summary}


def require_same(made: Description, evaluation: Path) -> None:
    """The table must be of these weights, with this post-processing."""
    identity = read_summary(evaluation / "summary.json").identity
    if (identity.weights, identity.postprocessing) != (made.sha256, made.postprocessing):
        raise SystemExit(f"{evaluation}: of other weights or other post-processing; evaluate the shipped model again")


def require_same_rules(made: Description, calibration: Path) -> None:
    """Ranges of masks with other post-processing would be shown for no mask."""
    if tuple(read_calibration_file(calibration / CALIBRATION).postprocessing) != made.postprocessing:
        raise SystemExit(f"{calibration}: of masks with other post-processing; give `lacunet calibrate` --postprocess")


def require_own_calibration(weights: str, folder: Path) -> None:
    """The calibration that lies there must not be lost, nor kept beside other weights."""
    if read_calibration_file(folder / CALIBRATION).weights != weights:
        raise SystemExit(f"{folder / CALIBRATION}: of other weights; give --calibration, or remove it first")


if __name__ == "__main__":
    main()
