"""The other tests see a wrong shape: signatures are checked while they run."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from lacunet.errors import visible
from lacunet.evaluation.metrics import dice
from shapes_checked import modules_with_shapes


def test_a_wrong_shape_is_an_error_and_the_right_one_is_not():
    mask = np.ones((2, 2, 2), dtype=bool)
    assert dice(mask, mask) == 1.0
    with pytest.raises(TypeCheckError, match="dice"):
        dice(mask[0], mask[0])
    with pytest.raises(TypeCheckError, match="dice"):
        dice(mask.astype(float), mask)


def test_modules_without_shapes_are_left_as_they_are():
    modules = modules_with_shapes()
    assert {"lacunet.evaluation.metrics", "lacunet.nn.losses", "lacunet.methods.ccsd"} <= set(modules)
    assert "lacunet.errors" not in modules
    assert hasattr(dice, "__wrapped__")
    assert not hasattr(visible, "__wrapped__")
