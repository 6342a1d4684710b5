"""An invented head as DICOM, and a model for it."""

from pathlib import Path

import numpy as np

from dicom_made import Examination
from phantoms_made import make_phantom


def a_head(folder: Path) -> Path:
    """The T1ce of an invented patient without skull: it needs no registration, which is quick."""
    case = make_phantom(5, spacing=4.0)
    Examination(folder).write(case.images["t1c"].astype(np.uint16), case.grid.affine, 3, "t1_tse_tra_KM", "t1c")
    return folder
