"""The study of extents, on an untrained network and an invented patient."""

import csv
import sys
from pathlib import Path

import pytest
import torch

from lacunet.case import CaseFiles
from lacunet.data.prepare import Preparation
from lacunet.models.model import save_model
from lacunet.nn.method import get_method, make_method
from lacunet.task import GLIOMA
from small import ROOT


def test_every_case_is_scored_over_every_extent(
    phantoms: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(1)
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    save_model(tmp_path / "model", method, Preparation(8.0), {})
    data, output = phantoms[0].images["t1n"].path.parents[1], tmp_path / "extent.csv"
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "studies"))
    words = [str(tmp_path / "model"), "--data", str(data), "-o", str(output), "--window", "16", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["extent.py", *words])
    extent = __import__("extent")
    extent.main()
    sys.modules.pop("extent")
    with output.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 2 * 15 * 3  # three patients, one of whom gives a healthy brain
    assert {row["case"] for row in rows if row["false_ml"]} == {"phantom-00003-000 (right half mirrored)"}
    assert all(bool(row["dice"]) != bool(row["false_ml"]) for row in rows)
    printed = capsys.readouterr().out
    assert "| mean | 0." in printed
    assert "| phantom-00003-000 (right half mirrored) | " in printed
