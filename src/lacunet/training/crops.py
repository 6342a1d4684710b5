"""The crops that a training step is given.

Every choice (which case, where, how changed, which subset) is a function of (seed, stage, step, slot), so that a
resumed run, another number of workers or of processes sees the same crops.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lacunet.data.prepare import regions_of
from lacunet.nn.batch import Batch
from lacunet.scratch import require_short_path
from lacunet.task import Task
from lacunet.training.augmentation.change import Change, draw_change
from lacunet.training.augmentation.crop import seen_worse
from lacunet.training.augmentation.settings import Augmentation
from lacunet.training.augmentation.space import cut_out
from lacunet.training.painting import draw_contrast, paint
from lacunet.training.prepared import PreparedCase
from lacunet.training.recipe import SubsetRule, TrainSettings
from lacunet.training.transplant.graft import draw_graft
from lacunet.training.transplant.transplant import Donors, with_lesion


def draw_subset(
    acquired: Sequence[bool], rule: SubsetRule, generator: np.random.Generator, keep: float = 0.5
) -> tuple[bool, ...]:
    """A non-empty subset of what was acquired.

    Args:
        acquired: One truth value per modality.
        rule: `subset`: every subset equally likely; `size`: every size equally likely, then every subset of that size;
            `modality`: each modality is kept with chance `keep`, drawn again while none is; `all`: whatever there is.
        generator: The draws.
        keep: For `modality`; at one half the rule is the same as `subset`.
    """
    there = np.flatnonzero(acquired)
    if rule == "all":
        kept = there
    elif rule == "size":
        kept = generator.choice(there, size=int(generator.integers(1, there.size + 1)), replace=False)
    else:  # coins, drawn again while all say no: fair ones make every non-empty subset equally likely
        chance = keep if rule == "modality" else 0.5
        coins = np.zeros(there.size, dtype=bool)
        while not coins.any():
            coins = generator.random(there.size) < chance
        kept = there[coins]
    return tuple(index in set(kept.tolist()) for index in range(len(acquired)))


_Made = TypeVar("_Made")

_BLOCK = 100
"""Crops in a row among which brains without a tumour have exactly their share."""


@dataclass(frozen=True)
class RawCrop:
    """A crop that lies where it was drawn to lie, and whose intensities have not been changed yet.

    Attributes:
        images: Of each modality.
        labels: Inside lacunet.
        case: It was cut from, with the lesion that it was given, if any.
        acquired: One truth value per modality.
        presence: What is shown.
        change: The draws.
        centre: In voxels of the case.
        shape: Voxels of the case.
    """

    images: Float[Tensor, "modality x y z"]
    labels: UInt8[Tensor, "x y z"]
    case: str
    acquired: tuple[bool, ...]
    presence: tuple[bool, ...]
    change: Change
    centre: np.ndarray
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class RawBatch:
    """Crops of one step."""

    crops: tuple[RawCrop, ...]

    def pin_memory(self) -> "RawBatch":
        """The same crops in memory that a device copies from while the processor goes on."""
        return RawBatch(
            tuple(
                replace(crop, images=crop.images.pin_memory(), labels=crop.labels.pin_memory()) for crop in self.crops
            )
        )

    def changed(self, task: Task, device: torch.device) -> Batch:
        """Ready for a loss; intensities are changed on this device."""
        images, regions = [], []
        for crop in self.crops:
            moved, labels = (one.to(device, non_blocking=True) for one in (crop.images, crop.labels))
            worse, labels = seen_worse(moved, labels, crop.acquired, crop.change, crop.centre, crop.shape)
            images.append(worse)
            regions.append(regions_of(labels, task))
        return Batch(
            images=torch.stack(images),
            acquired=torch.tensor([crop.acquired for crop in self.crops]),
            presence=torch.tensor([crop.presence for crop in self.crops]),
            regions=torch.stack(regions),
            names=tuple(crop.case for crop in self.crops),
        )


class Crops(Dataset[Batch]):
    """The crops of a stage: item `step` is this process's share of the global batch of that step.

    Args:
        cases: What is cropped.
        brains: Brains without a tumour. The share `settings.healthy` of the crops is theirs.
        task: Modalities and regions.
        settings: Size and number of the crops, where they are centred, and which subset each shows.
        steps: Of the stage.
        augmentation: How far crops are moved and changed.
        seed: Of every choice, together with `stage`.
        stage: Index of the stage.
        rank: Of this process, of `ranks`.
        ranks: Processes that share each batch.
        donors: Whose lesions are put into crops; None transplants none.
        spacing: Millimetres between voxels of the cases.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        task: Task,
        settings: TrainSettings,
        *,
        steps: int,
        augmentation: Augmentation,
        seed: int,
        stage: int,
        brains: Sequence[PreparedCase] = (),
        rank: int = 0,
        ranks: int = 1,
        donors: Donors | None = None,
        spacing: float = 1.0,
    ) -> None:
        self.brains = brains
        self.cases, self.task, self.settings, self.steps = cases, task, settings, steps
        self.augmentation, self.seed, self.stage = augmentation, seed, stage
        self.rank, self.ranks, self.donors, self.spacing = rank, ranks, donors, spacing

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        return self.raw(step).changed(self.task, torch.device("cpu"))

    def raw(self, step: int) -> RawBatch:
        """The same crops before their intensities are changed."""
        slots = range(self.rank, self.settings.batch, self.ranks)
        return RawBatch(tuple(self._crop(step, slot) for slot in slots))

    def case_at(self, step: int, slot: int) -> PreparedCase:
        """Cases come in shuffled rounds, each once before any comes again; so do the brains without a tumour.

        Of every hundred crops in a row, the latter have their share, at random places.
        """
        place = step * self.settings.batch + slot
        if not self.brains or not self.settings.healthy:
            return self._in_rounds(self.cases, place, [])
        block, index = divmod(place, _BLOCK)
        before, after = (int(number * _BLOCK * self.settings.healthy) for number in (block, block + 1))
        order = np.random.default_rng([self.seed, self.stage, block, 4]).permutation(_BLOCK)
        chosen = set(order[: after - before].tolist())
        before += sum(one < index for one in chosen)
        if index in chosen:
            return self._in_rounds(self.brains, before, [0, 2])
        return self._in_rounds(self.cases, place - before, [])

    def _in_rounds(self, cases: Sequence[PreparedCase], place: int, purpose: Sequence[int]) -> PreparedCase:
        turn, index = divmod(place, len(cases))
        order = np.random.default_rng([self.seed, self.stage, turn, *purpose]).permutation(len(cases))
        return cases[int(order[index])]

    def _crop(self, step: int, slot: int) -> RawCrop:
        case = self.case_at(step, slot)
        generator = np.random.default_rng([self.seed, self.stage, step, slot, 1])
        change = draw_change(
            self.augmentation, len(case.acquired), generator, spacing=self.spacing, still=self._still()
        )
        centre = self._centre(case, generator)
        images, labels = cut_out(
            case.images, case.labels, centre, change.matrix, self.settings.crop,
            bend=change.bend, motions=change.motions if case.tissues is None else (),
        )  # fmt: skip
        if case.tissues is not None:
            images = paint(images, draw_contrast(self.task.modalities, generator), case.tissues)
        name = case.name
        if self.donors is not None:
            graft = draw_graft(self.donors.settings, np.random.default_rng([self.seed, self.stage, step, slot, 3]))
            images, labels, donor = with_lesion(images, labels, case.acquired, self.donors, graft)
            name = f"{name} + lesion of {donor}" if donor else name
        presence = draw_subset(case.acquired, self.settings.subsets, generator, self.settings.keep)
        return RawCrop(images, labels, name, case.acquired, presence, change, centre, case.shape)

    def _still(self) -> int | None:
        """The modality that the reference stays with: T1ce, the only one that shows enhancing rims of 2 mm."""
        return self.task.modalities.index("t1c") if "t1c" in self.task.modalities else None

    def _centre(self, case: PreparedCase, generator: np.random.Generator) -> np.ndarray:
        """Near a voxel of a random region, or any point at which the crop still lies inside the case."""
        shape, crop = np.asarray(case.shape), np.asarray(self.settings.crop)
        regions = [region for region, count in case.counts.items() if count]
        play = generator.uniform(-0.25, 0.25, 3) * crop
        free = generator.uniform(np.minimum(crop / 2, shape / 2), np.maximum(shape - crop / 2, shape / 2))
        if not regions or generator.random() >= self.settings.tumour_share:
            return _on_voxels(free, crop)
        region = regions[generator.integers(len(regions))]
        centre = case.voxel(region, int(generator.integers(case.counts[region]))) + play
        return _on_voxels(inside(centre, shape, crop) if self.settings.inside else centre, crop)


def inside(centre: np.ndarray, shape: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """The nearest centre at which an unchanged crop lies inside an array; its middle along an axis that is shorter."""
    middle, room = (shape - 1) / 2, np.maximum(shape - crop, 0) / 2
    return np.asarray(np.clip(centre, middle - room, middle + room))


def _on_voxels(centre: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """The nearest centre at which an unchanged crop has the case's own voxels, so that nothing is blurred."""
    half = (crop - 1) / 2
    return np.asarray(np.round(centre - half) + half)


class _Raw(Dataset[RawBatch]):
    def __init__(self, crops: Crops) -> None:
        self.crops = crops

    def __getitem__(self, step: int) -> RawBatch:
        return self.crops.raw(step)


def crops_from(crops: Crops, first_step: int, workers: int, device: torch.device) -> Iterator[Batch]:
    """The batches of a stage from a step on, made ahead by worker processes if `workers` is not 0.

    Their intensities are changed on the device if the crops' settings say so; else the batches are not on it yet.

    Raises:
        OutputError: the path of the folder for temporary files is too long for worker processes.
    """
    steps = range(first_step, crops.steps)
    if crops.settings.change_on == "workers":
        yield from _made_ahead(crops, steps, workers)
        return
    for raw in _made_ahead(_Raw(crops), steps, workers):
        yield raw.changed(crops.task, device)


def _made_ahead(crops: Dataset[_Made], steps: range, workers: int) -> Iterator[_Made]:
    if workers:
        require_short_path()
    loader: DataLoader[_Made] = DataLoader(
        crops,
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),  # else copying to the device waits for it
    )
    return iter(loader)
