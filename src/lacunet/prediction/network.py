"""One network on a device: its maps of prepared images, at once or by windows, also averaged over mirror images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import combinations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from lacunet.models.model import Model
from lacunet.nn.memory import in_channels_last
from lacunet.prediction.choices import Mirror
from lacunet.prediction.device import free_memory_on
from lacunet.prediction.windows import (
    Windows,
    bytes_per_voxel,
    gaussian_weight,
    no_larger_than,
    pad_to,
    window_slices,
)
from lacunet.task import Subset

MIRRORS: Mapping[Mirror, Sequence[tuple[int, ...]]] = {
    "none": [()],
    "sides": [(), (0,)],
    "all": [axes for count in range(4) for axes in combinations(range(3), count)],
}
"""The axes along which each image is flipped; the first is the image itself."""

Ask = Callable[[Float[Tensor, "1 modality x y z"], Sequence[Subset]], Iterator[Float[Tensor, "1 channel x y z"]]]
"""Prepared images, padded, and subsets of them -> maps for each subset, in order."""

Maps = Iterator[tuple[Float[Tensor, "channel x y z"], tuple[int, int, int] | None]]
"""Maps of each subset, in order, and the size of the windows that they come from."""


class Network:
    """A model on a device.

    Args:
        model: What predicts.
        device: Where.
        dtype: Of its arithmetic.
        windows: How a box is cut up.
        mirror: Mirror images over which logits are averaged.
    """

    def __init__(
        self, model: Model, device: torch.device, dtype: torch.dtype, windows: Windows, mirror: Mirror
    ) -> None:
        self.model, self.device, self.dtype, self.windows, self.mirror = model, device, dtype, windows, mirror
        self.method = in_channels_last(model.method.to(device).eval())

    def segment(self, images: Float[Tensor, "modality x y z"], shown: Subset, subsets: Sequence[Subset]) -> Maps:
        """Region logits of subsets of what is shown, which is encoded once."""
        return self._maps(images, self._mirrored(partial(self._segment, shown)), subsets)

    def complete(self, images: Float[Tensor, "modality x y z"], shown: Subset) -> Float[Tensor, "modality x y z"]:
        """Estimates of all modalities from those that are shown."""
        ((maps, _),) = self._maps(images, self._estimate, [shown])
        return maps

    def _maps(self, images: Float[Tensor, "modality x y z"], ask: Ask, subsets: Sequence[Subset]) -> Maps:
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
        available = free_memory_on(self.device, self.windows.share)
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
