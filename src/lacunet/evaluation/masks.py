"""The masks of a prediction, by region, after post-processing."""

from collections.abc import Sequence

from lacunet.case import Grid
from lacunet.evaluation.agreement import Masks
from lacunet.evaluation.metrics import region_masks
from lacunet.prediction.postprocess import Rule, apply_rules
from lacunet.prediction.predictor import Prediction


def masks_of(prediction: Prediction, rules: Sequence[Rule], grid: Grid | None) -> Masks:
    """By region: as the network's probabilities give them, or of the labels after these rules.

    Args:
        prediction: Of a case.
        rules: Post-processing, in order.
        grid: The case's; None: on the grid of the first networks, which is quick and coarse.
    """
    if not rules:
        return prediction.masks() if grid is None else prediction.regions()
    found = prediction.found_on_grid() if grid is None else prediction.found(grid)
    return region_masks(apply_rules(rules, found), prediction.task)
