"""Masks as a model's own post-processing leaves them, on the grid of its network: quick, for studies of many masks."""

import numpy as np
from jaxtyping import Bool

from lacunet.evaluation.metrics import region_masks
from lacunet.prediction.postprocess import apply_rules, rules_of
from lacunet.prediction.predictor import Prediction, Predictor


def own_masks(predictor: Predictor, prediction: Prediction) -> dict[str, Bool[np.ndarray, "x y z"]]:
    """A mask per region; without post-processing each region as it is thresholded."""
    rules = rules_of(None, predictor.model.postprocessing)
    if not rules:
        return prediction.masks()
    return dict(region_masks(apply_rules(rules, prediction.found_on_grid()), prediction.task))
