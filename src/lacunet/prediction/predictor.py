"""From a case to masks on the case's own grid: networks -> logits -> probabilities -> labels."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lacunet.case import Case
from lacunet.data.prepare import Frame, Preparation, frame_of, labels_of, prepare_images
from lacunet.errors import DataError, ModelError
from lacunet.models.ensemble import as_one
from lacunet.models.model import Model
from lacunet.prediction.choices import Mirror, Precision
from lacunet.prediction.device import choose_device, choose_precision
from lacunet.prediction.network import Network
from lacunet.prediction.windows import Windows
from lacunet.task import Subset, Task

_FAR_OUTSIDE = -30.0
"""The logit of voxels outside the brain's box: a probability of 1e-13."""


@dataclass(frozen=True)
class Prediction:
    """What a network predicts of one case from one subset, on the case's grid.

    Attributes:
        subset: The modalities that were used.
        logits: One map per region, on the case's RAS+ grid.
        temperature: The logits are divided by it for probabilities; 1 without a calibration.
        window: Voxels of the windows that the brain was cut into; None where it went through the network at once.
    """

    task: Task
    subset: Subset
    logits: Float[Tensor, "region x y z"]
    temperature: float = 1.0
    window: tuple[int, int, int] | None = None

    def regions(self) -> dict[str, np.ndarray]:
        """A boolean mask per region: probability above one half, at any temperature."""
        return dict(zip(self.task.regions, (self.logits > 0).numpy(), strict=True))

    def labels(self) -> np.ndarray:
        """Labels inside lacunet (uint8), painted from the regions in the task's order."""
        return labels_of(self.logits > 0, self.task).numpy()

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
        task = self.model.task
        for frames, group in group_by_frame(case, subsets, [network.model for network in self.networks]):
            shown = task.subset({modality for subset in group for modality in subset})
            images = self._prepared(case, shown, frames)
            maps = [network.segment(images[network.model.preparation], shown, group) for network in self.networks]
            for subset, *answers in zip(group, *maps, strict=True):
                temperature = self._temperature(subset)
                outside = _FAR_OUTSIDE * max(1.0, temperature)  # so that it stays certain at this temperature
                logits = [frame.undo(one, fill=outside) for frame, (one, _) in zip(frames, answers, strict=True)]
                window = next((size for _, size in answers if size is not None), None)
                yield Prediction(task, subset, _mean(logits), temperature, window)

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
        ((frames, _),) = group_by_frame(case, [shown], [network.model for network in self.networks])
        images = self._prepared(case, shown, frames)
        made = [network.complete(images[network.model.preparation], shown) for network in self.networks]
        maps = _mean([frame.undo(one) for frame, one in zip(frames, made, strict=True)])
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


def _mean(maps: Sequence[Float[Tensor, "channel x y z"]]) -> Float[Tensor, "channel x y z"]:
    first, *others = maps
    for other in others:
        first += other
    return first / len(maps) if others else first
