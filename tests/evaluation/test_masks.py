"""The masks of a prediction: as they are, and after post-processing."""

import numpy as np
import pytest
import torch

from calibrations_made import tiny_model
from lacunet.data.nifti import load_case
from lacunet.evaluation.masks import masks_of
from lacunet.evaluation.metrics import region_masks
from lacunet.models.model import load_model
from lacunet.prediction.postprocess import get_rule
from lacunet.prediction.predictor import Predictor


@pytest.mark.parametrize("on_case", [True, False])
def test_masks_are_those_after_the_rules_on_either_grid(phantoms, tmp_path, on_case):
    torch.manual_seed(0)
    case = load_case(phantoms[0])
    found = Predictor(load_model(str(tiny_model(tmp_path / "model"))), "cpu", "float32")(case)
    grid, before = (case.grid, found.regions()) if on_case else (None, found.masks())
    as_found, after = (masks_of(found, rules, grid) for rules in ([], [get_rule("largest")]))
    assert all(np.array_equal(as_found[region], mask) for region, mask in before.items())
    wanted = region_masks(get_rule("largest")(found.found(case.grid) if on_case else found.found_on_grid()), found.task)
    assert all(np.array_equal(after[region], mask) for region, mask in wanted.items())
    assert not np.array_equal(wanted["wt"], as_found["wt"])  # else nothing of this is tested


def test_what_rules_decide_by_on_the_network_s_grid_fits_its_masks(phantoms, tmp_path):
    torch.manual_seed(0)
    found = Predictor(load_model(str(tiny_model(tmp_path / "model"))), "cpu", "float32")(load_case(phantoms[0]))
    grid = found.found_on_grid()
    assert grid.grid.voxel_ml == pytest.approx(found.voxel_ml)
    assert grid.grid.shape == grid.labels.shape == grid.logits.shape == found.masks()["wt"].shape
    assert np.array_equal(grid.logits > 0, found.masks()["wt"])
