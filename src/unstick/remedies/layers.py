"""The weights of a network, layer by layer, and what each of them reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import init

from ..errors import NotApplicable
from ..learning import buffers_kept
from ..setup import Setup
from ..state import preserved
from ..trace.kinds import OPAQUE, PRODUCTS, WEIGHTED
from ..trace.record import record
from ..trace.types import Operation, Trace

BLOCKS = {"gru": 3, "gru_cell": 3, "lstm": 4, "lstm_cell": 4}
"""How many weight matrices, one for each gate, lie in one parameter on top of each other."""
LINEAR = frozenset(name for name in WEIGHTED | PRODUCTS if name not in OPAQUE and not name.endswith("_cell"))
"""Operations whose output is proportional to their weights, but for the bias."""
STACKS = LINEAR & {"linear", "matmul", "__matmul__", "__rmatmul__", "bmm", "baddbmm", "_grouped_mm", "grouped_mm"}
"""Where weights with three axes are many matrices, one for each expert or member of an ensemble."""


@dataclass(frozen=True)
class Layer:
    """The weights of one layer and the bias that goes with them.

    transposed: the weights are stored as (inputs, outputs, ...), as in `x @ w` and transposed convolutions; elsewhere
    as (outputs, inputs, ...). blocks: matrices stacked along the first axis that are separate layers to an
    initialisation. stacked: so are those along the first axis. centred: a convolution whose kernel has a middle, and
    passes it over every place and all channels.
    """

    name: str
    weight: nn.Parameter
    bias: nn.Parameter | None
    transposed: bool = False
    blocks: int = 1
    centred: bool = False
    stacked: bool = False

    def matrices(self) -> tuple[Tensor, ...]:
        """Views of the weights, each (outputs, inputs, ...)."""
        stack = self.weight.unbind() if self.stacked else (self.weight,)
        upright = (w.transpose(0, 1) if self.transposed else w for w in stack)
        return tuple(block for w in upright for block in w.chunk(self.blocks))


def layers_of(model: nn.Module, trace: Trace) -> tuple[Layer, ...]:
    """The trainable weights of linear, convolutional, recurrent and attention operations, in forward order.

    Embeddings, and weights shared with them, are left out: they are looked up, not multiplied. So are frozen weights,
    which could not recover. Raises NotApplicable where nothing is left.
    """
    parameters = dict(model.named_parameters())
    looked_up = {op.parameter for op in trace.operations if op.name.startswith("embedding")}
    found: dict[str, Layer] = {}
    for op in trace.operations:
        if op.kind == "weights":
            for layer in _layers_at(model, op, parameters):
                if layer.weight.requires_grad and layer.name not in looked_up:
                    found.setdefault(layer.name, layer)
    if not found:
        raise NotApplicable("no trainable weights of a linear, convolutional or recurrent operation were seen")
    return tuple(found.values())


def _layers_at(model: nn.Module, op: Operation, parameters: Mapping[str, nn.Parameter]) -> list[Layer]:
    module = None if op.module is None else model.get_submodule(op.module)
    names = [] if op.parameter is None else [op.parameter]
    if isinstance(module, nn.RNNBase | nn.RNNCellBase | nn.MultiheadAttention):
        prefix = f"{op.module}." if op.module else ""
        names = [prefix + name for name, _ in module.named_parameters() if "weight" in name]
    return [_layer(name, op, parameters, module) for name in names if name in parameters and parameters[name].dim() > 1]


def _layer(name: str, op: Operation, parameters: Mapping[str, nn.Parameter], module: nn.Module | None) -> Layer:
    weight, bias = parameters[name], _bias_of(name, parameters)
    if name.endswith("in_proj_weight"):
        return Layer(name, weight, bias, blocks=3)
    if op.name in BLOCKS:
        return Layer(name, weight, bias, blocks=1 if "weight_hr" in name else BLOCKS[op.name])
    units = op.shape[op.unit_axis] if op.shape else 1
    stacked = weight.dim() == 3 and op.name in STACKS
    rows, columns = weight.shape[int(stacked) :][:2]
    transposed = op.name != "linear" and rows != units == columns
    return Layer(name, weight, None if stacked else bias, transposed, centred=_centred(module), stacked=stacked)


def _centred(module: nn.Module | None) -> bool:
    """Told from the module, since a traced call does not show its stride."""
    return (
        isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        and module.groups == 1
        and all(stride == 1 for stride in module.stride)
        and all(size % 2 == 1 for size in module.kernel_size)
    )


def _bias_of(name: str, parameters: Mapping[str, nn.Parameter]) -> nn.Parameter | None:
    """The one-dimensional parameter beside it: `net.0.bias` of `net.0.weight`, `b1` of `w1`."""
    path, dot, last = name.rpartition(".")
    for old, new in (("weight", "bias"), ("w", "b"), ("W", "b"), ("W", "B")):
        candidate = parameters.get(f"{path}{dot}{last.replace(old, new, 1)}")
        if old in last and candidate is not None and candidate.dim() == 1:
            return candidate
    return None


def retraced(setup: Setup, batch: object) -> Trace:
    """A trace of the network as the remedies so far have made it, which leaves nothing behind."""
    with preserved(), buffers_kept(setup.model):
        trace = record(setup, batch)
    for parameter in setup.model.parameters():
        parameter.grad = None
    return trace


def orthogonal(matrix: Tensor, gain: float = 1.0) -> None:
    """Overwrites (outputs, inputs, ...) with rows or columns of length `gain` that are orthogonal to each other."""
    # In a tensor of its own: torch cannot do it on a transposed view, nor in half precision.
    dtype = torch.promote_types(matrix.dtype, torch.float32)
    matrix.copy_(init.orthogonal_(torch.empty(matrix.shape, dtype=dtype, device=matrix.device), gain))


def isotropic(matrix: Tensor, gain: float, centred: bool = False) -> None:
    """Overwrites (outputs, inputs, ...) with orthogonal weights of variance gain²/inputs, so that each output has gain²
    times the second moment of the inputs, whatever the shape.

    Of a convolution only the middle of the kernel, where it is `centred` and has no fewer outputs than inputs
    (delta-orthogonal, Xiao et al. 2018, arXiv:1806.05393); else its weights are normal, of variance gain²/fan_in.
    """
    outputs, inputs = matrix.shape[:2]
    scale = gain * math.sqrt(max(outputs / inputs, 1.0))
    if matrix.dim() == 2:
        orthogonal(matrix, scale)
    elif centred and outputs >= inputs:
        matrix.zero_()
        for size in matrix.shape[2:]:
            matrix = matrix.select(2, size // 2)
        orthogonal(matrix, scale)
    else:
        init.normal_(matrix, std=gain / math.sqrt(matrix[0].numel()))
