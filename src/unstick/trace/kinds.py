"""Which torch functions are activations, weighted operations, normalisations, or mere changes of shape.

Names are those that a `TorchFunctionMode` sees, without the trailing underscore of in-place forms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


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
    "atan": Flat(-1.4706, 1.4706),  # cos² y < 0.01
    "sin": None,
    "cos": None,
    "hardtanh": Flat(-1.0, 1.0),
    "hardsigmoid": Flat(0.0, 1.0),
    "hardswish": Flat(-3.0, by_input=True),
    "logsigmoid": Flat(high=4.5951, by_input=True),
    "tanhshrink": None,
    "softshrink": None,
    "hardshrink": None,
    "threshold": None,
    "exp": None,
}

# What torch calls some of them inside, where they are not called by their own name, and other names for them. `erf` is
# not among the activations, though it could be one: it is the inside of a GELU that is written out. `glu` halves its
# input, so nothing elementwise can stand for it.
ALIASES: Mapping[str, str] = {
    "arctan": "atan",
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
        "_grouped_mm",
        "grouped_mm",
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

# What turns many entries into one number; a normalisation that is written out has one of them.
REDUCTIONS = frozenset(
    ["mean", "sum", "var", "std", "var_mean", "std_mean", "norm", "vector_norm", "linalg_norm", "linalg_vector_norm"]
)

# The steps inside these calls are not seen one by one.
OPAQUE = frozenset(["gru", "lstm", "rnn_tanh", "rnn_relu", "multi_head_attention_forward"])

# Same numbers, other shape, order or dtype: the backward pass walks through them, so they need no record of their own.
# Not among them is what joins signals (`stack`), copies them so that gradients add up (`repeat_interleave`, `unfold`,
# `index_select` and `gather` along the edges of a graph) or puts new numbers beside them (`pad`).
SHAPE_ONLY = frozenset(
    [
        "view",
        "reshape",
        "reshape_as",
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
        "swapdims",
        "movedim",
        "moveaxis",
        "flip",
        "roll",
        "clone",
        "to",
        "type",
        "float",
        "double",
        "half",
        "bfloat16",
        "type_as",
        "expand",
        "expand_as",
        "broadcast_to",
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
