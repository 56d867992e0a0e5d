"""What the theory says of one network of equal layers, as the document that reports are drawn from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from .chain import State, Weights, propagate
from .critical import Edge, edge_of_chaos
from .functions import Function, function
from .initial import initialisation
from .meanfield import mean_field
from .moments import LARGEST, growth, moments
from .uniform import Norm, Side, Uniform

UNLIKE = ("gelu", "silu", "hardswish")
"""Activations seen to break the symmetry between samples within 50 layers."""
AMPLIFIED = 2.0
"""An amplification that is worth a note."""


def summary(
    activation: str,
    *,
    init: str | None = None,
    std: float | None = None,
    depth: int = 30,
    width: int | None = None,
    norm: Norm | None = None,
    side: Side = "before",
    batch: int | None = None,
) -> dict[str, Any]:
    """The document "unstick/theory/1". null stands for what is infinite, or endless; see docs/theory.md for the fields.

    init: None for PyTorch's default, or for normal weights where a `std` is given. Data are standardised and their
    samples independent. Raises TheoryError for what the theory does not know.
    """
    f = function(activation)
    name = init or ("default" if std is None else "normal")
    weights = initialisation(name, width, std=std, activation=f)
    network = Uniform(f, weights, norm, side, batch, width)
    reach = network.reach()
    return {
        "schema": "unstick/theory/1",
        "activation": f.name,
        "network": {"depth": depth, "width": width, "norm": norm, "side": side if norm else None, "batch": batch},
        "weights": {"name": name, **_variances(weights, width)},
        "gradient": _gradient(network, depth),
        "forward": _forward(network, depth),
        "reach": {"layers": _number(reach.layers), "reason": reach.reason},
        "rest": _rest(f, weights) if norm is None else None,
        "edge": _edge(edge_of_chaos(f, weights.bias_variance), width),
        "critical": _edge(edge_of_chaos(f, None), width),
        "notes": list(_notes(network, depth)),
    }


def _gradient(network: Uniform, depth: int) -> dict[str, Any]:
    """Its way from the last hidden layer back to the first."""
    layers = network.layer_decades(depth)
    decades = sum(layers)
    return {
        "gain": _number(10.0 ** (decades / len(layers))) if layers else None,
        "decades": _number(decades),
        "layers": [_number(each) for each in layers],
    }


def _forward(network: Uniform, depth: int) -> dict[str, Any]:
    """Second moment behind the last hidden layer, and the share of it that differs between samples."""
    last = propagate(State(), network.operations(depth))[-1].state
    return {"q": last.q if last.q < LARGEST else None, "between": last.between}


def _rest(f: Function, weights: Weights) -> dict[str, Any]:
    field = mean_field(f, weights.weight_variance, weights.bias_variance)
    scales = {name: _number(getattr(field, name)) for name in ("q", "c", "chi", "gain", "xi_q", "xi_c", "xi_gradient")}
    return {**scales, "phase": field.phase}


def _edge(edge: Edge | None, width: int | None) -> dict[str, Any] | None:
    return None if edge is None else {**_variances(edge, width), "q": edge.q}


def _variances(of: Weights | Edge, width: int | None) -> dict[str, Any]:
    """σ_w², σ_b², and the standard deviations that a layer of this width is to be filled with."""
    return {
        "weight_variance": of.weight_variance,
        "bias_variance": of.bias_variance,
        "weight_std": math.sqrt(of.weight_variance / width) if width else None,
        "bias_std": math.sqrt(of.bias_variance),
    }


def _notes(network: Uniform, depth: int) -> Iterator[str]:
    """Where networks are known to differ from this theory; docs/theory-gains.md has the measurements.

    In ReLU networks ln|g|² has the variance 5 depth/width (Hanin and Nica 2020, https://arxiv.org/abs/1812.05994).
    """
    name = function(network.activation).name
    if network.norm == "batchnorm" and network.side == "before" and name in UNLIKE:
        yield (
            f"Behind batch normalisation {name} makes some samples unlike all others, which the theory does not "
            "follow: the gradient of real networks grows faster."
        )
    if network.norm is None and (factor := _amplification(network, depth)) > AMPLIFIED:
        yield (
            f"The variance does not come to rest here: what chance does in the first layer is amplified {factor:.1f} "
            "times, so that networks of finite width differ from this and from one another."
        )
    if network.width and depth > network.width / 5.0:  # the variance below is above 1
        scatter = math.exp(0.5 * math.sqrt(5.0 * depth / network.width))
        yield (
            f"{depth} layers of width {network.width} are narrow for the theory: gradients of single networks scatter, "
            f"with ReLU by a factor of {scatter:.1f} either way."
        )


def _amplification(network: Uniform, depth: int) -> float:
    """Relative change of the variance anywhere behind, for a relative change in the first layer: its largest."""
    f, w, b = function(network.activation), network.weights.weight_variance, network.weights.bias_variance
    q, factor, largest = w + b, 1.0, 1.0
    for _ in range(depth - 1):
        after = w * moments(f, 0.0, q)[1] + b
        if not 0.0 < after < LARGEST:
            break
        factor *= w * growth(f, q) * q / after
        q, largest = after, max(largest, factor)
    return largest


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
