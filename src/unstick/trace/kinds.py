"""Which torch functions are activations, weighted operations, normalisations, or mere changes of shape.

Names are those that a `TorchFunctionMode` sees, without the trailing underscore of in-place forms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

Slope = Callable[[Tensor, Tensor], Tensor]
"""(input x, output y) -> |f'(x)| relative to the largest slope of f. Elementwise, same shape as y."""


def _step(low: float, high: float) -> Slope:
    """The slope of a function that is linear in between and flat outside, told from its output."""
    return lambda x, y: ((y > low) & (y < high)).to(y.dtype)


def _gelu(x: Tensor, y: Tensor) -> Tensor:
    density = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return (0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * density).abs() / 1.129


def _silu(x: Tensor, y: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return (s * (1 + x * (1 - s))).abs() / 1.0998


def _mish(x: Tensor, y: Tensor) -> Tensor:
    t = torch.tanh(softplus(x))
    return (t + x * torch.sigmoid(x) * (1 - t * t)).abs() / 1.0885


# None: never flat (or flat nowhere that matters), so neither saturation nor death is measured.
ACTIVATIONS: Mapping[str, Slope | None] = {
    "sigmoid": lambda x, y: 4 * y * (1 - y),
    "tanh": lambda x, y: 1 - y * y,
    "relu": lambda x, y: (y > 0).to(y.dtype),
    "relu6": _step(0.0, 6.0),
    "leaky_relu": None,
    "rrelu": None,
    "prelu": None,
    "elu": lambda x, y: (y + 1).clamp(0, 1),
    "celu": lambda x, y: (y + 1).clamp(0, 1),
    "selu": lambda x, y: (y / 1.7580993408473766 + 1).clamp(0, 1),
    "gelu": _gelu,
    "silu": _silu,
    "mish": _mish,
    "softplus": lambda x, y: -torch.expm1(-y),
    "softsign": lambda x, y: (1 - y.abs()) ** 2,
    "hardtanh": lambda x, y: _step(-1.0, 1.0)(x, y),
    "hardsigmoid": _step(0.0, 1.0),
    "hardswish": lambda x, y: (x > -3).to(y.dtype),
    "logsigmoid": lambda x, y: -torch.expm1(logsigmoid(x)),
    "tanhshrink": None,
    "softshrink": lambda x, y: (y != 0).to(y.dtype),
    "hardshrink": lambda x, y: (y != 0).to(y.dtype),
    "threshold": None,
    "exp": None,
}

# These slopes are told from the input, which an in-place call has overwritten.
NEEDS_INPUT = frozenset({"gelu", "silu", "mish", "hardswish", "logsigmoid"})

WEIGHTED = frozenset(
    "linear bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d embedding embedding_bag "
    "gru lstm rnn_tanh rnn_relu gru_cell lstm_cell rnn_tanh_cell rnn_relu_cell multi_head_attention_forward".split()
)
# Weighted only where one factor is a parameter; between two signals (attention scores) they are "other".
PRODUCTS = frozenset("matmul __matmul__ __rmatmul__ mm bmm mv addmm addbmm baddbmm einsum tensordot inner".split())

NORMALISATIONS = frozenset("batch_norm layer_norm group_norm instance_norm rms_norm local_response_norm normalize".split())

# The steps inside these calls are not seen one by one.
OPAQUE = frozenset("gru lstm rnn_tanh rnn_relu multi_head_attention_forward".split())

# Same numbers, other shape or dtype: the backward pass walks through them, so they need no record of their own.
SHAPE_ONLY = frozenset(
    "view reshape flatten unflatten transpose permute t squeeze unsqueeze contiguous chunk split unbind swapaxes "
    "movedim clone to float double half bfloat16 type_as expand expand_as detach narrow select __getitem__ view_as "
    "split_with_sizes tensor_split ravel T mT pack_padded_sequence _pack_padded_sequence requires_grad_ cpu cuda".split()
)

# Position of `inplace` among the positional arguments, for functions that torch.nn calls that way.
INPLACE_POSITION: Mapping[str, int] = {
    "dropout": 3, "alpha_dropout": 3, "dropout1d": 3, "dropout2d": 3, "dropout3d": 3, "feature_alpha_dropout": 3,
    "hardtanh": 3, "threshold": 3, "rrelu": 4, "elu": 2, "celu": 2, "leaky_relu": 2,
    "relu": 1, "relu6": 1, "selu": 1, "silu": 1, "mish": 1, "hardswish": 1, "hardsigmoid": 1,
}  # fmt: skip


def is_inplace(raw: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bool:
    """Whether a call named `raw` overwrites its first argument."""
    if raw.endswith("_") and not raw.endswith("__"):
        return True
    if kwargs.get("inplace") is True:
        return True
    position = INPLACE_POSITION.get(raw)
    return position is not None and len(args) > position and args[position] is True
