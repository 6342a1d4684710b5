"""Segments brain tumours from whichever MRI sequences a patient has.

The public names are flat: `from lacunet import Predictor, load_model, find_cases, load_case`. Each is imported when it
is first used, so that `import lacunet` is quick and needs no torch.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # what editors and type checkers see; one test holds it against the table below
    from lacunet.calibration.calibrate import calibrate as calibrate
    from lacunet.case import Case as Case
    from lacunet.case import CaseFiles as CaseFiles
    from lacunet.case import Grid as Grid
    from lacunet.case import ImageFile as ImageFile
    from lacunet.cohort.cohort import cohort_of as cohort_of
    from lacunet.cohort.page import write_cohort_page as write_cohort_page
    from lacunet.cohort.table import write_results as write_results
    from lacunet.comparison.compare import compare as compare
    from lacunet.comparison.comparison import CompareSettings as CompareSettings
    from lacunet.corrections.measure import measure as measure
    from lacunet.data.find import case_from_files as case_from_files
    from lacunet.data.find import find_cases as find_cases
    from lacunet.data.labels import with_conventions as with_conventions
    from lacunet.data.nifti import load_case as load_case
    from lacunet.data.nifti import write_image as write_image
    from lacunet.data.nifti import write_mask as write_mask
    from lacunet.data.phantom.phantom import make_phantom as make_phantom
    from lacunet.data.phantom.phantom import write_phantoms as write_phantoms
    from lacunet.data.prepare import Preparation as Preparation
    from lacunet.errors import LacunetError as LacunetError
    from lacunet.errors import Problem as Problem
    from lacunet.evaluation.evaluate import EvaluateSettings as EvaluateSettings
    from lacunet.evaluation.evaluate import evaluate as evaluate
    from lacunet.evaluation.metrics import MetricPolicy as MetricPolicy
    from lacunet.evaluation.metrics import aurc as aurc
    from lacunet.evaluation.metrics import dice as dice
    from lacunet.evaluation.metrics import get_policy as get_policy
    from lacunet.evaluation.metrics import hd95 as hd95
    from lacunet.intake.importer import Importer as Importer
    from lacunet.models.calibration import Calibration as Calibration
    from lacunet.models.calibration import read_calibration as read_calibration
    from lacunet.models.folder import shipped_models as shipped_models
    from lacunet.models.model import Model as Model
    from lacunet.models.model import for_task as for_task
    from lacunet.models.model import load_model as load_model
    from lacunet.models.model import save_model as save_model
    from lacunet.nn.batch import Batch as Batch
    from lacunet.nn.batch import hide as hide
    from lacunet.nn.method import Clock as Clock
    from lacunet.nn.method import Method as Method
    from lacunet.nn.method import Stage as Stage
    from lacunet.nn.method import get_method as get_method
    from lacunet.nn.method import make_method as make_method
    from lacunet.nn.papers import Paper as Paper
    from lacunet.nn.papers import method_names as method_names
    from lacunet.nn.papers import paper_of as paper_of
    from lacunet.prediction.predictor import Prediction as Prediction
    from lacunet.prediction.predictor import Predictor as Predictor
    from lacunet.prediction.windows import Windows as Windows
    from lacunet.segmentation.answer import Answer as Answer
    from lacunet.segmentation.answer import ask as ask
    from lacunet.segmentation.segment import segment_case as segment_case
    from lacunet.segmentation.segment import segment_cases as segment_cases
    from lacunet.segmentation.sources import segment as segment
    from lacunet.segmentation.write import Segmented as Segmented
    from lacunet.segmentation.write import SegmentSettings as SegmentSettings
    from lacunet.task import GLIOMA as GLIOMA
    from lacunet.task import METS as METS
    from lacunet.task import Task as Task
    from lacunet.task import get_task as get_task
    from lacunet.training.recipe import Recipe as Recipe
    from lacunet.training.recipe import make_recipe as make_recipe
    from lacunet.training.recipe import read_recipe as read_recipe
    from lacunet.training.train import train as train
    from lacunet.visits.change import Changed as Changed
    from lacunet.visits.change import change as change
else:
    from importlib import import_module

    _HOMES = {
        "calibration.calibrate": ("calibrate",),
        "case": ("Case", "CaseFiles", "Grid", "ImageFile"),
        "cohort.cohort": ("cohort_of",),
        "cohort.page": ("write_cohort_page",),
        "cohort.table": ("write_results",),
        "comparison.compare": ("compare",),
        "comparison.comparison": ("CompareSettings",),
        "corrections.measure": ("measure",),
        "data.find": ("case_from_files", "find_cases"),
        "data.labels": ("with_conventions",),
        "data.nifti": ("load_case", "write_image", "write_mask"),
        "data.phantom.phantom": ("make_phantom", "write_phantoms"),
        "data.prepare": ("Preparation",),
        "errors": ("LacunetError", "Problem"),
        "evaluation.evaluate": ("EvaluateSettings", "evaluate"),
        "evaluation.metrics": ("MetricPolicy", "aurc", "dice", "get_policy", "hd95"),
        "intake.importer": ("Importer",),
        "models.calibration": ("Calibration", "read_calibration"),
        "models.folder": ("shipped_models",),
        "models.model": ("Model", "for_task", "load_model", "save_model"),
        "nn.batch": ("Batch", "hide"),
        "nn.method": ("Clock", "Method", "Stage", "get_method", "make_method"),
        "nn.papers": ("Paper", "method_names", "paper_of"),
        "prediction.predictor": ("Prediction", "Predictor"),
        "prediction.windows": ("Windows",),
        "segmentation.answer": ("Answer", "ask"),
        "segmentation.segment": ("segment_case", "segment_cases"),
        "segmentation.sources": ("segment",),
        "segmentation.write": ("SegmentSettings", "Segmented"),
        "task": ("GLIOMA", "METS", "Task", "get_task"),
        "training.recipe": ("Recipe", "make_recipe", "read_recipe"),
        "training.train": ("train",),
        "visits.change": ("Changed", "change"),
    }
    _HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

    __all__ = sorted(["__version__", *_HOME_OF])

    def __getattr__(name: str) -> Any:
        if name not in _HOME_OF:
            raise AttributeError(f"lacunet has no '{name}'; it has: {', '.join(__all__)}")
        return getattr(import_module(f"lacunet.{_HOME_OF[name]}"), name)

    def __dir__() -> list[str]:
        return __all__
