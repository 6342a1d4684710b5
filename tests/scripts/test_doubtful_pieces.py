"""The table of limits for doubtful pieces."""

import sys
from collections.abc import Iterator
from math import inf
from types import ModuleType

import numpy as np
import pytest

from calibrations_made import tiny_model
from lacunet.case import Grid
from lacunet.prediction.postprocess import Found
from lacunet.task import GLIOMA
from small import ROOT


@pytest.fixture(scope="module")
def study() -> Iterator[ModuleType]:
    """The script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts" / "studies"))
        yield __import__("doubtful_pieces")
        for name in ("scan_changes", "doubtful_pieces"):
            sys.modules.pop(name, None)


def two_pieces() -> Found:
    """27 voxels of 1 ml with logits of 2, so 54, and 1 voxel with a logit of 9."""
    labels, logits = np.zeros((9, 9, 9), dtype=np.uint8), np.full((9, 9, 9), -5.0, dtype=np.float32)
    labels[:3, :3, :3], logits[:3, :3, :3] = 2, 2.0
    labels[7, 7, 7], logits[7, 7, 7] = 3, 9.0
    return Found(labels, logits, Grid((9, 9, 9), np.diag([10.0, 10.0, 10.0, 1.0])), GLIOMA)


def test_the_smallest_true_piece_counts_only_pieces_of_tumour(study):
    found = two_pieces()
    truth = found.labels != 0
    assert study.smallest_true_piece(found, truth) == pytest.approx(9.0)
    truth[7, 7, 7] = False
    assert study.smallest_true_piece(found, truth) == pytest.approx(54.0)
    truth[:2] = False  # 9 of 27 voxels are tumour
    assert study.smallest_true_piece(found, truth) == inf


def test_a_row_for_each_limit_has_means_over_masks_and_volumes_by_number_of_sequences(study):
    scored = [study.Scored(limit, 4, {"wt": 0.5, "tc": value}, 1.0) for limit in study.LIMITS for value in (0.2, 0.4)]
    scored = [*scored, *(study.Scored(limit, 4, {"et": 1.0}, 1.0) for limit in study.LIMITS)]
    healthy = [study.Scored(limit, size, {}, 3.0 * size) for limit in study.LIMITS for size in (1, 1, 2)]
    lines = study.markdown(scored, healthy, GLIOMA).splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|") == 7
    assert "| 10 | 0.500 | 0.300 | 1.000 | 3.0 (3.0) | 6.0 (6.0) |" in lines
    assert len(lines) == 2 + len(study.LIMITS)


def test_it_prints_the_table_of_a_folder_of_cases(study, phantoms, tmp_path, monkeypatch, capsys):
    model, out = tiny_model(tmp_path / "model"), tmp_path / "out"
    data = phantoms[0].images["t1n"].path.parents[1]
    monkeypatch.setattr(sys, "argv", ["x", str(data), "--model", str(model), "-o", str(out)])
    study.main()
    assert "smallest true piece from all sequences" in (out / "doubtful.md").read_text()
    assert "| 80 |" in capsys.readouterr().out
