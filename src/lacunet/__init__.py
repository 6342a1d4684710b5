"""Segments brain tumours from whichever MRI sequences a patient has.

The public names are flat: `from lacunet import load_model, Predictor, find_cases, load_case`. They are imported when
they are first used, so that `import lacunet` is quick and needs no torch. Training, evaluation and comparison are
modules that hold a function of their name: `from lacunet.training.train import train`,
`from lacunet.evaluation.evaluate import evaluate`.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "task": ("Task", "GLIOMA", "METS", "get_task"),
    "case": ("Case", "CaseFiles", "Grid", "ImageFile"),
    "errors": ("LacunetError",),
    "data.find": ("find_cases", "case_from_files"),
    "data.labels": ("with_conventions",),
    "data.nifti": ("load_case", "write_mask", "write_image"),
    "data.phantom.phantom": ("make_phantom", "write_phantoms"),
    "data.prepare": ("Preparation",),
    "nn.batch": ("Batch", "hide"),
    "nn.papers": ("Paper", "method_names", "paper_of"),
    "nn.method": ("Clock", "Method", "Stage", "get_method", "make_method"),
    "training.recipe": ("Recipe", "read_recipe", "make_recipe"),
    "models.folder": ("shipped_models",),
    "models.calibration": ("Calibration", "read_calibration"),
    "models.model": ("Model", "for_task", "load_model", "save_model"),
    "prediction.predictor": ("Prediction", "Predictor"),
    "prediction.windows": ("Windows",),
    "segment": ("SegmentSettings", "segment_case", "segment_cases"),
    "evaluation.evaluate": ("EvaluateSettings",),
    "comparison.comparison": ("CompareSettings",),
    "evaluation.metrics": ("MetricPolicy", "aurc", "dice", "get_policy", "hd95"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"lacunet has no '{name}'; it has: {', '.join(__all__)}")
    return getattr(import_module(f"lacunet.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
