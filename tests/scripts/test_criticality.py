"""The check of the failure signature "DMCD does worse than a random order"."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

from lacunet.data.nifti import load_case
from lacunet.data.prepare import Preparation
from lacunet.methods.ccsd import CCSD
from lacunet.models.model import Model
from lacunet.nn.method import make_method
from lacunet.task import GLIOMA
from small import ROOT


@pytest.fixture(scope="module")
def study() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts" / "studies"))
        yield __import__("criticality")
        sys.modules.pop("criticality", None)


def test_a_score_that_misses_what_is_needed_does_worse_than_chance(study):
    outlier = study.Criticalities([0.9, -0.2, -0.3, -0.4], [0.1, 0.2, 0.3, 0.9], [0.011, 0.140, 0.005, 0.045])
    lines = study.table([outlier, outlier], GLIOMA)
    assert lines[2] == "| T1 | 0.900 | 100% | 0.100 | 0% | 0.011 | 0% |"
    assert lines[3] == "| T1ce | -0.200 | 0% | 0.200 | 0% | 0.140 | 100% |"
    assert lines[5] == "| FLAIR | -0.400 | 0% | 0.900 | 100% | 0.045 | 0% |"
    assert lines[7].startswith("The cosine score puts the sequence first that the loss needs most in 0% of the cases; ")
    assert "is +0.00 (mean)" in lines[7]  # ranks 4 3 2 1 against 2 4 1 3
    assert lines[9] == "A random order: 25%, and 0."


def test_the_scores_of_a_case_are_those_of_the_training(study, phantoms):
    torch.manual_seed(0)
    method = make_method(CCSD, GLIOMA, {"width": 4, "levels": 2}).eval()
    model = Model("tiny", method, Preparation(6.0), {}, "0" * 64)
    case = load_case(phantoms[0])
    batch = study.box_of(model, case, 16)
    assert batch.images.shape == (1, 4, 16, 16, 16)
    assert batch.regions.shape == (1, 3, 16, 16, 16)
    assert batch.regions[0, 0].sum() >= batch.regions[0, 1].sum() > 0
    found = study.criticalities_of(model, method, case, 16)
    encoded = method.encode(batch.images, batch.acquired)
    without = torch.tensor([[True, False, True, True]])
    whole, rest = (method.losses(batch, encoded, one).item() for one in (batch.acquired, without))
    assert found.rise[1] == pytest.approx(rest - whole, abs=1e-5)
    assert min(found.gradient) > 0
    assert all(-1 <= score <= 1 for score in found.cosine)
