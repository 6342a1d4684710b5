"""Where models lie and what their description says, read without torch and without the weights."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from lacunet.errors import ModelError, nearest

FORMAT = 1
DEFAULT = "ccsd_medium"
"""The shipped model that `default` stands for, chosen by validation (docs/results.md)."""
WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"
PLAN = "benchmark.json"
"""The file that marks the folder of a benchmark, which holds many runs."""
_LARGEST_DESCRIPTION = 4 * 2**20


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
        if (folder / DESCRIPTION).is_file():
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
    if not (folder / PLAN).is_file():
        return None
    return min(folder.glob("*/seed-*"), default=folder / "NAME" / "seed-1")


def run_of(folder: Path) -> Path:
    """The run that a model's folder lies in; the folder itself if it lies in none."""
    return folder.parent if folder.name == "model" else folder


def model_name(folder: Path) -> str:
    """The name of the model in a folder: the folder's, or the run's where it lies in one."""
    return run_of(folder.resolve()).name


def read_description(folder: Path) -> dict[str, Any]:
    """The JSON beside the weights; that its fields are there is checked, the weights are not read.

    Raises:
        ModelError: not JSON, too large, or without the fields that a model has.
    """
    path = folder / DESCRIPTION
    if path.stat().st_size > _LARGEST_DESCRIPTION:
        raise ModelError(f"{path}: larger than {_LARGEST_DESCRIPTION // 2**20} MiB; not a model's description")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: not JSON ({error}); get the model again") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else None
        raise ModelError(f"{path}: format {found!r}, expected {FORMAT}; use the version of lacunet that wrote it")
    for field in ("method", "arguments", "task", "preparation", "sha256", "card"):
        if field not in description:
            raise ModelError(f"{path}: '{field}' is missing; get the model again")
    return description
