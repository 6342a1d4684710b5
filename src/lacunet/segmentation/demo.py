"""The demonstration: an invented patient with two of four sequences, segmented. No download, no network."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lacunet.case import CaseFiles
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.data.phantom.phantom import write_phantom
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.segment import segment_case
from lacunet.segmentation.write import Segmented, SegmentSettings
from lacunet.task import GLIOMA


def invent_patient(folder: Path, seed: int, keep: Sequence[str]) -> CaseFiles:
    """Write a phantom and hand back the case as if only `keep` had been acquired; the other scans are removed."""
    case_folder = write_phantom(folder, seed, GLIOMA)
    (files,) = with_conventions(find_cases(case_folder))
    for modality, image in files.images.items():
        if modality not in keep:
            image.path.unlink()
    return replace(files, images={modality: files.images[modality] for modality in keep})


def run_demo(predictor: Predictor, folder: Path, seed: int = 7, keep: Sequence[str] = ("t1c", "t2f")) -> Segmented:
    """Invent a patient in `folder/scans` and segment it into `folder/results`, compared with the known truth."""
    files = invent_patient(folder / "scans", seed, keep)
    settings = SegmentSettings(reference=True, overwrite=True)
    return segment_case(predictor, files, folder / "results", settings)
