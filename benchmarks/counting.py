"""FLOPs of a pass, counted without computing it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

BIG = 2**14
"""Numbers in a tensor whose values are not computed. Which modalities and tokens are there is said by smaller ones."""

_INDEXED_BY_VALUE = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default, torch.ops.aten.index_put_.default)


def count_flops(network: nn.Module, run: Callable[[], object]) -> tuple[int, dict[str, int]]:
    """FLOPs of what runs, and those of each of the network's children. PyTorch's counter lacks the CPU's attention.

    Convolutions, matrix products and attention are counted, two for each multiplication with its addition. Values of
    big tensors are not computed: what depends on them would be counted wrongly. A child whose name begins with that of
    another (`shift_in_skips`) counts as that one.
    """
    operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with (
        torch.inference_mode(),
        Shapes(),
        FlopCounterMode(display=False, custom_mapping={operator: _attention}) as counter,
    ):
        run()
    by_module, parts = counter.get_flop_counts(), dict[str, int]()
    for name, child in network.named_children():
        items = [f".{index}" for index in range(len(child))] if isinstance(child, nn.ModuleList) else [""]
        called = [by_module.get(f"{type(network).__name__}.{name}{item}", {}) for item in items]
        part = next((other for other in parts if name.startswith(other)), name)
        parts[part] = parts.get(part, 0) + sum(sum(found.values()) for found in called)
    return counter.get_total_flops(), parts


class Shapes(TorchDispatchMode):
    """Operations on big tensors give tensors of the right shape, in memory that is never touched.

    Whole numbers are zeros: they may be places in another tensor, where any other number may be none.
    """

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """The result of one operation, or its shape."""
        named = dict(kwargs or {})
        tensors = [value for value in tree_flatten((args, named))[0] if isinstance(value, Tensor)]
        if func.is_view or not any(tensor.numel() > BIG for tensor in tensors):
            return func(*args, **named)
        if func._schema.is_mutable:
            return args[0]
        by_value = func in _INDEXED_BY_VALUE
        imagined = tree_map_only(
            Tensor, lambda tensor: tensor if by_value and tensor.numel() <= BIG else tensor.to("meta"), (args, named)
        )
        return tree_map_only(Tensor, _untouched, func(*imagined[0], **imagined[1]))


def _untouched(shape: Tensor) -> Tensor:
    untouched = torch.empty_strided(shape.shape, shape.stride(), dtype=shape.dtype, device="cpu")
    whole = not shape.dtype.is_floating_point and shape.dtype != torch.bool
    return untouched.zero_() if whole else untouched


def _attention(query: Any, key: Any, value: Any, *rest: Any, **more: Any) -> int:
    return int(sdpa_flop_count(query, key, value))
