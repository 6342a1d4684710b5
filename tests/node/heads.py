"""An invented head as DICOM, and a model for it."""

from pathlib import Path

import numpy as np
import torch

from dicom_made import Examination
from lacunet.data.prepare import Preparation
from lacunet.models.model import save_model
from lacunet.nn.method import get_method, make_method
from lacunet.task import GLIOMA
from phantoms_made import make_phantom


def a_head(folder: Path) -> Path:
    """The T1ce of an invented patient without skull: it needs no registration, which is quick."""
    case = make_phantom(5, spacing=4.0)
    Examination(folder).write(case.images["t1c"].astype(np.uint16), case.grid.affine, 3, "t1_tse_tra_KM", "t1c")
    return folder


def save_tiny(folder: Path) -> Path:
    """An untrained network, whose masks are wrong and have voxels."""
    torch.manual_seed(0)
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    save_model(folder, method, Preparation(6.0), {"data": "nothing", "licence": "none"})
    return folder
