"""Which torch functions are activations, weighted operations, normalisations, or mere changes of shape.

Names are those that a `TorchFunctionMode` sees, without the trailing underscore of in-place forms.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .types import Kind

LAST = 1 << 10  # as an axis: the last one


@dataclass(frozen=True, slots=True)
class Flat:
    """Where an activation's slope is below 1 % of its largest: at or outside of `low` and `high`.

    Told from the output where it can be, since an in-place call has overwritten the input; `by_input`: from the input.
    A narrow flat place in between, such as the minimum of GELU, does not count: no unit stays there.
    """

    low: float = -math.inf
    high: float = math.inf
    by_input: bool = False


_SELU = 1.7580993408473766  # scale x alpha

# None: never flat, or flat in a way that its arguments decide, so neither saturation nor death is measured.
ACTIVATIONS: Mapping[str, Flat | None] = {
    "sigmoid": Flat(0.0025063, 0.9974937),  # 4 y (1 - y) < 0.01
    "tanh": Flat(-0.9949874, 0.9949874),  # 1 - y² < 0.01
    "relu": Flat(0.0),
    "relu6": Flat(0.0, 6.0),
    "leaky_relu": None,
    "rrelu": None,
    "prelu": None,
    "elu": Flat(-0.99),
    "celu": Flat(-0.99),
    "selu": Flat(-0.99 * _SELU),
    "gelu": Flat(-3.0217, by_input=True),
    "silu": Flat(-6.1429, by_input=True),
    "mish": Flat(-6.1587, by_input=True),
    "softplus": Flat(0.0100503),  # 1 - exp(-y) < 0.01
    "softsign": Flat(-0.9, 0.9),  # (1 - |y|)² < 0.01
    "hardtanh": None,
    "hardsigmoid": Flat(0.0, 1.0),
    "hardswish": Flat(-3.0, by_input=True),
    "logsigmoid": Flat(high=4.5951, by_input=True),
    "tanhshrink": None,
    "softshrink": None,
    "hardshrink": None,
    "threshold": None,
    "exp": None,
}

# What torch calls some of them inside, where they are not called by their own name.
ALIASES: Mapping[str, str] = {
    "special_expit": "sigmoid",
    "log_sigmoid": "logsigmoid",
    "_threshold": "threshold",
    "rrelu_with_noise": "rrelu",
}

WEIGHTED = frozenset(
    [
        "linear",
        "bilinear",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "embedding",
        "embedding_bag",
        "gru",
        "lstm",
        "rnn_tanh",
        "rnn_relu",
        "gru_cell",
        "lstm_cell",
        "rnn_tanh_cell",
        "rnn_relu_cell",
        "multi_head_attention_forward",
    ]
)
# Weighted only where one factor is a parameter; between two signals (attention scores) they are "other".
PRODUCTS = frozenset(
    [
        "matmul",
        "__matmul__",
        "__rmatmul__",
        "mm",
        "bmm",
        "mv",
        "addmm",
        "addbmm",
        "baddbmm",
        "einsum",
        "tensordot",
        "inner",
    ]
)

FROZEN_NORM = "batch_norm_eval"
"""How a batch normalisation by running averages is recorded."""

NORMALISATIONS = frozenset(
    [
        "batch_norm",
        FROZEN_NORM,
        "layer_norm",
        "group_norm",
        "instance_norm",
        "rms_norm",
        "local_response_norm",
        "normalize",
    ]
)

# The steps inside these calls are not seen one by one.
OPAQUE = frozenset(["gru", "lstm", "rnn_tanh", "rnn_relu", "multi_head_attention_forward"])

# Same numbers, other shape or dtype: the backward pass walks through them, so they need no record of their own.
SHAPE_ONLY = frozenset(
    [
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "transpose",
        "permute",
        "t",
        "squeeze",
        "unsqueeze",
        "contiguous",
        "chunk",
        "split",
        "unbind",
        "swapaxes",
        "movedim",
        "clone",
        "to",
        "float",
        "double",
        "half",
        "bfloat16",
        "type_as",
        "expand",
        "expand_as",
        "detach",
        "narrow",
        "select",
        "__getitem__",
        "view_as",
        "split_with_sizes",
        "tensor_split",
        "ravel",
        "T",
        "mT",
        "pack_padded_sequence",
        "_pack_padded_sequence",
        "requires_grad_",
        "cpu",
        "cuda",
    ]
)

# Position of `inplace` among the positional arguments, for functions that torch.nn calls that way.
INPLACE_POSITION: Mapping[str, int] = {
    "dropout": 3, "alpha_dropout": 3, "dropout1d": 3, "dropout2d": 3, "dropout3d": 3, "feature_alpha_dropout": 3,
    "hardtanh": 3, "threshold": 3, "rrelu": 4, "elu": 2, "celu": 2, "leaky_relu": 2,
    "relu": 1, "relu6": 1, "selu": 1, "silu": 1, "mish": 1, "hardswish": 1, "hardsigmoid": 1,
}  # fmt: skip


def is_inplace(raw: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bool:
    """Whether a call named `raw` overwrites its first argument."""
    if raw == "__setitem__" or (raw.endswith("_") and not raw.endswith("__")):  # `x += y` arrives as `add_`
        return True
    if kwargs.get("inplace") is True:
        return True
    position = INPLACE_POSITION.get(raw)
    return position is not None and len(args) > position and args[position] is True


TRAINING_POSITION = 5
"""Of `training`, among the arguments of `F.batch_norm` and of `torch.batch_norm`."""


def uses_running_averages(name: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bool:
    """Whether a batch normalisation is in evaluation mode: an affine map, which does not look at the batch."""
    if name != "batch_norm":
        return False
    training = args[TRAINING_POSITION] if len(args) > TRAINING_POSITION else kwargs.get("training", False)
    return training is False


# Asked of tensors all the time, and never part of the signal.
SILENT = frozenset(
    [
        "__get__",
        "__set__",
        "dim",
        "size",
        "numel",
        "is_contiguous",
        "stride",
        "item",
        "tolist",
        "__len__",
        "register_hook",
    ]
)


class Function(NamedTuple):
    """What the name of a torch function tells. raw: with the underscore of in-place forms. maybe_inplace: see
    `is_inplace`. silent, hidden: no operation of its own. product: weighted where a factor is a parameter. units: the
    axis of units, if it is known."""

    raw: str
    name: str
    maybe_inplace: bool
    silent: bool
    hidden: bool
    kind: Kind
    product: bool
    units: int | None
    flat: Flat | None


@functools.cache
def facts(raw: str) -> Function:
    name = raw if raw.endswith("__") else raw.rstrip("_")
    name = ALIASES.get(name, name)
    kind: Kind = "other"
    if name in ACTIVATIONS:
        kind = "activation"
    elif name in NORMALISATIONS:
        kind = "normalisation"
    elif name in WEIGHTED:
        kind = "weights"
    units = None
    if name.startswith("conv"):
        units = 1
    elif name in WEIGHTED or name in PRODUCTS or name == "layer_norm":
        units = LAST
    silent = raw in SILENT
    hidden = silent or name in SHAPE_ONLY
    maybe_inplace = not silent and (raw in INPLACE_POSITION or raw.endswith("_"))
    return Function(raw, name, maybe_inplace, silent, hidden, kind, name in PRODUCTS, units, ACTIVATIONS.get(name))
