"""Parts that are there, or are not: normalisation over too few values, no nonlinearity, one without bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..observation import Observation
from ..trace.types import Operation, Trace
from .base import Finding, Rule, Severity
from .gradient import DECADES
from .measures import EXPONENTIAL, failed, fitting_init, trouble

SIGNS_ONLY = 2
"""Two values, normalised together, are +1 and -1 whatever they were."""

FEWEST = 5
"""The squared gradient that passes a batch normalisation is divided by the variance of B values. The mean of its
inverse exists from B = 4 on, and its variance from B = 6 on: up to five, one batch says nothing about the next."""

ENOUGH_VALUES = 16
"""From here on (B - 2) / (B - 3) is below 1.08: thirty layers add half a decade."""

NONLINEAR_WEIGHTS = ("rnn", "gru", "lstm", "bilinear", "embedding", "multi_head")
LINEAR = frozenset({
    "add", "__add__", "__radd__", "sub", "__sub__", "rsub", "__rsub__", "neg", "mean", "sum", "cat", "concat", "stack",
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
    "dropout", "dropout1d", "dropout2d", "dropout3d", "pad", "batch_norm", "batch_norm_eval",
})  # fmt: skip
"""Names of operations that are linear, or affine, in the signal. Batch normalisation is one once it is trained: then
each sample is shifted and scaled by running averages. What is not here counts as nonlinear, `mul` among it: it may
be a gate."""

BALANCED = math.sqrt(math.e)
"""Root mean square of exp(z) at q = 1/2, the largest q at which the map of `UnboundedActivation` can have a stable
fixed point: its slope there, 2 q, is 1."""

PASSING_ON = frozenset(n for n in LINEAR if "pool" in n or "dropout" in n or n in ("mean", "sum"))


class BatchNormSmallBatch(Rule):
    """Batch normalisation over so few values per channel that the statistics are noise.

    With B values (samples x positions) the squared gradient grows by (B - 2) / (B - 3) at each such layer, beyond what
    it does at large batches: 2 at B = 4, unbounded at 3. At B = 2 nothing is left of the values but their order.

    Ioffe 2017; Wu and He 2018.
    """

    id = "batchnorm-small-batch"
    title = "batch normalisation over too few values"
    reading = "Wu and He 2018, Group normalization, arXiv:1803.08494"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        small = [op for op in seen.traces[-1].operations if _values(op) < ENOUGH_VALUES]
        fewest = min((max(map(_values, _same(op, seen))) for op in small), default=ENOUGH_VALUES)
        growth = sum(map(_growth, small))
        certain = fewest <= SIGNS_ONLY
        if not certain and not (failed(seen) and (fewest <= FEWEST or growth >= DECADES)):
            return
        at = min(small, key=_values)
        yield Finding(
            self.id,
            Severity.ERROR if failed(seen) else Severity.WARNING,
            f"Batch normalisation sees only {fewest} values per channel {_where(small)}, which "
            f"{_harm(fewest, growth)}.",
            module=at.module,
            source=at.source,
            evidence={
                "values_per_channel": fewest,
                "operations": len(small),
                "growth_decades": growth if growth < math.inf else None,
            },
            remedies=("layernorm",),
            since=0,
            reading=self.reading,
        )


def _values(op: Operation) -> float:
    """How many values share one mean and variance; infinite for what is no batch normalisation in training mode."""
    if op.name != "batch_norm" or len(op.shape) < 2 or not op.shape[1]:
        return math.inf
    return math.prod(op.shape) // op.shape[1]


def _same(op: Operation, seen: Observation) -> list[Operation]:
    """This place at every trace: the last batch of an epoch may be smaller than the others."""
    return [o for t in seen.traces for o in t.operations if (o.module, o.site, o.name) == (op.module, op.site, op.name)]


def _growth(op: Operation) -> float:
    """Decades by which the gradient's norm grows because the batch is small."""
    b = _values(op)
    return math.inf if b <= 3 else 0.5 * math.log10((b - 2) / (b - 3))


def _harm(values: float, growth: float) -> str:
    if values <= SIGNS_ONLY:
        return "turns every value into +1 or -1"
    if values <= FEWEST:
        return "is too few for their variance to mean anything: the gradient's scatter knows no bound"
    return f"makes the gradient grow by {growth:.1f} decades more than a large batch would"


def _where(ops: list[Operation]) -> str:
    return f"in {ops[0].label}" if len(ops) == 1 else f"in {len(ops)} places, {ops[0].label} the first"


class MissingNonlinearity(Rule):
    """Several weighted operations, and nothing nonlinear between the first and the last: one linear map.

    Told from what ran, not from the names of classes: every operation between the two that the gradient passed has to
    be a known linear one. A narrow layer in between makes the map one of low rank, which is a purpose (an autoencoder,
    a factorisation, LoRA), so in a network that learns it is a note only where no layer is narrower than both ends.
    Where the network fails, and nothing else explains it, the data may want more than a linear map can give.

    Minsky and Papert 1969; Saxe, McClelland and Ganguli 2014, on what deep linear networks are.
    """

    id = "missing-nonlinearity"
    title = "nothing nonlinear between the layers: together they are one linear map"
    reading = "Saxe, McClelland and Ganguli 2014, Exact solutions to the nonlinear dynamics, arXiv:1312.6120"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        trace = seen.traces[-1]
        weighted = _one_linear_map(trace)
        fails = failed(seen) and not any(f.severity is Severity.ERROR for f in earlier)
        if not weighted or not (fails or (seen.learning.learns and not _low_rank(trace, weighted))):
            return
        at = weighted[0]
        can_only = (
            "this network can learn only what one linear layer can, and here that is no better than a constant"
            if fails
            else "they can do no more than one linear layer"
        )
        yield Finding(
            self.id,
            Severity.ERROR if fails else Severity.INFO,
            f"Nothing nonlinear lies between the {len(weighted)} layers from {at.label} to {weighted[-1].label}: "
            f"{can_only}.",
            module=at.module,
            source=at.source,
            evidence={"layers": len(weighted), "widths": [math.prod(op.shape[1:]) for op in weighted]},
            since=0,
            reading=self.reading,
        )


def _one_linear_map(trace: Trace) -> list[Operation]:
    """The weighted operations of a network that is linear in its input; empty where it is not, or cannot be known."""
    live = [op for op in trace.operations if op.backward is not None]
    weighted = [op for op in live if op.kind == "weights"]
    if len(weighted) < 2 or trace.uncovered or not trace.hidden or trace.hidden[0] is not weighted[0]:
        return []
    between = [op for op in live if weighted[0].index <= op.index <= weighted[-1].index]
    return weighted if all(map(_linear, between)) else []


def _linear(op: Operation) -> bool:
    if op.severed:
        return False
    if op.kind == "weights":
        return len(op.parents) <= 1 and not op.name.startswith(NONLINEAR_WEIGHTS)
    return op.name in LINEAR


def _low_rank(trace: Trace, weighted: list[Operation]) -> bool:
    """Whether a layer in between has fewer numbers per sample than what comes in and what goes out."""
    widths = [math.prod(op.shape[1:]) for op in weighted]
    enters = math.prod(trace.inputs[0].shape[1:]) if trace.inputs else widths[0]
    return min(widths[:-1]) < min(enters, widths[-1])


class UnboundedActivation(Rule):
    """An exponential as a hidden activation. In a network that learns all the same several, one behind
    another, are a note.

    With z ~ N(0, q) before it, E[exp(z)²] = exp(2q): q' = σ_w² exp(2q) has no fixed point unless σ_w² is below 1 / (2e)
    = 0.18, and even PyTorch's default for a linear layer is 0.33: the signal grows faster than exponentially with
    depth. Its derivative is its output, so the gradient does the same. An exponential on its way elsewhere (the
    variance of a variational autoencoder, the weights of an attention) is not meant: only one that weights read. And
    one whose outputs stay below the largest stable point of that map is not what makes the network fail.

    Poole et al. 2016, for the map; Philipp, Song and Carbonell 2018, for what follows.
    """

    id = "unbounded-activation"
    title = "an exponential as a hidden activation"
    reading = "Philipp, Song and Carbonell 2018, The exploding gradient problem demystified, arXiv:1712.05577"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        trace = seen.traces[0]
        found = _exponentials(trace)
        ran = [op.forward for t in seen.traces for op in _exponentials(t)]
        severity = trouble(seen) or (Severity.INFO if seen.learning.learns and len(found) > 1 else None)
        if severity is None or all(f.rms <= BALANCED for f in ran) or any(f.rule == _SLOW for f in earlier):
            return
        at = found[0]
        peak = max(f.peak if f.finite else math.inf for f in ran)
        yield Finding(
            self.id,
            severity,
            f"{at.name} is a hidden activation {_where(found)}: its slope is its own output, so signal and gradient "
            f"grow faster than any initialisation can balance (largest value {peak:.2g}).",
            module=at.module,
            source=at.source,
            evidence={"operations": len(found), "largest_value": peak, "rms_first": found[0].forward.rms},
            remedies=("tanh+init(xavier)", f"relu+{fitting_init(trace)}"),
            since=0,
            reading=self.reading,
        )


_SLOW = "learning-rate-too-low"


def _exponentials(trace: Trace) -> list[Operation]:
    """Exponentials on the trunk that weights read, with nothing in between but what pools, drops or normalises."""
    found = []
    for place, op in enumerate(trace.hidden):
        following = trace.hidden[place + 1 :]
        direct = next((o for o in following if o.kind != "normalisation" and o.name not in PASSING_ON), None)
        if op.name in EXPONENTIAL and (direct is None or direct.kind == "weights"):
            found.append(op)
    return found
