"""Prepared cases on disk, and the crops that a training step is given.

Every choice (which case, where, how changed, which subset) is a function of (seed, stage, step, slot), so that a
resumed run, another number of workers or of processes sees the same crops.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from lacunet.case import Case, CaseFiles
from lacunet.data.nifti import load_case
from lacunet.data.prepare import Preparation, frame_of, prepare_images, prepare_reference, regions_of
from lacunet.files import path_in, whole_file
from lacunet.nn.batch import Batch
from lacunet.task import Task
from lacunet.training.augmentation.change import draw_change
from lacunet.training.augmentation.crop import changed_crop
from lacunet.training.augmentation.settings import Augmentation
from lacunet.training.recipe import SubsetRule, TrainSettings


@dataclass(frozen=True)
class PreparedCase:
    """A training case at the training spacing, memory-mapped.

    Attributes:
        name: The case's name.
        acquired: One truth value per modality of the task.
        images: Float16, `modality x y z`, normalised; zero where not acquired.
        labels: Labels inside lacunet, `x y z`.
        voxels: Some voxels of each region (`region -> n x 3`), for crops centred on tumour; none for an empty region.
    """

    name: str
    acquired: tuple[bool, ...]
    images: np.ndarray
    labels: np.ndarray
    voxels: tuple[np.ndarray, ...]


def prepare_cases(
    cases: Sequence[CaseFiles], task: Task, preparation: Preparation, folder: Path
) -> Iterator[PreparedCase]:
    """Prepare each case once into `folder`; a case whose files or preparation have changed is prepared again."""
    for files in cases:
        prepared = path_in(folder, files.name, f"-{_fingerprint(files, preparation)}")
        if not (prepared / "done").is_file():
            _prepare_into(prepared, load_case(files, task), task, preparation)
        yield _open_prepared(prepared, files, task)


def _prepare_into(folder: Path, case: Case, task: Task, preparation: Preparation) -> None:
    frame = frame_of(case, case.acquired(task), preparation)
    images = prepare_images(case, task, preparation, frame).numpy().astype(np.float16)
    labels = prepare_reference(case, task, frame).numpy()
    for name, array in (("images", images), ("labels", labels)):
        with whole_file(folder / f"{name}.npy") as temporary:
            np.save(temporary, array)
    (folder / "done").touch()


def _open_prepared(folder: Path, files: CaseFiles, task: Task) -> PreparedCase:
    labels = np.load(folder / "labels.npy")
    voxels = [np.argwhere(np.isin(labels, members)).astype(np.int16) for members in task.regions.values()]
    return PreparedCase(
        name=files.name,
        acquired=task.presence(files.images),
        images=np.load(folder / "images.npy", mmap_mode="r"),
        labels=labels,
        voxels=tuple(voxels),
    )


def _fingerprint(files: CaseFiles, preparation: Preparation) -> str:
    """Changes with the files (name, size, time of change), the label convention and the preparation."""
    images = dict(files.images) if files.reference is None else {**files.images, "reference": files.reference}
    facts = {
        "files": {key: [*_stamp(image.path), image.volume] for key, image in images.items()},
        "convention": files.convention,
        "preparation": asdict(preparation),
        "format": 1,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


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


class Crops(Dataset[Batch]):
    """The crops of a stage: item `step` is this process's share of the global batch of that step.

    Args:
        cases: What is cropped.
        task: Modalities and regions.
        settings: Size and number of the crops, where they are centred, and which subset each shows.
        steps: Of the stage.
        augmentation: How far crops are moved and changed.
        seed: Of every choice, together with `stage`.
        stage: Index of the stage.
        rank: Of this process, of `ranks`.
        ranks: Processes that share each batch.
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
        rank: int = 0,
        ranks: int = 1,
        spacing: float = 1.0,
    ) -> None:
        self.cases, self.task, self.settings, self.steps = cases, task, settings, steps
        self.augmentation, self.seed, self.stage = augmentation, seed, stage
        self.rank, self.ranks, self.spacing = rank, ranks, spacing

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
        """Cases come in shuffled rounds: each once before any comes again."""
        turn, index = divmod(step * self.settings.batch + slot, len(self.cases))
        order = np.random.default_rng([self.seed, self.stage, turn]).permutation(len(self.cases))
        return self.cases[int(order[index])]

    def _crop(self, step: int, slot: int) -> tuple[torch.Tensor, torch.Tensor, tuple[bool, ...], tuple[bool, ...], str]:
        case = self.case_at(step, slot)
        generator = np.random.default_rng([self.seed, self.stage, step, slot, 1])
        change = draw_change(
            self.augmentation, len(case.acquired), generator, spacing=self.spacing, still=self._still()
        )
        centre = self._centre(case, generator)
        images, labels = changed_crop(case.images, case.labels, case.acquired, centre, change, self.settings.crop)
        presence = draw_subset(case.acquired, self.settings.subsets, generator, self.settings.keep)
        return images, regions_of(labels, self.task), case.acquired, presence, case.name

    def _still(self) -> int | None:
        """The modality that the reference stays with: T1ce, the only one that shows enhancing rims of 2 mm."""
        return self.task.modalities.index("t1c") if "t1c" in self.task.modalities else None

    def _centre(self, case: PreparedCase, generator: np.random.Generator) -> np.ndarray:
        """Near a voxel of a random region, or any point at which the crop still lies inside the case."""
        shape, crop = np.asarray(case.labels.shape), np.asarray(self.settings.crop)
        regions = [voxels for voxels in case.voxels if len(voxels)]
        play = generator.uniform(-0.25, 0.25, 3) * crop
        free = generator.uniform(np.minimum(crop / 2, shape / 2), np.maximum(shape - crop / 2, shape / 2))
        if not regions or generator.random() >= self.settings.tumour_share:
            return _on_voxels(free, crop)
        voxels = regions[generator.integers(len(regions))]
        return _on_voxels(voxels[generator.integers(len(voxels))] + play, crop)


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
    )
    return iter(loader)
