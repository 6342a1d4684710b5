"""From a case to masks on the case's own grid: windows -> logits -> probabilities -> labels."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from lacunet.case import Case
from lacunet.data.prepare import Frame, frame_of, labels_of, prepare_images
from lacunet.errors import DataError
from lacunet.models.model import Model
from lacunet.nn.memory import in_channels_last
from lacunet.prediction.choices import Mirror, Precision
from lacunet.prediction.device import choose_device, choose_precision
from lacunet.prediction.windows import (
    Windows,
    bytes_per_voxel,
    free_memory,
    gaussian_weight,
    no_larger_than,
    pad_to,
    window_slices,
)
from lacunet.task import Subset, Task

_FAR_OUTSIDE = -30.0
"""The logit of voxels outside the brain's box: a probability of 1e-13."""


@dataclass(frozen=True)
class Prediction:
    """What a network predicts of one case from one subset.

    Attributes:
        subset: The modalities that were used.
        prepared: Logits, one map per region, on the network's grid.
        frame: Where this grid lies on the case's.
        temperature: The logits are divided by it for probabilities; 1 without a calibration.
        window: Voxels of the windows that the brain was cut into; None where it went through the network at once.
    """

    task: Task
    subset: Subset
    prepared: Float[Tensor, "region _ _ _"]
    frame: Frame
    temperature: float = 1.0
    window: tuple[int, int, int] | None = None

    @cached_property
    def logits(self) -> Float[Tensor, "region x y z"]:
        """One map per region, on the case's RAS+ grid; computed when it is first asked for, which takes a while."""
        outside = _FAR_OUTSIDE * max(1.0, self.temperature)  # so that it stays certain at this temperature
        return self.frame.undo(self.prepared, fill=outside)

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


MIRRORS: Mapping[Mirror, Sequence[tuple[int, ...]]] = {
    "none": [()],
    "sides": [(), (0,)],
    "all": [axes for count in range(4) for axes in combinations(range(3), count)],
}
"""The axes along which each image is flipped; the first is the image itself."""

Ask = Callable[[Float[Tensor, "1 modality x y z"], Sequence[Subset]], Iterator[Float[Tensor, "1 channel x y z"]]]
"""Prepared images, padded, and subsets of them -> maps for each subset, in order."""


class Predictor:
    """A model on a device, loaded once for any number of cases.

    Args:
        model: What predicts.
        device: `auto`, `cpu`, `cuda`, ...
        precision: Of its arithmetic.
        windows: How a box is cut up.
        mirror: Mirror images over which logits are averaged (Wang et al. 2019): twice or eight times the work.
    """

    def __init__(
        self,
        model: Model,
        device: str = "auto",
        precision: Precision = "auto",
        windows: Windows | None = None,
        mirror: Mirror = "none",
    ) -> None:
        self.model, self.mirror = model, mirror
        self.device = choose_device(device)
        self.dtype = choose_precision(self.device, precision)
        self.windows = windows or Windows()
        self.method = in_channels_last(model.method.to(self.device).eval())

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
        for frame, group in group_by_frame(case, subsets, self.model):
            yield from self._in_frame(case, frame, group)

    def with_parts(self, case: Case, subset: Subset, parts: Iterable[Subset]) -> Iterator[Prediction]:
        """Predict from a subset, then from parts of it, all in the box of the subset: its modalities are encoded once.

        From a part alone (`each`) the box may be another, and so may be the mask, a little.

        Raises:
            DataError: the subset names a modality that the case lacks.
        """
        ((frame, _),) = group_by_frame(case, [subset], self.model)
        yield from self._in_frame(case, frame, [subset, *parts])

    def _in_frame(self, case: Case, frame: Frame, subsets: Sequence[Subset]) -> Iterator[Prediction]:
        """Predict from each subset in turn; the modalities of all of them are encoded once."""
        task = self.model.task
        shown = task.subset({modality for subset in subsets for modality in subset})
        images = prepare_images(case.only(shown), task, self.model.preparation, frame)
        ask = self._mirrored(partial(self._segment, shown))
        for subset, (logits, window) in zip(subsets, self._maps(images, ask, subsets), strict=True):
            yield Prediction(task, subset, logits, frame, self._temperature(subset), window)

    def _temperature(self, subset: Subset) -> float:
        calibration = self.model.calibration
        return 1.0 if calibration is None else calibration.temperature(subset, self.mirror)

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
        ((frame, _),) = group_by_frame(case, [shown], self.model)
        images = prepare_images(case.only(shown), task, self.model.preparation, frame)
        ((maps, _),) = self._maps(images, self._estimate, [shown])
        brain = np.logical_or.reduce([case.images[modality] != 0 for modality in shown])
        clip = self.model.preparation.clip
        estimates = np.where(brain, frame.undo(maps).clamp(-clip, clip).numpy(), np.float32(0))
        return {name: one for name, one in zip(task.modalities, estimates, strict=True) if name not in shown}

    def _maps(
        self, images: Float[Tensor, "modality x y z"], ask: Ask, subsets: Sequence[Subset]
    ) -> Iterator[tuple[Float[Tensor, "channel x y z"], tuple[int, int, int] | None]]:
        """Maps of each subset, in order, and the size of the windows that they come from."""
        size, done = self._window_size(images), 0
        if size is None:
            try:
                for maps in self._through(images, ask, subsets):
                    yield maps, None
                    done += 1
                return
            except torch.cuda.OutOfMemoryError:
                torch.cuda.empty_cache()
                size = (128, 128, 128)
        for maps in self._by_windows(images, ask, subsets[done:], size):
            yield maps, size

    @cached_property
    def _bytes_per_voxel(self) -> float:
        return bytes_per_voxel(self.method)

    def _window_size(self, images: Tensor) -> tuple[int, int, int] | None:
        if self.windows.size is not None:
            return self.windows.size
        needed = self._bytes_per_voxel * images[0].numel()
        available = free_memory(self.device)
        return None if available is None or needed < available / 2 else (128, 128, 128)

    def _through(self, images: Tensor, ask: Ask, subsets: Sequence[Subset]) -> Iterator[Tensor]:
        """The whole array at once, padded to a multiple of the network's divisor."""
        cut = tuple(slice(0, n) for n in images.shape[1:])
        padded = pad_to(images[None], self.method.divisor)
        for maps in ask(padded.to(self.device).contiguous(memory_format=torch.channels_last_3d), subsets):
            yield maps[0][(slice(None), *cut)].cpu()

    def _by_windows(
        self, images: Tensor, ask: Ask, subsets: Sequence[Subset], size: tuple[int, int, int]
    ) -> Iterator[Tensor]:
        """Overlapping windows, blended by a Gaussian with its peak in the middle; each is encoded once."""
        shape = images.shape[1:]
        size = no_larger_than(shape, size, self.method.divisor)
        grown = [max(0, s - n) for s, n in zip(size, shape, strict=True)]
        images = F.pad(images, (0, grown[2], 0, grown[1], 0, grown[0]))
        weight = gaussian_weight(size)
        total = torch.zeros(images.shape[1:])
        sums: list[Tensor] = []
        for window in window_slices(images.shape[1:], size, self.windows.overlap):
            total[window] += weight
            for index, maps in enumerate(self._through(images[(slice(None), *window)], ask, subsets)):
                if index == len(sums):
                    sums.append(torch.zeros((len(maps), *images.shape[1:])))
                sums[index][(slice(None), *window)] += maps * weight
        cut = tuple(slice(0, n) for n in shape)
        for blended in sums:
            yield (blended / total)[(slice(None), *cut)]

    def _segment(self, shown: Subset, images: Tensor, subsets: Sequence[Subset]) -> Iterator[Tensor]:
        """Region logits of each subset of what is shown, encoded once."""
        with torch.inference_mode(), self._autocast():
            encoded = self.method.encode(images, self._presence(shown))
        for subset in subsets:
            with torch.inference_mode(), self._autocast():
                logits = self.method.decode(encoded, self._presence(subset)).float()
            yield logits  # outside the context, which the caller would otherwise run in

    def _mirrored(self, ask: Ask) -> Ask:
        """The same, averaged over an image and its mirror images; each of them is encoded once."""
        mirrors = MIRRORS[self.mirror]
        if len(mirrors) == 1:
            return ask

        def asked(images: Tensor, subsets: Sequence[Subset]) -> Iterator[Tensor]:
            sums: list[Tensor] = []
            for axes in mirrors:
                axes = tuple(axis + 2 for axis in axes)
                turned = images.flip(axes).contiguous(memory_format=torch.channels_last_3d)
                for index, maps in enumerate(ask(turned, subsets)):
                    back = maps.flip(axes) / len(mirrors)
                    sums[index : index + 1] = [sums[index] + back] if index < len(sums) else [back]
            yield from sums

        return asked

    def _estimate(self, images: Tensor, subsets: Sequence[Subset]) -> Iterator[Tensor]:
        """All modalities, estimated from each subset."""
        for subset in subsets:
            with torch.inference_mode(), self._autocast():
                completed = self.method.complete(images, self._presence(subset)).float()
            yield completed

    def _presence(self, subset: Subset) -> Bool[Tensor, "1 modality"]:
        return torch.tensor([self.model.task.presence(subset)], device=self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def group_by_frame(case: Case, subsets: Iterable[Subset], model: Model) -> list[tuple[Frame, list[Subset]]]:
    """Subsets whose modalities span the same box share a frame, and so are encoded once."""
    acquired = case.acquired(model.task)
    groups: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[Frame, list[Subset]]] = {}
    for subset in subsets:
        absent = [modality for modality in subset if modality not in acquired]
        if absent:
            raise DataError(
                f"{case.name}: has no {', '.join(absent)}; it has {', '.join(acquired)}; choose a subset of these"
            )
        frame = frame_of(case, subset, model.preparation)
        groups.setdefault((frame.start, frame.size), (frame, []))[1].append(subset)
    return list(groups.values())
