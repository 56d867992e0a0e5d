"""Weights and biases on the edge of chaos, for the activations that the network has.

A layer that reads φ(h), h normal with variance q, multiplies the squared gradient norm by σ_w² E[φ'(√q z)²] on average
(Schoenholz et al. 2017, arXiv:1611.01232). So σ_w² = 1/E[φ'²] neither loses nor amplifies it. Three choices are left:

- *Biases* centre what a layer reads: b = -W E[φ]. Else the mean, which all samples share, takes over the signal: of a
  sigmoid it is 0.5. A sigmoid with weights of gain 4 and b = -W/2 is a tanh network at its critical point. What has a
  kink at zero, like ReLU, is left uncentred: it is proportional to its scale, so σ_w² = 1/E[φ'²] keeps q as well (He et
  al. 2015, arXiv:1502.01852), while the centred one would lose a share of q in every layer.
- *The variance q*: where the gradient keeps its norm, and what is read is centred, q falls by Var φ / E[φ'²] <= q in a
  layer (Poincaré's inequality), and angles between samples that are alike grow by the root of the inverse. Over all
  layers that makes q_1/q_L, the slope of the whole network's correlation map. It is held to 1.5, as in deep kernel
  shaping (Martens et al. 2021, arXiv:2110.01765), by starting with a small enough q_1: about 0.7/√L for
  tanh. So the deeper a network, the more nearly linear it starts. A sample that is larger than others has another
  mean E[φ] than the biases take away, and with a bent φ like GELU it can run away: its variance may not grow by more
  than the same factor.
- *The matrices* are orthogonal, so that all singular values are as the average is (Saxe et al. 2014, arXiv:1312.6120;
  Pennington, Schoenholz and Ganguli 2017, arXiv:1711.04735, on why sigmoids and tanh then train in great depth).

Weights that read data are scaled by what was measured of it, and those of the output give it unit variance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from ..errors import NotApplicable, TheoryError
from ..setup import Anatomy, Setup
from ..theory import Function, edge_of_chaos, function
from ..theory.moments import moments
from ..trace.types import Operation, Trace
from .layers import LINEAR, Layer, isotropic, retraced

SLOPE = 1.5
"""By how much the angles between similar samples may grow through the whole network (Martens et al. 2021)."""
SMALLEST = 1e-6
"""A variance at which only the slope at zero counts. At it, one with a kink there loses a share of q that does not get
smaller with q (0.32 for ReLU)."""
KINKED = 1e-2
FLAT = 1e-3
ROUNDING = 1e-12
CLOSE = 1.01
"""How exactly q_1 is found: the slope hardly depends on it."""

IDENTITY = function("identity")


@dataclass(frozen=True)
class Reads:
    """What a layer multiplies: φ(h), where h is the output of the layer `behind`, or, where that is None, something
    that was measured and has this mean and variance: data, an embedding, the output of a normalisation."""

    layer: str
    behind: str | None
    function: Function = IDENTITY
    mean: float = 0.0
    variance: float = 1.0


@dataclass(frozen=True)
class Start:
    """How a layer is to start. gain: σ_w. mean: of what it reads, for its biases to take away. q: its output's
    variance."""

    gain: float
    mean: float
    q: float


def critical(layers: Sequence[Layer], setup: Setup, anatomy: Anatomy) -> str:
    """Overwrites all weights and biases; returns what it did, in words. What is inside of fused recurrent and attention
    operations gets orthogonal weights of gain 1 and zero biases."""
    trace = retraced(setup, anatomy.batches[0])
    read = reads(layers, setup.model, trace)
    plan = starts(read, frozenset(layer.name for layer in layers if _can_centre(layer)), _largest(trace))
    for layer in layers:
        start = plan.get(layer.name, Start(1.0, 0.0, 1.0))
        for matrix in layer.matrices():
            isotropic(matrix, start.gain, layer.centred)
        if layer.bias is not None:
            layer.bias.zero_()
        if layer.bias is not None and start.mean:
            layer.bias.copy_(_taken_away(layer, start.mean))
    return _in_words(read, plan)


def zero_bias_gains(layers: Sequence[Layer], setup: Setup, anatomy: Anatomy) -> dict[str, float]:
    """σ_w of each layer that is critical with zero biases, for the activation that it reads: 1 for tanh, √2 for ReLU,
    10.1 for sigmoid. Where no such fixed point exists (GELU), or the activation is not known: of unit variance, or 1.
    """
    read = reads(layers, setup.model, retraced(setup, anatomy.batches[0]))
    return {r.layer: _zero_bias_gain(r.function) for r in read}


def _zero_bias_gain(f: Function) -> float:
    edge = edge_of_chaos(f, 0.0)
    slope = moments(f, 0.0, 1.0)[2] if edge is None else 1.0 / edge.weight_variance
    return 1.0 / math.sqrt(slope) if slope else 1.0


# -- the network, as the theory sees it --------------------------------------------------------------------------------


def reads(layers: Sequence[Layer], model: nn.Module, trace: Trace) -> tuple[Reads, ...]:
    """What each layer reads where it is used first; a layer that is used again, such as a recurrent one, where it first
    reads an activation. Where signals join, the latest counts. Raises NotApplicable for an activation that the theory
    does not know."""
    names = {layer.name for layer in layers}
    functions: dict[tuple[str, str], Function] = {}
    known: dict[str, Reads] = {}
    signals: list[Reads | None] = []  # what comes out of each operation; None: the data
    for op in trace.operations:
        signal = next((s for p in sorted(op.parents, reverse=True) if (s := signals[p]) is not None), None)
        if op.kind == "weights" and op.name in LINEAR and op.parameter in names:
            _remember(known, replace(signal or _data(trace), layer=op.parameter))
            signal = Reads("", op.parameter)
        elif op.kind in ("weights", "normalisation"):
            signal = _measured(op.forward.mean, op.forward.rms)
        elif op.kind == "activation" and signal is not None:
            signal = replace(signal, function=_function(op, model, functions))
        signals.append(signal)
    return tuple(known.values())


def _remember(known: dict[str, Reads], read: Reads) -> None:
    if read.layer not in known or (known[read.layer].behind is None and read.behind is not None):
        known[read.layer] = read


def _data(trace: Trace) -> Reads:
    signal = max(trace.inputs, key=lambda i: i.rms, default=None)
    return _measured(signal.mean, signal.rms) if signal else Reads("", None)


def _measured(mean: float, rms: float) -> Reads:
    variance = rms * rms - mean * mean
    return Reads("", None, mean=mean, variance=variance) if 0.0 < variance < math.inf else Reads("", None)


def _function(op: Operation, model: nn.Module, known: dict[tuple[str, str], Function]) -> Function:
    """With the arguments that its module was given, where a module of torch's made the call; else with the defaults."""
    module = model.get_submodule(op.module) if op.module else model
    own = type(module).__name__.lower() == op.name.replace("_", "") and not any(True for _ in module.parameters())
    key = op.name, module.extra_repr() if own else ""
    try:
        if key not in known:
            known[key] = replace(function(module if key[1] else op.name), name=op.name)
        if moments(known[key], 0.0, SMALLEST)[2] < FLAT:
            raise NotApplicable(f"{op.name} is flat at zero, so no weights are critical for it in a deep network")
    except TheoryError as error:
        raise NotApplicable(f"what is critical for {op.name} is not known: {error}") from None
    return known[key]


# -- what the theory asks for ------------------------------------------------------------------------------------------


def starts(read: Sequence[Reads], with_biases: frozenset[str], largest: float = 1.0) -> dict[str, Start]:
    """With the largest q_1, of 1 at most, that keeps the slope, and keeps a sample whose variance is `largest` times
    the typical one from growing by more."""

    def fits(first: float) -> bool:
        plan = _starts(read, with_biases, first)
        return _slope(plan, read, first) <= SLOPE and _growth(plan, read, first * largest) <= SLOPE

    low, high = SMALLEST, 1.0
    if fits(high):
        return _starts(read, with_biases, high)
    while high > low * CLOSE:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if fits(middle) else (low, middle)
    return _starts(read, with_biases, low)


def _starts(read: Sequence[Reads], with_biases: frozenset[str], first: float) -> dict[str, Start]:
    followed = {r.behind for r in read}
    plan: dict[str, Start] = {}
    for r in read:
        mean, variance, slope = _entering(r, plan, first, r.layer in with_biases)
        q = first if _fresh(r) else variance / slope
        q = q if r.layer in followed else 1.0
        plan[r.layer] = Start(math.sqrt(q / variance), mean, q)
    return plan


def _entering(r: Reads, plan: Mapping[str, Start], first: float, biases: bool) -> tuple[float, float, float]:
    """Mean that biases take away, second moment of what is left, and E[φ'²]."""
    if r.behind is None:
        mean, second, slope = moments(r.function, r.mean, r.variance)
    else:
        mean, second, slope = moments(r.function, 0.0, plan[r.behind].q if r.behind in plan else first)
    centred = biases and _smooth(r.function)
    if not centred:
        return 0.0, second, slope
    return (mean if mean * mean > ROUNDING * second else 0.0), second - mean * mean, slope


def _fresh(r: Reads) -> bool:
    """Nothing whose gradient matters is behind it."""
    return r.behind is None and r.function is IDENTITY


def _smooth(f: Function) -> bool:
    mean, second, slope = moments(f, 0.0, SMALLEST)
    return 1.0 - (second - mean * mean) / (SMALLEST * slope) < KINKED


def _slope(plan: Mapping[str, Start], read: Sequence[Reads], first: float) -> float:
    followed = {r.behind for r in read}
    return max((first / start.q for layer, start in plan.items() if layer in followed), default=1.0)


def _growth(plan: Mapping[str, Start], read: Sequence[Reads], first: float) -> float:
    """By how much a sample grows that enters with this variance, and is centred like all others."""
    followed = {r.behind for r in read}
    own: dict[str, float] = {}
    for r in read:
        start = plan[r.layer]
        if r.behind is None:
            own[r.layer] = first if _fresh(r) else start.q
        elif r.layer in followed:
            mean, second, _ = moments(r.function, 0.0, own.get(r.behind, first))
            own[r.layer] = start.gain**2 * (second - 2.0 * start.mean * mean + start.mean**2)
            if own[r.layer] > SLOPE * first:
                break
    return max((q / first for q in own.values()), default=1.0)


def _largest(trace: Trace) -> float:
    """No sample's variance, behind the weights that read the data, is larger than this many times that of all."""
    first = next((op.forward for op in trace.operations if op.kind == "weights" and not op.parents), None)
    ratio = (first.peak / first.rms) ** 2 if first is not None and first.rms else 1.0
    return ratio if math.isfinite(ratio) else 1.0


def _can_centre(layer: Layer) -> bool:
    """A transposed convolution does not read the same number of inputs at every place."""
    return layer.bias is not None and not (layer.transposed and layer.weight.dim() > 2)


def _taken_away(layer: Layer, mean: float) -> Tensor:
    (matrix,) = layer.matrices()
    return -mean * matrix.flatten(1).sum(1)


def _in_words(read: Sequence[Reads], plan: Mapping[str, Start]) -> str:
    followed = {r.behind for r in read}
    behind: dict[str, list[float]] = {}
    for r in read:
        if r.function is not IDENTITY and r.layer in followed:
            behind.setdefault(r.function.name, []).append(plan[r.layer].gain)
    gains = "; ".join(f"gain {_range(found)} behind {name}" for name, found in behind.items())
    inner = [start.q for layer, start in plan.items() if layer in followed]
    centred = sum(bool(start.mean) for start in plan.values())
    biases = f"biases that centre what {centred} of {len(plan)} layers read" if centred else "zero biases"
    variance = f"pre-activations of variance {_range(inner)}" if inner else ""
    return ", ".join(filter(None, ["orthogonal matrices", gains, biases, variance, "outputs of variance 1"]))


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"
