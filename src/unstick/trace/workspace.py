"""Memory in which tensors are stacked to be measured, used again from one traced step to the next."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

HELD_ELEMENTS = 1 << 21  # 8 MB in float32: what is kept, at most, beside a copy of the weights


class Workspace:
    """Gives memory that the caller may overwrite, and the same again when it is asked for under the same name.

    Fresh memory comes from the system page by page, which takes longer than the measuring itself. weights: how many
    elements the model's weights have, of which every traced step needs a copy.
    """

    def __init__(self, weights: int = 0) -> None:
        self._buffers: dict[Hashable, Tensor] = {}
        self._held, self._most = 0, HELD_ELEMENTS + weights

    def empty(self, count: int, like: Tensor, name: Hashable) -> Tensor:
        """(count, *like.shape), contiguous; float32 where `like` is of half precision."""
        dtype = torch.float32 if like.dtype in (torch.float16, torch.bfloat16) else like.dtype
        shape = (count, *like.shape)
        return self._buffer(math.prod(shape), dtype, like.device, name).view(shape)

    def stack(self, tensors: Sequence[Tensor], name: Hashable) -> Tensor:
        """(k, ...): a copy of `tensors`, which are alike in shape, dtype and device. Call without gradients."""
        return torch.stack(list(tensors), out=self.empty(len(tensors), tensors[0], name))

    def joined(self, tensors: Sequence[Tensor], name: Hashable) -> Tensor:
        """The same to be read only: a single tensor is not copied."""
        return tensors[0].detach().unsqueeze(0) if len(tensors) == 1 else self.stack(tensors, name)

    def _buffer(self, size: int, dtype: torch.dtype, device: torch.device, name: Hashable) -> Tensor:
        key = (name, dtype, device)
        held = self._buffers.get(key)
        if held is not None and held.numel() >= size:
            return held[:size]
        fresh = torch.empty(size, dtype=dtype, device=device)
        growth = size - (0 if held is None else held.numel())
        if self._held + growth <= self._most:
            self._buffers[key] = fresh
            self._held += growth
        return fresh
