"""Other weights to start from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

from ..errors import NotApplicable, RemedyError
from ..learning import buffers_kept
from ..setup import Anatomy, Setup
from ..state import preserved
from ..trace.kinds import OPAQUE, PRODUCTS, WEIGHTED
from ..trace.types import Operation, Trace
from .base import Remedy
from .values import Value, arguments, check_number

BLOCKS = {"gru": 3, "gru_cell": 3, "lstm": 4, "lstm_cell": 4}
"""How many weight matrices, one for each gate, lie in one parameter on top of each other."""

LINEAR = frozenset(name for name in WEIGHTED | PRODUCTS if name not in OPAQUE and not name.endswith("_cell"))
"""Operations whose output is proportional to their weights, but for the bias."""


@dataclass(frozen=True)
class Layer:
    """The weights of one layer and the bias that goes with them.

    transposed: the weights are stored as (inputs, outputs, ...), as in `x @ w` and transposed convolutions; elsewhere
    as (outputs, inputs, ...). blocks: matrices stacked along the first axis that are separate layers to an
    initialisation.
    """

    name: str
    weight: nn.Parameter
    bias: nn.Parameter | None
    transposed: bool = False
    blocks: int = 1

    def matrices(self) -> tuple[Tensor, ...]:
        """Views of the weights, each (outputs, inputs, ...)."""
        return (self.weight.transpose(0, 1) if self.transposed else self.weight).chunk(self.blocks)


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
    return [_layer(name, op, parameters) for name in names if name in parameters and parameters[name].dim() > 1]


def _layer(name: str, op: Operation, parameters: Mapping[str, nn.Parameter]) -> Layer:
    weight, bias = parameters[name], _bias_of(name, parameters)
    if name.endswith("in_proj_weight"):
        return Layer(name, weight, bias, blocks=3)
    if op.name in BLOCKS:
        return Layer(name, weight, bias, blocks=1 if "weight_hr" in name else BLOCKS[op.name])
    units = op.shape[op.unit_axis] if op.shape else 1
    transposed = op.name != "linear" and weight.shape[0] != units == weight.shape[1]
    return Layer(name, weight, bias, transposed)


def _bias_of(name: str, parameters: Mapping[str, nn.Parameter]) -> nn.Parameter | None:
    """The one-dimensional parameter beside it: `net.0.bias` of `net.0.weight`, `b1` of `w1`."""
    path, dot, last = name.rpartition(".")
    for old, new in (("weight", "bias"), ("w", "b"), ("W", "b"), ("W", "B")):
        candidate = parameters.get(f"{path}{dot}{last.replace(old, new, 1)}")
        if old in last and candidate is not None and candidate.dim() == 1:
            return candidate
    return None


# -- schemes -----------------------------------------------------------------------------------------------------------

Fill = Callable[[Tensor, float], Any]
"""Overwrites a matrix (outputs, inputs, ...) in place; the number is the scheme's argument, nan if it has none."""


@dataclass(frozen=True)
class Scheme:
    """fill: see `Fill`. argument: the name of its number, None if it has none. keeps_biases: else they become zero."""

    fill: Fill
    argument: str | None = None
    keeps_biases: bool = False


def _he(weight: Tensor, _: float) -> None:
    init.kaiming_normal_(weight, nonlinearity="relu")


def _lecun(weight: Tensor, _: float) -> None:
    init.kaiming_normal_(weight, nonlinearity="linear")


def _xavier(weight: Tensor, _: float) -> None:
    init.xavier_uniform_(weight)


def _orthogonal(weight: Tensor, _: float) -> None:
    # In a tensor of its own: torch cannot do it on a transposed view, nor in half precision.
    dtype = torch.promote_types(weight.dtype, torch.float32)
    weight.copy_(init.orthogonal_(torch.empty(weight.shape, dtype=dtype, device=weight.device)))


def _normal(weight: Tensor, std: float) -> None:
    init.normal_(weight, std=std)


def _uniform(weight: Tensor, a: float) -> None:
    init.uniform_(weight, -a, a)


def _scale(weight: Tensor, factor: float) -> None:
    weight.mul_(factor)


SCHEMES: Mapping[str, Scheme] = {
    "he": Scheme(_he),
    "xavier": Scheme(_xavier),
    "lecun": Scheme(_lecun),
    "orthogonal": Scheme(_orthogonal),
    "lsuv": Scheme(_orthogonal),  # and then rescaled by `_unit_variance`
    "normal": Scheme(_normal, "std", keeps_biases=True),
    "uniform": Scheme(_uniform, "a", keeps_biases=True),
    "scale": Scheme(_scale, "factor", keeps_biases=True),
}
ALIASES = {"kaiming": "he", "glorot": "xavier"}


@dataclass(frozen=True)
class Init(Remedy):
    """Draws the weights anew (`scale` multiplies them). he, xavier, lecun, orthogonal and lsuv set biases to zero, as
    they were derived for; normal, uniform and scale leave them, since the variance of the weights is their subject.
    """

    names = ("init",)
    title = "other weights to start from: " + ", ".join(SCHEMES)
    reading = (
        "He et al. 2015, arXiv:1502.01852 (he); Glorot and Bengio 2010, PMLR 9:249 (xavier); LeCun et al. 1998, "
        "doi:10.1007/3-540-49430-8_2 (lecun); Saxe et al. 2014, arXiv:1312.6120 (orthogonal); Mishkin and Matas 2016, "
        "arXiv:1511.06422 (lsuv); as an introduction Katanforoosh and Kunin 2019, Initializing neural networks, "
        "https://www.deeplearning.ai/ai-notes/initialization/"
    )
    examples = (
        "init(he)",
        "init(xavier)",
        "init(orthogonal)",
        "init(lsuv)",
        "init(normal, std=10)",
        "init(uniform, a=0.1)",
        "init(scale, factor=4)",
    )

    scheme: str
    value: float | None = None

    def __post_init__(self) -> None:
        scheme = SCHEMES.get(self.scheme)
        if scheme is None:
            raise RemedyError(f"init knows no scheme {self.scheme!r}: it has {', '.join(SCHEMES)}")
        if scheme.argument is None:
            if self.value is not None:
                raise RemedyError(f"init({self.scheme}) takes no number")
        elif self.value is None:
            raise RemedyError(
                f"init({self.scheme}) needs {scheme.argument}, for example init({self.scheme}, {scheme.argument}=2)"
            )
        else:
            check_number(self.value, f"{scheme.argument} of init({self.scheme})")

    @classmethod
    def build(cls, *positional: Value, **named: Value) -> Self:
        """`init(normal, std=10)` or `init(normal, 10)`: the number's name depends on the scheme."""
        values = list(positional) + ([named.pop("scheme")] if "scheme" in named and not positional else [])
        if not values:
            raise RemedyError(f"init needs a scheme, one of {', '.join(SCHEMES)}, for example init(he)")
        name = ALIASES.get(str(values[0]), str(values[0]))
        wanted = SCHEMES[name].argument if name in SCHEMES else None
        if name in SCHEMES and (wrong := [key for key in named if key != wanted]):
            allowed = f"only {wanted}" if wanted else "no number"
            raise RemedyError(f"init({name}) takes {allowed}, not {', '.join(wrong)}")
        values += named.values()
        if len(values) > 2:
            raise RemedyError(f"init({name}) takes at most one number")
        return cls(name, *values[1:])  # type: ignore[arg-type]  # __post_init__ looks at its type

    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        initialise(self.scheme, self.value, setup, anatomy)

    def __str__(self) -> str:
        argument = SCHEMES[self.scheme].argument
        return "init" + arguments(self.scheme, **({argument: self.value} if argument else {}))


def initialise(scheme: str, value: float | None, setup: Setup, anatomy: Anatomy) -> None:
    """Overwrite the weights that the trace shows. Draws from torch's global random state.

    Raises NotApplicable where there are none.
    """
    chosen = SCHEMES[scheme]
    layers = layers_of(setup.model, anatomy.trace)
    with torch.no_grad():
        for layer in layers:
            for matrix in layer.matrices():
                chosen.fill(matrix, math.nan if value is None else value)
            if layer.bias is not None and not chosen.keeps_biases:
                layer.bias.zero_()
    if scheme == "lsuv":
        _unit_variance(layers, setup, anatomy)
    setup.changes.append(f"{Init(scheme, value)} on {len(layers)} weight tensor{'' if len(layers) == 1 else 's'}")


# -- layer-sequential unit variance ------------------------------------------------------------------------------------


def _unit_variance(layers: tuple[Layer, ...], setup: Setup, anatomy: Anatomy) -> None:
    """Scale each layer's weights so that its output on the first batch has standard deviation 1, one after another."""
    linear = {op.parameter for op in anatomy.trace.operations if op.name in LINEAR}
    scaling = _Scaling([layer.weight for layer in layers if layer.name in linear])
    with preserved(), buffers_kept(setup.model), scaling:
        setup.forward(anatomy.batches[0])


class _Scaling(TorchFunctionMode):
    """Scales weights when they are first used, so that what the layers after them see is scaled already.

    The biases are zero, so an output is proportional to the weights and one division is exact. Those of fused
    recurrent and attention operations are not, and these keep their orthogonal weights.
    """

    def __init__(self, weights: Iterable[nn.Parameter]) -> None:
        super().__init__()
        # By the memory they lie in, as `x @ w.T` multiplies with a view.
        self._unscaled = {_memory(w): w for w in weights}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if getattr(func, "__name__", "") in LINEAR:
            tensors = (v for v in (*args, *kwargs.values()) if isinstance(v, Tensor))
            weight = next((w for t in tensors if (w := self._unscaled.pop(_memory(t), None)) is not None), None)
            std = out.detach().float().std()
            if weight is not None and std.isfinite() and std > 0:
                with torch.no_grad():
                    weight.div_(std.to(weight.dtype))
                return func(*args, **kwargs)
        return out


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
