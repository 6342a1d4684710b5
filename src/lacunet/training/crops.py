"""The crops that a training step is given.

Every choice (which case, where, how changed, which subset) is a function of (seed, stage, step, slot), so that a
resumed run, another number of workers or of processes sees the same crops.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from lacunet.data.prepare import regions_of
from lacunet.nn.batch import Batch
from lacunet.task import Task
from lacunet.training.augmentation.change import draw_change
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


_BLOCK = 100
"""Crops in a row among which brains without a tumour have exactly their share."""


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
        slots = range(self.rank, self.settings.batch, self.ranks)
        crops = [self._crop(step, slot) for slot in slots]
        images, regions, acquired, presence, names = zip(*crops, strict=True)
        return Batch(
            images=torch.stack(images),
            acquired=torch.tensor(acquired),
            presence=torch.tensor(presence),
            regions=torch.stack(regions),
            names=names,
        )

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

    def _crop(self, step: int, slot: int) -> tuple[torch.Tensor, torch.Tensor, tuple[bool, ...], tuple[bool, ...], str]:
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
        images, labels = seen_worse(images, labels, case.acquired, change, centre, case.shape)
        presence = draw_subset(case.acquired, self.settings.subsets, generator, self.settings.keep)
        return images, regions_of(labels, self.task), case.acquired, presence, name

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


def crops_from(crops: Crops, first_step: int, workers: int) -> Iterator[Batch]:
    """The batches of a stage from a step on, made ahead by worker processes if `workers` is not 0."""
    loader: DataLoader[Batch] = DataLoader(
        crops,
        batch_size=None,
        sampler=range(first_step, crops.steps),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),  # else copying to the device waits for it
    )
    return iter(loader)
