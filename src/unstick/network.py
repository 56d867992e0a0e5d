"""A traced network as part of a document: operation by operation, what went forward and what came back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .prediction import Prediction, predict
from .trace.attribution import attenuation
from .trace.types import KINDS, Attenuation, Operation, Trace

NOTHING = Trace(step=0, loss=math.nan, operations=(), path=(), inputs=(), parameters=(), uncovered=())


def described(traces: Sequence[Trace]) -> dict[str, Any]:
    """The fields of a document that say what a run's network is like, and what theory expects of it.

    They are those of the first trace in which the gradient's way can be measured, before training has changed the
    question; of the first of all where that is none of them.
    """
    trace = next((trace for trace in traces if attenuation(trace) is not None), next(iter(traces), NOTHING))
    lost = attenuation(trace)
    expected = predict(trace)
    return {
        "attenuation_decades": lost.decades if lost else None,
        "attenuation_truncated": lost.truncated if lost else None,
        "attribution": dict(lost.parts) if lost else dict.fromkeys(KINDS),
        "theory": _theory(expected),
        "path": _path(trace, lost, expected),
        "layers": [_layer(op) for op in trace.operations],
    }


def _theory(expected: Prediction | None) -> dict[str, Any] | None:
    """What mean-field theory says of the network in the trace that is shown."""
    if expected is None:
        return None
    reach = expected.reach
    return {
        "decades": expected.decades,
        "measured": expected.measured,
        "scatter": expected.scatter,
        "gap": expected.gap,
        "layers": expected.layers,
        "reach": reach.layers if reach else None,
        "reason": reach.reason if reach else None,
        "sentence": expected.sentence,
    }


def _path(trace: Trace, lost: Attenuation | None, expected: Prediction | None) -> list[dict[str, Any]]:
    """The hidden operations along the trunk. decades: log10 of the gradient's norm behind each; expected: as theory
    expects it to come back from the last. lost, lost_in: the decades that are lost between it and the one before, and
    the kind of operation that this is given to; None for the first, and where the gradient cannot be measured."""
    terms = {index: (decades, kind) for index, kind, decades in lost.terms} if lost else {}
    last = _decades(trace.hidden[-1]) if trace.hidden else None
    fading = expected.path if expected and last is not None else (None,) * len(trace.hidden)
    return [
        {
            "index": op.index,
            "module": op.module,
            "op": op.name,
            "kind": op.kind,
            "source": op.source,
            "decades": _decades(op),
            "expected": last - decades if last is not None and decades is not None else None,
            "lost": terms.get(op.index, (None, None))[0],
            "lost_in": terms.get(op.index, (None, None))[1],
        }
        for op, decades in zip(trace.hidden, fading, strict=True)
    ]


def _decades(op: Operation) -> float | None:
    norm = op.backward.norm if op.backward else 0.0
    return math.log10(norm) if 0 < norm < math.inf else None


def _layer(op: Operation) -> dict[str, Any]:
    return {
        "module": op.module,
        "op": op.name,
        "kind": op.kind,
        "source": op.source,
        "shape": list(op.shape),
        "forward": asdict(op.forward),
        "backward": asdict(op.backward) if op.backward else None,
    }
