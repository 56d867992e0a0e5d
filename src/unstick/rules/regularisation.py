"""Regularisation that leaves nothing to learn with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..observation import Observation
from ..trace.types import Operation, ParameterStep, Trace
from .base import Finding, Rule, Severity
from .gradient import DECADES
from .measures import failed, gradient, long_enough, optimizer_line, trouble

DROPPED = 0.9
"""Where a share p is dropped and the rest scaled up, noise of p / (1 - p) times the signal's power is added: nine times
at 0.9. Srivastava et al. 2014 find underfitting from 0.8 on (figure 9)."""

SAMPLING = 0.02
"""Three standard deviations of a share of 0.9 that is counted in 2,000 values: 3 sqrt(0.9 x 0.1 / 2000)."""


class OverRegularised(Rule):
    """Weight decay, or a penalty, that shrinks the weights to nothing; dropout that lets nothing through.

    Decay is told by what it does: the norms of the weight matrices have fallen from trace to trace, until their
    product, which is what carries the signal, has lost two decades, in a network whose gradient was well at the first
    step. A decay of 0.1 in AdamW, or of 5e-4 in SGD, does not do that in any usual run. Dropout is told from the
    gradients that it does not let through.

    Krogh and Hertz 1992; Srivastava et al. 2014.
    """

    id = "over-regularised"
    title = "weight decay or dropout leaves nothing to learn with"
    reading = "Srivastava et al. 2014, Dropout: a simple way to prevent neural networks from overfitting, JMLR 15:1929"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        if _fails(seen) and _sound_at_first(seen):
            yield from self._decay(seen)
        if severity := trouble(seen):
            yield from self._dropout(seen.traces[-1], severity)

    def _decay(self, seen: Observation) -> Iterator[Finding]:
        decay = seen.optimizer.weight_decay if seen.optimizer else None
        first, last = (_matrices(seen.traces[i]) for i in (0, -1))
        pairs = [(before, last[name]) for name, before in first.items() if name in last]
        decades = sum(_shrunk(before, after) for before, after in pairs)
        penalised = seen.learning.constant_loss is None  # a training step of the user's own, which may add one
        if not (decay or penalised) or decades < DECADES:
            return
        worst, now = max(pairs, key=lambda pair: _shrunk(*pair))
        at = next((op for op in seen.traces[-1].operations if op.parameter == worst.name), None)
        by = f"A weight decay of {decay:g}" if decay else "Something in the loss, such as a penalty,"
        yield Finding(
            self.id,
            Severity.ERROR,
            f"{by} shrinks the weights to nothing: in {seen.learning.steps} steps {worst.name} went from a norm of "
            f"{worst.norm:.2g} to {now.norm:.2g}, and the product of the {len(pairs)} matrices lost {decades:.1f} "
            f"decades.",
            module=worst.name.rpartition(".")[0] or None,
            source=(optimizer_line(seen) if decay else None) or (at.source if at else None),
            evidence={
                "weight_decay": decay,
                "decades": decades,
                "norm_before": worst.norm,
                "norm_after": now.norm,
                "matrices": len(pairs),
            },
            remedies=("adam",) if decay else (),
            since=next((t.step for t in seen.traces if _lost(first, t) >= DECADES), None),
            reading=self.reading,
        )

    def _dropout(self, trace: Trace, severity: Severity) -> Iterator[Finding]:
        found = [(share, op) for op in trace.hidden if (share := _dropped(trace, op)) is not None]
        heavy = [(share, op) for share, op in found if share >= DROPPED - SAMPLING]
        if not heavy:
            return
        share, at = max(heavy, key=lambda pair: pair[0])
        yield Finding(
            self.id,
            severity,
            f"Dropout lets next to nothing through: {at.label} drops {share:.0%} of the values, and adds noise of "
            f"{share / (1 - share):.0f} times the signal's power to the rest. Layers like that: {len(heavy)}.",
            module=at.module,
            source=at.source,
            evidence={"dropped": share, "operations": len(heavy)},
            since=0,
            reading=self.reading,
        )


def _fails(seen: Observation) -> bool:
    """It does not learn; or its loss falls, with a step of the user's own, while it pays no heed to its input."""
    return failed(seen) or (seen.learning.uses_input is False and long_enough(seen))


def _sound_at_first(seen: Observation) -> bool:
    """The gradient did not vanish before any step was taken."""
    state = gradient(seen, DECADES)
    return state is None or state.first.decades < DECADES


def _matrices(trace: Trace) -> dict[str, ParameterStep]:
    """Weight matrices that the optimizer moves, by name."""
    return {
        p.name: p for p in trace.parameters if p.trainable and p.held and p.gradient is not None and len(p.shape) > 1
    }


def _shrunk(before: ParameterStep, after: ParameterStep) -> float:
    """Decades by which a norm has fallen; 0 where it has grown, or is no number."""
    if not before.norm or not math.isfinite(before.norm) or not math.isfinite(after.norm):
        return 0.0
    return max(0.0, math.log10(before.norm / after.norm)) if after.norm else math.inf


def _lost(first: dict[str, ParameterStep], trace: Trace) -> float:
    return sum(_shrunk(first[name], p) for name, p in _matrices(trace).items() if name in first)


def _dropped(trace: Trace, op: Operation) -> float | None:
    """The share that a dropout drops: of the gradients that reach it, those that do not get past it. None for other
    operations, and where nothing reaches it."""
    if "dropout" not in op.name or not op.parents:
        return None
    before, after = trace.operations[op.parents[0]].backward, op.backward
    if before is None or after is None or not after.zeros < 1.0:
        return None
    return 1.0 - (1.0 - before.zeros) / (1.0 - after.zeros)
