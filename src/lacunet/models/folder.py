"""Where models lie. No torch here."""

from importlib.resources import files
from pathlib import Path

from lacunet.errors import ModelError, nearest
from lacunet.reading import is_file

DEFAULT = "ccsd_medium"
"""The shipped model that `default` stands for, chosen by validation (docs/results.md)."""
WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"
PLAN = "benchmark.json"
"""The file that marks the folder of a benchmark, which holds many runs."""


def shipped_models() -> list[str]:
    """Names of the models inside the package."""
    folder = files("lacunet.models")
    return sorted(entry.name for entry in folder.iterdir() if entry.joinpath(DESCRIPTION).is_file())


def model_folder(source: str) -> Path:
    """Where a model lies: a shipped name or `default`, a model folder, or a run folder with a `model` in it.

    Raises:
        ModelError: it is none of these; for the folder of a benchmark, the error names one of its runs.
    """
    shipped = shipped_models()
    name = DEFAULT if source == "default" else source
    if name in shipped:
        return Path(str(files("lacunet.models").joinpath(name)))
    for folder in (Path(source), Path(source) / "model"):
        if is_file(folder / DESCRIPTION):
            return folder
    if run := run_of_benchmark(Path(source)):
        inside = min(run.glob("fold-*"), default=run)
        raise ModelError(f"{source}: is a benchmark's folder; name one of its runs, such as {inside}")
    raise ModelError(
        f"{source}: no model there (a model folder holds {DESCRIPTION} and {WEIGHTS})"
        f"{nearest(source, shipped)}; shipped: {', '.join(shipped) or 'none'}"
    )


def run_of_benchmark(folder: Path) -> Path | None:
    """In a benchmark's folder, the first `NAME/seed-N` (a run, or the folder of its folds); None in any other."""
    if not is_file(folder / PLAN):
        return None
    return min(folder.glob("*/seed-*"), default=folder / "NAME" / "seed-1")


def run_of(folder: Path) -> Path:
    """The run that a model's folder lies in; the folder itself if it lies in none."""
    return folder.parent if folder.name == "model" else folder


def model_name(folder: Path) -> str:
    """The name of the model in a folder: the folder's, or the run's where it lies in one."""
    return run_of(folder.resolve()).name
