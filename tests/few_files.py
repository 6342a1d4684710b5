"""Run as a program: a hundred prepared cases and the crops of some steps, with at most 64 open files.

python few_files.py CASES PREPARED WORKERS
"""

import resource
import sys
from dataclasses import replace
from pathlib import Path

import torch

from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.data.prepare import Preparation
from lacunet.task import GLIOMA
from lacunet.training.augmentation.settings import Augmentation
from lacunet.training.crops import Crops, crops_from
from lacunet.training.prepared import prepare_cases
from lacunet.training.recipe import TrainSettings

CPU = torch.device("cpu")

if __name__ == "__main__":
    cases, prepared, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    (files,) = with_conventions(find_cases(cases))[:1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    copies = [replace(files, name=f"case-{number:03d}") for number in range(100)]
    opened = list(prepare_cases(copies, GLIOMA, Preparation(8.0), prepared, workers))
    settings = TrainSettings(crop=(8, 8, 8), batch=4)
    crops = Crops(opened, GLIOMA, settings, steps=30, augmentation=Augmentation(), seed=1, stage=0)
    shown = {name for batch in crops_from(crops, 0, workers, CPU) for name in batch.names}
    assert len(shown) == 100, f"{len(shown)} cases shown"
