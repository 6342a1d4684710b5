"""Make one model of trained runs, each of which answers for some of the regions.

    python scripts/release/join_models.py runs/one=wt runs/other=tc,et -o runs/joined
    lacunet evaluate runs/joined DATA --split DATA/split.json:val -o runs/joined/val

It has the post-processing that all of them have, if they have the same; `ship_model.py --postprocess` gives it another.
The new run keeps the cases that its networks were trained on, so that `lacunet calibrate` refuses them; its card names
the networks. `scripts/release/ship_model.py` puts it into the package, as it does any run.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lacunet.data.split import RUN_SPLIT
from lacunet.errors import LacunetError, ModelError
from lacunet.files import write_json
from lacunet.models.ensemble import shared_rules
from lacunet.models.folder import model_folder, run_of
from lacunet.models.joined import join
from lacunet.models.model import load_model, save_model
from lacunet.models.origin import cases_seen, source_of


def main() -> None:
    """Read the command line, write the run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("members", nargs="+", metavar="MODEL=REGIONS", help="such as runs/other=tc,et")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the run's folder; must not exist")
    options = parser.parse_args()
    if options.output.exists():
        parser.error(f"{options.output}: exists already")
    parts = [member.rpartition("=") for member in options.members]
    if any(not model or not regions for model, _, regions in parts):
        parser.error("each member is MODEL=REGIONS, such as runs/other=tc,et")
    try:
        write_joined([model for model, _, _ in parts], [own.split(",") for _, _, own in parts], options.output)
    except LacunetError as error:
        parser.error(str(error))


def write_joined(sources: Sequence[str], regions: Sequence[Sequence[str]], run: Path) -> None:
    """Write the run of a joined model.

    Args:
        sources: Runs, as `load_model` takes them.
        regions: That each of them answers for.
        run: Where to.

    Raises:
        ModelError: a model is no run that knows its training cases, or the models are prepared in different ways.
    """
    models = [load_model(source) for source in sources]
    seen = [cases_seen(run_of(model_folder(source))) for source in sources]
    for source, model, cases in zip(sources, models, seen, strict=True):
        if cases is None:
            raise ModelError(f"{source}: its training cases are not known; name a run that keeps its split")
        if model.preparation != models[0].preparation:
            raise ModelError(f"{source}: is prepared in another way than {sources[0]}; train both on one grid")
    joined = join([model.method for model in models], regions)
    card = {
        "data": "; ".join(dict.fromkeys(str(model.card.get("data", "not stated")) for model in models)),
        "members": [
            {**source_of(source).card(), "regions": list(own), "recipe": model.card.get("recipe")}
            for source, own, model in zip(sources, regions, models, strict=True)
        ],
    }
    save_model(run / "model", joined, models[0].preparation, card, postprocessing=shared_rules(models))
    write_json(run / RUN_SPLIT, {"train": sorted({case for cases in seen for case in cases or ()}), "val": []})


if __name__ == "__main__":
    main()
