"""Masks of studies: as the model's own post-processing leaves them."""

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch

from calibrations_made import tiny_model
from lacunet.data.nifti import load_case
from lacunet.evaluation.metrics import region_masks
from lacunet.models.model import load_model
from lacunet.prediction.postprocess import get_rule
from lacunet.prediction.predictor import Predictor
from small import ROOT


@pytest.fixture(scope="module")
def study() -> Iterator[ModuleType]:
    """The script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts" / "studies"))
        yield __import__("own_masks")


def test_masks_are_those_after_the_model_s_rules(study, phantoms, tmp_path):
    torch.manual_seed(0)
    plain = load_model(str(tiny_model(tmp_path / "model")))
    case = load_case(phantoms[0])
    predictors = [Predictor(replace(plain, postprocessing=rules), "cpu", "float32") for rules in ((), ("largest",))]
    found = predictors[0](case)
    grid = found.found_on_grid()
    assert grid.grid.voxel_ml == pytest.approx(found.voxel_ml)
    assert grid.grid.shape == grid.labels.shape == grid.logits.shape == found.masks()["wt"].shape
    assert np.array_equal(grid.logits > 0, found.masks()["wt"])
    as_found, after = (study.own_masks(predictor, found) for predictor in predictors)
    assert all(np.array_equal(as_found[region], mask) for region, mask in found.masks().items())
    wanted = region_masks(get_rule("largest")(grid), found.task)
    assert all(np.array_equal(after[region], mask) for region, mask in wanted.items())
    assert not np.array_equal(wanted["wt"], as_found["wt"])  # else nothing of this is tested
