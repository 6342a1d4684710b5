"""The table of what models find in brains without a tumour."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch

from calibrations_made import tiny_model
from lacunet.data.nifti import load_case
from lacunet.models.model import load_model
from lacunet.prediction.predictor import Predictor
from lacunet.task import GLIOMA
from small import ROOT


@pytest.fixture(scope="module")
def study() -> Iterator[ModuleType]:
    """The script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts" / "studies"))
        yield __import__("tumour_free")
        for name in ("scan_changes", "tumour_free"):
            sys.modules.pop(name, None)


def emptied(case):
    """Without its tumour, on paper."""
    return None if case.name.endswith("00002-000") else replace(case, reference=np.zeros_like(case.reference))


def test_volumes_are_those_of_every_subset_and_are_kept(study, phantoms, tmp_path, monkeypatch):
    torch.manual_seed(0)
    predictor = Predictor(load_model(str(tiny_model(tmp_path / "model"))), "cpu", "float32")
    rows = study.rows_of(predictor, phantoms[:2], emptied, tmp_path / "parts")
    assert {row.case for row in rows} == {phantoms[0].name}  # the other has no healthy half
    assert len(rows) == 15 * 3
    case = load_case(phantoms[0])
    (own,) = [row for row in rows if (row.subset, row.region) == ("t1n+t1c+t2w+t2f", "wt")]
    assert own.prediction_ml == pytest.approx(predictor(case).voxel_ml * predictor(case).masks()["wt"].sum())
    monkeypatch.setattr(study, "volumes_of", lambda *arguments: pytest.fail("it is done already"))
    again = study.rows_of(predictor, phantoms[:2], emptied, tmp_path / "parts")
    assert [(row.key, row.prediction_ml) for row in again] == [(row.key, row.prediction_ml) for row in rows]


def test_the_table_has_subsets_numbers_of_sequences_and_two_or_more(study):
    volumes = {"a": {"t2f": 4.0, "t1c": 6.0, "t1c+t2f": 1.0}, "b": {"t2f": 8.0, "t1c": 20.0, "t1c+t2f": 3.0}}
    rows = [
        study.Row(case, subset, region, 0.0, float("nan"), 0.0, volume / (1 + index))
        for case, own in volumes.items()
        for subset, volume in own.items()
        for index, region in enumerate(GLIOMA.regions)
    ]
    lines = study.markdown("m", rows, GLIOMA).splitlines()
    assert lines[0] == "**m**: 2 brains without a tumour, ml found: median (mean, worst)."
    assert "| FLAIR | 6.0 (6.0, 8.0) | 3.0 (3.0, 4.0) | 2.0 (2.0, 2.7) |" in lines
    assert "| any 1 | 7.0 (9.5, 20.0) | 3.5 (4.8, 10.0) | 2.3 (3.2, 6.7) |" in lines
    assert lines[-1] == "From two or more sequences, WT: 2.0 ml (median)."
    assert study.markdown("m", [], GLIOMA) == "**m**: no case has a healthy half.\n"
