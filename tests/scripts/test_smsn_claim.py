"""The scripts that hold SMSN's claims against trained models: on tiny untrained ones, what they measure is right."""

import csv
import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from lacunet.case import CaseFiles
from lacunet.data.prepare import Preparation
from lacunet.methods.smsn import SMSN
from lacunet.models.model import save_model
from lacunet.nn.losses import segmentation_losses
from lacunet.nn.method import get_method, make_method
from lacunet.task import GLIOMA
from small import ROOT


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "studies"))
    yield __import__(name)
    sys.modules.pop(name, None)


@pytest.fixture
def claim(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    yield from script("smsn_claim", monkeypatch)


@pytest.fixture
def cross_split(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    yield from script("cross_split", monkeypatch)


def network(**arguments: Any) -> SMSN:
    torch.manual_seed(1)
    method = make_method(SMSN, GLIOMA, {"width": 4, "levels": 3, **arguments})
    assert isinstance(method, SMSN)
    return method.eval()


def options(**changed: Any) -> Any:
    settings = {"directions": 2, "radius": 0.2, "points": 1, "iterations": 1, "draws": 2, "seed": 1, "crop": 16}
    return Namespace(**settings | changed)


def crop_with(claim: ModuleType) -> Any:
    generator = torch.Generator().manual_seed(2)
    images = torch.randn((1, 4, 8, 8, 8), generator=generator)
    return claim.Crop("a", images, (torch.rand((1, 3, 8, 8, 8), generator=generator) > 0.7).float())


@pytest.mark.parametrize("points", [1, 2, 3, 5, 7])
def test_the_landscape_ends_exactly_at_the_radius(claim: ModuleType, points: int) -> None:
    distances = claim.distances_of(0.2, points)
    assert len(distances) == 2 * points
    assert (min(distances), max(distances)) == (-0.2, 0.2)


def test_everything_is_written_for_both_models(
    claim: ModuleType, phantoms: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, arguments in (("one", {}), ("twin", {"fusion": "parallel"})):
        save_model(tmp_path / name, network(**arguments), Preparation(8.0), {})
    data = next(iter(phantoms[0].images.values())).path.parents[1]
    (tmp_path / "split.json").write_text(json.dumps({"val": [phantoms[1].name]}), encoding="utf-8")
    words = [tmp_path / "one", tmp_path / "twin", "--data", data, "--split", f"{tmp_path / 'split.json'}:val"]
    words += ["-o", tmp_path / "out", "--crop", 16, "--directions", 1, "--points", 1, "--iterations", 1, "--draws", 1]
    monkeypatch.setattr(sys, "argv", ["smsn_claim.py", *map(str, words)])
    claim.main()
    with (tmp_path / "out" / "claim.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 15
    assert {row["case"] for row in rows} == {phantoms[1].name}
    assert [row["nats_z1"] == "" for row in rows] == [row["model"] == "parallel" for row in rows]
    assert all(float(row["nats_z2"]) > 0 and float(row["gain_fusion"]) > 0 for row in rows)
    summary = json.loads((tmp_path / "out" / "claim.json").read_text(encoding="utf-8"))
    dice = [float(row["dice"]) for row in rows if row["model"] == "sequential" and row["missing"] == "3"]
    assert summary["means_by_missing"]["sequential"]["dice"][3] == pytest.approx(sum(dice) / 4)
    assert len(summary["lead_in_dice_by_missing"]) == 4
    assert (tmp_path / "out" / "claim.png").stat().st_size > 10_000
    with (tmp_path / "out" / "landscape.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * 1 * 3 * 4


def test_more_bottlenecks_than_it_compares_are_refused(claim: ModuleType, tmp_path: Path):
    save_model(tmp_path / "four", network(groups=[1, 1, 1, 1]), Preparation(6.0), {})
    with pytest.raises(SystemExit, match="its groups make more than two bottlenecks"):
        claim.load_smsn(str(tmp_path / "four"))


@torch.no_grad()
def test_nats_and_losses_are_those_of_the_network(claim: ModuleType):
    method, crop = network(), crop_with(claim)
    losses = claim.loss_table(method, [crop])
    shown = torch.tensor([GLIOMA.presence(("t1c", "t2f"))])
    expected = segmentation_losses(method(crop.images, shown), crop.regions).item()
    assert losses["a", ("t1c", "t2f")] == pytest.approx(expected, rel=1e-5)
    tables = claim.nats_tables(method, [crop], options(draws=1))
    torch.manual_seed(1)
    fused = method.fuse(method.encode(crop.images, shown), shown, drawn=True)
    for number, bottleneck in enumerate(fused.bottlenecks, start=1):
        nats = torch.distributions.kl_divergence(
            torch.distributions.Normal(bottleneck.mean, torch.exp(0.5 * bottleneck.log_variance)),
            torch.distributions.Normal(0.0, 1.0),
        ).sum()
        assert tables[f"nats_z{number}"]["a", ("t1c", "t2f")] == pytest.approx(nats.item(), rel=1e-4)


def test_curves_leave_the_network_as_it_was(claim: ModuleType):
    method, crop = network(), crop_with(claim)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    curves = claim.loss_curves(method, [crop], options(points=2))
    assert [sorted(curve) for curve in curves] == [[-0.2, -0.1, 0.1, 0.2]] * 2
    assert curves[0][0.2] != curves[1][0.2]
    assert claim.loss_curves(method, [crop], options(points=2)) == curves
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_gains_see_only_what_is_present(claim: ModuleType):
    method, crop = network(), crop_with(claim)
    changed = crop.images.clone()
    changed[:, 0] = 50.0
    for subset in (("t1c", "t2f"), ("t1n", "t2f")):
        found = claim.gains_of(method, crop, subset, options())
        again = claim.gains_of(method, claim.Crop("a", changed, crop.regions), subset, options())
        for name in ("gain_logits", "gain_fusion"):
            assert found[name] > 0
            assert (again[name] == pytest.approx(found[name], rel=1e-3)) == ("t1n" not in subset), (name, subset)


def test_another_method_is_refused(claim: ModuleType, tmp_path: Path):
    other = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    save_model(tmp_path / "other", other, Preparation(6.0), {})
    with pytest.raises(SystemExit, match="not a model of smsn"):
        claim.load_smsn(str(tmp_path / "other"))


def test_one_cohort_trains_and_the_other_tests(cross_split: ModuleType):
    parts = {"train": ["A_1", "B_2", "A_3"], "val": ["A_4", "B_5"], "test": ["A_6", "B_7", "C_8"]}
    assert cross_split.cross(parts, "A_", "B_") == {
        "train": ["A_1", "A_3"],
        "val": ["A_4"],
        "test": ["B_2", "B_5", "B_7"],
    }
