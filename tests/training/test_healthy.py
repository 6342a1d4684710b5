"""Brains without a tumour in a training: mirrored halves, and invented brains whose scans are painted."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lacunet.case import CaseFiles
from lacunet.data.prepare import Preparation
from lacunet.errors import RecipeError
from lacunet.models.model import load_model
from lacunet.task import GLIOMA
from lacunet.training.augmentation.settings import Augmentation
from lacunet.training.crops import Crops, crops_from
from lacunet.training.healthy import FIRST_SEED, prepare_mirrored, prepare_phantoms
from lacunet.training.painting import TISSUES, Contrast, draw_contrast, paint, statistics_of
from lacunet.training.prepared import PreparedCase
from lacunet.training.recipe import TrainSettings
from lacunet.training.train import train
from phantoms_made import make_phantom
from small import tiny_recipe

CPU = torch.device("cpu")

MODALITIES = GLIOMA.modalities


@pytest.fixture(scope="module")
def brains(tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    """Two invented ones."""
    return list(prepare_phantoms(2, GLIOMA, Preparation(6.0), tmp_path_factory.mktemp("brains")))


def whole(brain: PreparedCase) -> torch.Tensor:
    return torch.from_numpy(np.asarray(brain.images, np.float32))


# ---------------------------------------------------------------- invented brains


def test_an_invented_brain_is_shares_of_tissues_without_a_tumour(brains: list[PreparedCase]) -> None:
    first, second = brains
    assert first.name == f"phantom-{FIRST_SEED} (without tumour)"
    assert first.images.shape == (len(TISSUES), *first.shape)
    assert not np.array_equal(first.images.shape, second.images.shape) or not np.array_equal(
        first.images, second.images
    )
    total = np.asarray(first.images, np.float32).sum(axis=0)
    brain = total > 0
    assert total[brain] == pytest.approx(1.0, abs=0.01)
    assert all(side.any() for axis in range(3) for side in (brain.take(0, axis), brain.take(-1, axis)))  # no margin
    assert 700 < brain.sum() * 0.216 < 2100  # ml
    assert not first.labels.any()
    assert set(first.counts.values()) == {0}
    assert first.acquired == (True,) * 4


@pytest.mark.parametrize("seed", range(4))
def test_painted_scans_are_normalised_over_the_whole_brain(brains: list[PreparedCase], seed: int) -> None:
    shares, statistics = whole(brains[0]), brains[0].tissues
    assert statistics is not None
    images = paint(shares, draw_contrast(MODALITIES, np.random.default_rng(seed)), statistics)
    brain = shares.sum(dim=0) > 0
    assert not images[:, ~brain].any()
    assert images.abs().max() <= 5.0
    for image in images:
        assert image[brain].mean().item() == pytest.approx(0.0, abs=0.1)
        assert image[brain].std().item() == pytest.approx(1.0, abs=0.12)


def test_a_tissue_is_as_bright_as_its_signal_and_the_edge_fades(brains: list[PreparedCase]) -> None:
    """Two tissues, half of the brain each: mean 0.5, deviation 0.5."""
    shares = torch.zeros(4, 2, 2, 1)
    shares[0, 0], shares[1, 1] = 1.0, 1.0
    statistics = statistics_of(shares.flatten(1).numpy(), clip=5.0)
    shares[1, 1, 1] = 0.25  # three quarters of this voxel are background
    contrast = Contrast(np.array([[0.0, 1.0, 0.3, 0.3]]), np.zeros((1, 4)), seed=0)
    assert torch.allclose(paint(shares, contrast, statistics)[0, :, :, 0], torch.tensor([[-1.0, -1.0], [1.0, 0.25]]))


def test_half_of_the_contrasts_are_a_scanners(brains: list[PreparedCase]) -> None:
    white, grey, fluid = range(3)
    t1, t2, flair = (MODALITIES.index(name) for name in ("t1n", "t2w", "t2f"))
    drawn = [draw_contrast(MODALITIES, np.random.default_rng(seed)).signal for seed in range(400)]
    scanned = [
        one[t2, fluid] > one[t2, grey] > one[t2, white]
        and one[t1, white] > one[t1, grey] > one[t1, fluid]
        and one[flair, fluid] < min(one[flair, white], one[flair, grey])
        for one in drawn
    ]
    assert 160 < sum(scanned) < 260
    inverted = sum(one[t1, white] < one[t1, fluid] for one in drawn)
    assert 60 < inverted < 140


def test_other_modalities_than_a_scanners_are_painted_too() -> None:
    assert draw_contrast(("adc", "t1n"), np.random.default_rng(0)).signal.shape == (2, len(TISSUES))


def test_painting_takes_little_time(brains: list[PreparedCase]) -> None:
    """Of one core, beside the crop itself: 30 ms for 80 x 80 x 80."""
    shares, statistics = torch.rand(4, 80, 80, 80) / 4, brains[0].tissues
    assert statistics is not None
    contrast = draw_contrast(MODALITIES, np.random.default_rng(0))
    spent = []
    for _ in range(3):
        began = time.thread_time()
        paint(shares, contrast, statistics)
        spent.append(time.thread_time() - began)
    assert min(spent) < 0.15


# ---------------------------------------------------------------- mirrored halves


def test_a_case_gives_one_healthy_brain_or_none(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    made = list(prepare_mirrored(phantoms, GLIOMA, Preparation(6.0), tmp_path))
    names = [None if brain is None else brain.name for brain in made]
    assert names == [None, None, "phantom-00003-000 (right half mirrored)"]
    brain = made[2]
    assert brain is not None
    assert brain.images.any()
    assert not brain.labels.any()
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert list(prepare_mirrored(phantoms, GLIOMA, Preparation(6.0), tmp_path, workers=2)) == made
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == stamps


def test_a_healthy_phantom_has_an_empty_reference() -> None:
    healthy, ill = make_phantom(5, spacing=8.0, tumour=False), make_phantom(5, spacing=8.0)
    assert healthy.reference is not None
    assert not healthy.reference.any()
    assert healthy.name == "phantom-00005-healthy"
    assert np.array_equal(healthy.images["t1n"] != 0, ill.images["t1n"] != 0)


# ---------------------------------------------------------------- in a training


def test_crops_of_invented_brains_are_the_same_in_any_process(brains: list[PreparedCase]) -> None:
    def crops(rank: int = 0, ranks: int = 1) -> Crops:
        settings = TrainSettings(crop=(8, 8, 8), batch=4, healthy=0.5)
        return Crops(
            brains[:1], GLIOMA, settings, steps=4, augmentation=Augmentation(), seed=1, stage=0, brains=brains,
            rank=rank, ranks=ranks,
        )  # fmt: skip

    alone, ahead = list(crops_from(crops(), 0, 0, CPU)), list(crops_from(crops(), 0, 2, CPU))
    for step, (one, other) in enumerate(zip(alone, ahead, strict=True)):
        assert torch.equal(one.images, other.images)
        shared = crops(1, 2)[step]
        assert torch.equal(one.images[1::2], shared.images)
        assert not one.regions.any()
    assert not torch.equal(alone[0].images, alone[1].images)


def test_brains_without_a_tumour_are_not_counted_as_patients(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    recipe = tiny_recipe(train={"steps": 2, "healthy": 0.5, "phantoms": 1}, prepare={"spacing": 6.0})
    model = load_model(str(train(recipe, phantoms[:2], phantoms[2:], tmp_path / "run", device="cpu")))
    assert model.card["training_cases"] == model.card["complete_cases"] == 2
    assert model.card["healthy_brains"] == 1
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert split["train"] == sorted(case.name for case in phantoms[:2])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"healthy": 0.2}, "no training case has a half without tumour"),
        ({"phantoms": 3}, "no crop shows them; set train.healthy above 0"),
    ],
)
def test_a_recipe_without_such_brains_is_refused(
    phantoms: list[CaseFiles], tmp_path: Path, settings: dict[str, float], words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        train(tiny_recipe(train={"steps": 2, **settings}), phantoms[:1], [], tmp_path / "run", device="cpu")
