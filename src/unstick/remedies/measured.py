"""Weights that are scaled layer after layer by what one batch makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..learning import buffers_kept
from ..setup import Anatomy, Setup
from ..state import preserved
from .layers import LINEAR, Layer


def unit_variance(layers: Sequence[Layer], setup: Setup, anatomy: Anatomy, *, per_unit: bool) -> None:
    """Scale each layer's weights so that its output on the first batch has standard deviation 1, one after another.

    per_unit: each unit's output by itself, and its bias so that the mean is 0. Biases must be zero. The weights of
    fused recurrent and attention operations, whose outputs are not proportional to them, stay as they are.
    """
    linear = {op.parameter for op in anatomy.trace.operations if op.name in LINEAR}
    scaling = _Scaling((layer for layer in layers if layer.name in linear), per_unit)
    with preserved(), buffers_kept(setup.model), scaling:
        setup.forward(anatomy.batches[0])


class _Scaling(TorchFunctionMode):
    """Scales weights when they are first used, so that what the layers after them see is scaled already.

    The biases are zero, so an output is proportional to the weights and one division is exact.
    """

    def __init__(self, layers: Iterable[Layer], per_unit: bool) -> None:
        super().__init__()
        # By the memory they lie in, as `x @ w.T` multiplies with a view.
        self._unscaled = {_memory(layer.weight): layer for layer in layers}
        self._per_unit = per_unit

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name not in LINEAR:
            return out
        tensors = (v for v in (*args, *kwargs.values()) if isinstance(v, Tensor))
        layer = next((found for t in tensors if (found := self._unscaled.pop(_memory(t), None)) is not None), None)
        if layer is None:
            return out
        self._scale(layer, out.detach().float(), 1 if name.startswith("conv") else -1)
        return func(*args, **kwargs)  # a bias that is added by a call of its own, as in `x @ w + b`, comes after it

    def _scale(self, layer: Layer, out: Tensor, axis: int) -> None:
        units = out.movedim(axis, -1).reshape(-1, out.shape[axis]) if self._per_unit else out.reshape(-1, 1)
        mean, std = units.mean(0), units.std(0)
        std = torch.where(std.isfinite() & (std > 0), std, 1.0)
        with torch.no_grad():
            for matrix in layer.matrices():
                matrix.div_(std.to(matrix).reshape(-1, *[1] * (matrix.dim() - 1)))
            if self._per_unit and layer.bias is not None:
                layer.bias.copy_(-(mean / std).to(layer.bias))


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
