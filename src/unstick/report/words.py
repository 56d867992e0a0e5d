"""What reports say in words, the same on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .style import INTERRUPTED, number, plural

Document = Mapping[str, Any]

NOTHING = {
    True: "Nothing wrong was found.",
    None: "Nothing wrong was found. What shows only in a network that fails was not looked for.",
    False: "None of the rules says why. More --steps may tell; `unstick try` compares changes.",
}
METRIC = "metric: the case's own, after training, mean over the seeds; higher is better."
VERBS = {
    True: " learns: ",
    False: " does not learn: ",
    None: ": whether it learns cannot be told from its losses: ",
}
LOSS = "loss: after training, mean over the seeds."
DECADES = (
    "decades lost: how many times the gradient shrinks by a factor of ten on its way back to the first layer; "
    "below 0, it grows."
)


def losses(learning: Document) -> str:
    """How the loss went, and what an answer without the input would have."""
    steps = plural(learning["steps"], "step")
    moved = f"in {steps} the loss went from {number(learning['initial_loss'])} to {number(learning['final_loss'])}"
    constant = learning.get("constant_loss")
    beside = f"; the best answer that ignores the input would have a loss of {number(constant)}"
    ignores = " Shuffling the targets makes no difference: the network ignores its input."
    return f"{moved}{beside if constant is not None else ''}.{ignores if learning.get('uses_input') is False else ''}"


def metric(diagnosis: Document) -> str:
    """Of the case's own, if it has one."""
    value = diagnosis.get("metric")
    return "" if value is None else f"The case's own metric is {number(value)} after training."


def has_metric(trials: Document) -> bool:
    return any(run.get("metric") is not None for run in (trials["baseline"], *trials["trials"]))


def where(finding: Document) -> str:
    """ "in net.3 (model.py:12), since step 0", as far as it is known."""
    found, since = place(finding), finding.get("since")
    return ", ".join(([f"in {found}"] if found else []) + ([f"since step {since}"] if since is not None else []))


def place(seen: Document) -> str:
    module, source = seen.get("module") or seen.get("op") or "", seen.get("source")
    return f"{module} ({source})" if module and source else module or source or ""


def details(finding: Document) -> Iterator[tuple[str, str]]:
    """What a finding rests on, and where it leads: names, and what they stand for."""
    if finding["cause"]:
        yield "because of", finding["cause"]
    measured = ", ".join(
        f"{name.replace('_', ' ')} {_shown(value)}" for name, value in finding["evidence"].items() if _is_single(value)
    )
    if measured:
        yield "measured", measured
    if finding["remedies"]:
        yield "try", ", ".join(finding["remedies"])
    if finding.get("reading"):
        yield "read", finding["reading"]


def _is_single(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _shown(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else str(value)


def footer(document: Document) -> str:
    versions = [f"{name} {version}" for name, version in document.get("versions", {}).items()]
    return ", ".join([f"{document.get('seconds') or 0.0:.1f} s", *versions])


def recommendation(trials: Document) -> str:
    """The one line to take home."""
    verdicts = {trial["verdict"] for trial in trials["trials"]}
    if trials.get("interrupted") and verdicts <= {"inconclusive"}:
        return "Interrupted before anything was settled."
    stopped = f"{INTERRUPTED} " if trials.get("interrupted") else ""
    if trials["recommended"] is not None:
        return stopped + f"Recommended: {trials['recommended']}"
    if not verdicts:
        return _nothing_to_try(trials["baseline"])
    if verdicts == {"inconclusive"}:
        return "These runs do not settle it: give them more --steps or --seeds."
    return stopped + "None of these changes can be recommended."


def _nothing_to_try(baseline: Document) -> str:
    seen = "the network learns, and" if baseline["learns"] else "the network does not learn, but"
    return (
        f"Nothing to try: {seen} no finding suggests a change. "
        "To compare changes anyway, name them; `unstick remedies` lists them."
    )


def learned(run: Document) -> str:
    """With how many of its seeds."""
    if "learned" not in run:
        return "yes" if run["learns"] else "no"
    return f"{run['learned']} of {plural(run['seeds'], 'seed')}"


def decades(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def difference(trial: Document) -> str:
    """ "-2.00 [-2.50, -1.50]": of the losses with and without the change, with the interval of 95 %."""
    loss = trial["loss"] or {}
    if loss.get("difference") is None:
        return ""
    low, high = (*(loss.get("interval") or ()), None, None)[:2]
    interval = "" if low is None or high is None else f" [{number(low)}, {number(high)}]"
    return f"{number(loss['difference'])}{interval}"


def settled(statement: Document) -> bool:
    """Whether the runs told if its change helps."""
    return bool(statement["verdict"] != "inconclusive")


def listed(numbers: Sequence[int]) -> str:
    """ "2, 3", or "none"."""
    return ", ".join(map(str, numbers)) or "none"
