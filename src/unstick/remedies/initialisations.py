"""Other weights to start from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import init

from ..errors import RemedyError
from ..observation import Observation
from ..setup import Anatomy, Setup
from .base import Remedy
from .critical import critical, zero_bias_gains
from .layers import Layer, isotropic, layers_of, orthogonal
from .measured import unit_variance
from .values import Value, arguments, check_number

Write = Callable[[Sequence[Layer], float, Setup, Anatomy], str | None]
"""Overwrites weights and biases in place. The number is the scheme's argument, nan if it has none. Returns what else is
worth knowing, in words. Raises NotApplicable before it changes anything."""


@dataclass(frozen=True)
class Scheme:
    """write: see `Write`. argument: the name of its number, None if it has none."""

    write: Write
    argument: str | None = None


def _each(fill: Callable[[Tensor, float], Any], *, keeps_biases: bool = False) -> Write:
    """Fills each matrix (outputs, inputs, ...) by itself; biases become zero, unless they are kept."""

    def write(layers: Sequence[Layer], value: float, setup: Setup, anatomy: Anatomy) -> None:
        for layer in layers:
            for matrix in layer.matrices():
                fill(matrix, value)
            if layer.bias is not None and not keeps_biases:
                layer.bias.zero_()

    return write


def _he(weight: Tensor, _: float) -> None:
    init.kaiming_normal_(weight, nonlinearity="relu")


def _lecun(weight: Tensor, _: float) -> None:
    init.kaiming_normal_(weight, nonlinearity="linear")


def _xavier(weight: Tensor, _: float) -> None:
    init.xavier_uniform_(weight)


def _normal(weight: Tensor, std: float) -> None:
    init.normal_(weight, std=std)


def _uniform(weight: Tensor, a: float) -> None:
    init.uniform_(weight, -a, a)


def _scale(weight: Tensor, factor: float) -> None:
    weight.mul_(factor)


def _orthogonal(layers: Sequence[Layer], _: float, setup: Setup, anatomy: Anatomy) -> str:
    gains = zero_bias_gains(layers, setup, anatomy)
    _each(lambda weight, _: orthogonal(weight))(layers, math.nan, setup, anatomy)
    for layer in layers:
        for matrix in layer.matrices():
            if layer.centred:
                isotropic(matrix, gains.get(layer.name, 1.0), centred=True)
            else:
                matrix.mul_(gains.get(layer.name, 1.0))
    return "gain " + ", ".join(sorted({f"{gain:.3g}" for gain in gains.values()}) or "1")


def _critical(layers: Sequence[Layer], _: float, setup: Setup, anatomy: Anatomy) -> str:
    return critical(layers, setup, anatomy)


def _unit_variance(per_unit: bool) -> Write:
    def write(layers: Sequence[Layer], value: float, setup: Setup, anatomy: Anatomy) -> None:
        _each(lambda weight, _: orthogonal(weight))(layers, value, setup, anatomy)
        unit_variance(layers, setup, anatomy, per_unit=per_unit)

    return write


SCHEMES: Mapping[str, Scheme] = {
    "he": Scheme(_each(_he)),
    "xavier": Scheme(_each(_xavier)),
    "lecun": Scheme(_each(_lecun)),
    "orthogonal": Scheme(_orthogonal),
    "critical": Scheme(_critical),
    "lsuv": Scheme(_unit_variance(per_unit=False)),
    "data": Scheme(_unit_variance(per_unit=True)),
    "normal": Scheme(_each(_normal, keeps_biases=True), "std"),
    "uniform": Scheme(_each(_uniform, keeps_biases=True), "a"),
    "scale": Scheme(_each(_scale, keeps_biases=True), "factor"),
}
ALIASES = {"kaiming": "he", "glorot": "xavier"}


@dataclass(frozen=True)
class Init(Remedy):
    """Draws the weights anew (`scale` multiplies them). Biases become zero, as these schemes were derived for, or what
    centres (critical, data); normal, uniform and scale leave them, since the variance of the weights is their subject.

    critical: see `critical.py`. data: each unit has mean 0 and variance 1 on the first batch, layer after layer; lsuv:
    each layer as a whole. orthogonal: of the gain that is critical for the activation that is read, with zero biases.
    """

    names = ("init",)
    title = "other weights to start from: " + ", ".join(SCHEMES)
    reading = (
        "He et al. 2015, arXiv:1502.01852 (he); Glorot and Bengio 2010, PMLR 9:249 (xavier); LeCun et al. 1998, "
        "doi:10.1007/3-540-49430-8_2 (lecun); Saxe et al. 2014, arXiv:1312.6120 (orthogonal); Poole et al. 2016, "
        "arXiv:1606.05340, Schoenholz et al. 2017, arXiv:1611.01232, Pennington, Schoenholz and Ganguli 2017, "
        "arXiv:1711.04735, Xiao et al. 2018, arXiv:1806.05393, Hayou et al. 2019, arXiv:1902.06853, and Martens et al. "
        "2021, arXiv:2110.01765 (critical); Mishkin and Matas 2016, arXiv:1511.06422 (lsuv); Krähenbühl et al. 2016, "
        "arXiv:1511.06856, and Salimans and Kingma 2016, arXiv:1602.07868 (data); as an introduction Katanforoosh and "
        "Kunin 2019, Initializing neural networks, "
        "https://www.deeplearning.ai/ai-notes/initialization/"
    )
    examples = (
        "init(he)",
        "init(xavier)",
        "init(orthogonal)",
        "init(critical)",
        "init(lsuv)",
        "init(data)",
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

    def lines(self, seen: Observation) -> tuple[str | None, ...]:
        return tuple(op.source for op in seen.traces[0].operations if op.kind == "weights")

    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        initialise(self.scheme, self.value, setup, anatomy)

    def __str__(self) -> str:
        argument = SCHEMES[self.scheme].argument
        return "init" + arguments(self.scheme, **({argument: self.value} if argument else {}))


def initialise(scheme: str, value: float | None, setup: Setup, anatomy: Anatomy) -> None:
    """Overwrite the weights that the trace shows. Draws from torch's global random state.

    Raises NotApplicable where there are none.
    """
    layers = layers_of(setup.model, anatomy.trace)
    with torch.no_grad():
        more = SCHEMES[scheme].write(layers, math.nan if value is None else value, setup, anatomy)
    done = f"{Init(scheme, value)} on {len(layers)} weight tensor{'' if len(layers) == 1 else 's'}"
    setup.changes.append(f"{done}: {more}" if more else done)
