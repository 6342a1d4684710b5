"""Weights of losses that are of no use before the network has learned something."""

import math


def ramp_up(progress: float, share: float) -> float:
    """From almost 0 to 1 over the first share of the training, as exp(-5 (1 - t) ** 2) (Laine and Aila, 2017).

    Args:
        progress: How much of the training is over, from 0 to 1.
        share: When the weight has risen to 1, as a share of the training.
    """
    return math.exp(-5.0 * max(0.0, 1.0 - progress / share) ** 2)
