"""From a case to masks on the case's own grid: networks -> logits -> probabilities -> labels."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lacunet.case import Case, Grid
from lacunet.data.prepare import Frame, Preparation, frame_of, labels_of, prepare_images
from lacunet.errors import DataError, ModelError
from lacunet.models.ensemble import as_one
from lacunet.models.model import Model
from lacunet.prediction.choices import Mirror, Precision
from lacunet.prediction.device import choose_device, choose_precision
from lacunet.prediction.network import Network
from lacunet.prediction.postprocess import Found, Rule, rules_of
from lacunet.prediction.windows import Windows
from lacunet.task import Subset, Task

_FAR_OUTSIDE = -30.0
"""The logit of voxels outside the brain's box: a probability of 1e-13."""


@dataclass(frozen=True)
class Answer:
    """What networks of one grid say of a case.

    Attributes:
        maps: The mean of their logits, one map per region, on their grid.
        frame: Where this grid lies on the case's.
        networks: How many they are.
    """

    maps: Float[Tensor, "region _ _ _"]
    frame: Frame
    networks: int = 1


@dataclass(frozen=True)
class Prediction:
    """What a network predicts of one case from one subset.

    Attributes:
        subset: The modalities that were used.
        answers: Of the networks, by grid.
        temperature: The logits are divided by it for probabilities; 1 without a calibration.
        window: Voxels of the windows that the brain was cut into; None where it went through the network at once.
    """

    task: Task
    subset: Subset
    answers: tuple[Answer, ...]
    temperature: float = 1.0
    window: tuple[int, int, int] | None = None

    @cached_property
    def logits(self) -> Float[Tensor, "region x y z"]:
        """One map per region, on the case's RAS+ grid; computed when it is first asked for, which takes a while."""
        outside = _FAR_OUTSIDE * max(1.0, self.temperature)  # so that it stays certain at this temperature
        return _mean([(one.frame.undo(one.maps, fill=outside), one.networks) for one in self.answers])

    def masks(self) -> dict[str, np.ndarray]:
        """A boolean mask per region on the grid of the first networks: quick, and as coarse as that grid."""
        return dict(zip(self.task.regions, (self.answers[0].maps > 0).numpy(), strict=True))

    def found_on_grid(self) -> Found:
        """The labels and what post-processing decides by, on the grid of the first networks; see `masks`."""
        maps, affine = self.answers[0].maps, self.answers[0].frame.affine
        x, y, z = maps.shape[1:]
        return Found(labels_of(maps > 0, self.task).numpy(), maps[0].numpy(), Grid((x, y, z), affine), self.task)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel of `masks`, in ml."""
        return float(abs(np.linalg.det(self.answers[0].frame.affine[:3, :3]))) / 1000.0

    def regions(self) -> dict[str, np.ndarray]:
        """A boolean mask per region: probability above one half, at any temperature."""
        return dict(zip(self.task.regions, (self.logits > 0).numpy(), strict=True))

    def labels(self) -> np.ndarray:
        """Labels inside lacunet (uint8), painted from the regions in the task's order."""
        return labels_of(self.logits > 0, self.task).numpy()

    def found(self, grid: Grid) -> Found:
        """The labels and what post-processing decides by, on the case's grid."""
        return Found(self.labels(), self.logits[0].numpy(), grid, self.task)

    def probabilities(self, calibrated: bool = True) -> dict[str, np.ndarray]:
        """A float32 map per region, 0 to 1; as the network gives them if not `calibrated`."""
        temperature = self.temperature if calibrated else 1.0
        return dict(zip(self.task.regions, torch.sigmoid(self.logits / temperature).numpy(), strict=True))


class Predictor:
    """A model on a device, or several whose logits are averaged, loaded once for any number of cases.

    Several models cost as many passes as they are, and as much memory at a time as their encodings of one case. Each
    has a grid of its own; their logits are averaged on the case's.

    Args:
        model: What predicts; several of one task are one predictor, an ensemble.
        device: `auto`, `cpu`, `cuda`, ...
        precision: Of its arithmetic.
        windows: How a box is cut up.
        mirror: Mirror images over which logits are averaged (Wang et al. 2019): twice or eight times the work.

    Raises:
        UsageError: no model, or models of several tasks.
        ModelError: a model that rebuilds images and was only made for a training to begin with.
    """

    def __init__(
        self,
        model: Model | Sequence[Model],
        device: str = "auto",
        precision: Precision = "auto",
        windows: Windows | None = None,
        mirror: Mirror = "none",
    ) -> None:
        models = [model] if isinstance(model, Model) else list(model)
        for one in models:
            _require_segmentation(one)
        self.model, self.mirror = as_one(models), mirror
        self.device = choose_device(device)
        self.dtype = choose_precision(self.device, precision)
        self.windows = windows or Windows()
        self.networks = [Network(one, self.device, self.dtype, self.windows, mirror) for one in models]

    @property
    def own_rules(self) -> tuple[Rule, ...]:
        """The post-processing that the model has of its own."""
        return rules_of(None, self.model.postprocessing)

    @property
    def grids(self) -> str:
        """The grids of the networks, for a record: `1.5 mm`."""
        return ", ".join(dict.fromkeys(f"{network.model.preparation.spacing:g} mm" for network in self.networks))

    def __call__(self, case: Case, subset: Subset | None = None) -> Prediction:
        """Predict from one subset of a case, or from all that was acquired."""
        return next(self.each(case, [subset or case.acquired(self.model.task)]))

    def each(self, case: Case, subsets: Iterable[Subset]) -> Iterator[Prediction]:
        """Predict from many subsets of a case, in another order than given: those that share a box are encoded once.

        Equal to running each subset on a case whose other files were deleted: the box and the statistics come from
        the subset's own modalities.

        Raises:
            DataError: a subset names a modality that the case lacks.
        """
        for frames, group in self._grouped(case, subsets):
            yield from self._in_frames(case, frames, group)

    def with_parts(self, case: Case, subset: Subset, parts: Iterable[Subset]) -> Iterator[Prediction]:
        """Predict from a subset, then from parts of it, all in the box of the subset: its modalities are encoded once.

        From a part alone (`each`) the box may be another, and so may be the mask, a little.

        Raises:
            DataError: the subset names a modality that the case lacks.
        """
        ((frames, _),) = self._grouped(case, [subset])
        yield from self._in_frames(case, frames, [subset, *parts])

    def _grouped(self, case: Case, subsets: Iterable[Subset]) -> list[tuple[tuple[Frame, ...], list[Subset]]]:
        return group_by_frame(case, subsets, [network.model for network in self.networks])

    def _in_frames(self, case: Case, frames: Sequence[Frame], subsets: Sequence[Subset]) -> Iterator[Prediction]:
        """Predict from each subset in turn; each network encodes the modalities of all of them once."""
        task = self.model.task
        shown = task.subset({modality for subset in subsets for modality in subset})
        images = self._prepared(case, shown, frames)
        maps = [network.segment(images[network.model.preparation], shown, subsets) for network in self.networks]
        for subset, *answers in zip(subsets, *maps, strict=True):
            window = next((size for _, size in answers if size is not None), None)
            together = _together([logits for logits, _ in answers], frames)
            yield Prediction(task, subset, together, self._temperature(subset), window)

    def complete(self, case: Case, subset: Subset | None = None) -> dict[str, np.ndarray]:
        """Estimates of the modalities that are not in the subset, by modality, on the case's grid.

        Args:
            case: Its scans.
            subset: The modalities that the network sees; all that were acquired if None.

        Returns:
            Float32 in the network's units: standard deviations from the mean of the brain; 0 where no image of the
            subset has signal.

        Raises:
            DataError: the subset names a modality that the case lacks.
            ModelError: the model does not estimate modalities.
        """
        task = self.model.task
        shown = subset or case.acquired(task)
        ((frames, _),) = self._grouped(case, [shown])
        images = self._prepared(case, shown, frames)
        made = [network.complete(images[network.model.preparation], shown) for network in self.networks]
        maps = _mean([(one.frame.undo(one.maps), one.networks) for one in _together(made, frames)])
        brain = np.logical_or.reduce([case.images[modality] != 0 for modality in shown])
        clip = self.model.preparation.clip
        estimates = np.where(brain, maps.clamp(-clip, clip).numpy(), np.float32(0))
        return {name: one for name, one in zip(task.modalities, estimates, strict=True) if name not in shown}

    def _prepared(self, case: Case, shown: Subset, frames: Sequence[Frame]) -> dict[Preparation, Tensor]:
        """What is shown of a case, prepared once for all networks that want it alike."""
        case, task = case.only(shown), self.model.task
        wanted = {network.model.preparation: frame for network, frame in zip(self.networks, frames, strict=True)}
        return {preparation: prepare_images(case, task, preparation, frame) for preparation, frame in wanted.items()}

    def _temperature(self, subset: Subset) -> float:
        calibration = self.model.calibration
        return 1.0 if calibration is None else calibration.temperature(subset, self.mirror)


def group_by_frame(
    case: Case, subsets: Iterable[Subset], models: Sequence[Model]
) -> list[tuple[tuple[Frame, ...], list[Subset]]]:
    """Subsets whose modalities span the same box for each of the models share their frames: each encodes them once."""
    acquired = case.acquired(models[0].task)
    groups: dict[tuple[tuple[tuple[int, ...], tuple[int, ...]], ...], tuple[tuple[Frame, ...], list[Subset]]] = {}
    for subset in subsets:
        absent = [modality for modality in subset if modality not in acquired]
        if absent:
            raise DataError(
                f"{case.name}: has no {', '.join(absent)}; it has {', '.join(acquired)}; choose a subset of these"
            )
        frames = tuple(frame_of(case, subset, model.preparation) for model in models)
        boxes = tuple((frame.start, frame.size) for frame in frames)
        groups.setdefault(boxes, (frames, []))[1].append(subset)
    return list(groups.values())


def _require_segmentation(model: Model) -> None:
    if tuple(model.task.regions) == model.task.modalities:
        raise ModelError(
            f"{model.name}: rebuilds hidden parts of images and segments nothing; begin a training with it: lacunet "
            "train RECIPE --init MODEL --init-partly"
        )


def _together(maps: Sequence[Float[Tensor, "channel _ _ _"]], frames: Sequence[Frame]) -> tuple[Answer, ...]:
    """The mean of the maps of each grid."""
    places = [(frame.start, frame.size, tuple(one.shape)) for one, frame in zip(maps, frames, strict=True)]
    found = []
    for place in dict.fromkeys(places):
        own = [number for number, other in enumerate(places) if other == place]
        found.append(Answer(_mean([(maps[number], 1) for number in own]), frames[own[0]], len(own)))
    return tuple(found)


def _mean(maps: Sequence[tuple[Float[Tensor, "channel x y z"], int]]) -> Float[Tensor, "channel x y z"]:
    """Of maps with weights. A single one is returned as it is."""
    if len(maps) == 1:
        return maps[0][0]
    return torch.stack([one * weight for one, weight in maps]).sum(dim=0) / sum(weight for _, weight in maps)
