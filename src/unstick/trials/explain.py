"""A comparison, told in one or two plain sentences made from its numbers."""

from __future__ import annotations

import math

from ..report.style import number
from .verdict import Comparison, restored


def explain(seen: Comparison) -> str:
    """What happened to the loss, how often the network learned, and what became of the gradient."""
    return " ".join(filter(None, [outcome(seen), _mechanism(seen)]))


def outcome(seen: Comparison) -> str:
    """What happened to the loss, and how often the network learned."""
    if not seen.seeds:
        return "No pair of runs was finished."
    before, after = seen.learned
    learned = f"it learns with {after} of {seen.seeds} seeds, the unchanged network with {before}"
    if any(2 * count > seen.seeds for count in seen.diverged):
        return _divergence(seen)
    if seen.loss is None or seen.difference is None or seen.interval is None:
        return f"Fewer than two pairs of runs stayed finite ({_diverged(seen)}): {learned}."
    old, new = seen.loss
    low, high = seen.interval
    change = f"{seen.difference:+.3g}, 95 % interval {low:+.3g} to {high:+.3g}"
    match seen.direction:
        case "open":
            text = f"After {seen.seeds} seeds the change in loss is still not settled ({change}); {learned}."
        case "within":
            text = (
                f"The loss stays at {number(new)} ({change}), within {seen.margin:.2g} of the unchanged one; {learned}."
            )
        case "above":
            text = f"The loss rises from {number(old)} to {number(new)} ({change}); {learned}."
        case "below" if seen.learns[1]:
            text = f"The loss falls from {number(old)} to {number(new)} ({change}); {learned}."
        case _:
            text = (
                f"The loss falls from {number(old)} to {number(new)} ({change}), yet the network does not learn: "
                f"its answers are no better than one that ignores the input ({learned})."
            )
    return text + (f" Not counted in the loss: {_diverged(seen)}." if any(seen.diverged) else "")


def _divergence(seen: Comparison) -> str:
    before, after = seen.diverged
    return (
        f"The training diverges with {after} of {seen.seeds} seeds, that of the unchanged network with {before}; "
        f"they learn with {seen.learned[1]} and {seen.learned[0]}."
    )


def _diverged(seen: Comparison) -> str:
    before, after = seen.diverged
    return f"{after} of {seen.seeds} runs diverged with the change, {before} without it"


def _mechanism(seen: Comparison) -> str:
    before, after = seen.decades
    parts = []
    if after is not None and before is not None:
        parts.append(f"The gradient {gradient(after)} on its way to the first layer; unchanged, it {gradient(before)}.")
    if seen.verdict == "helps" and not seen.learns[0] and seen.cause is not None and not seen.cause_gone:
        parts.append(f"What was found first, {seen.cause}, is still there.")
    return " ".join(parts)


def gradient(decades: float) -> str:
    """What happens to the gradient, as the end of a sentence: "loses 15.7 decades"."""
    if math.isclose(decades, 0.0, abs_tol=0.05):
        return "keeps its size"
    verb = "loses" if decades > 0 else "grows by"
    healthy = "only " if restored(decades) else ""
    return f"{verb} {healthy}{abs(decades):.1f} decades"
