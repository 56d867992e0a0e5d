"""The tables of the terminal, and docs/injected.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .hosts import HOSTS
from .plain import Outcome
from .score import BY_ID, CRASH, NOTHING, Answer, Row, averages, confusion, rows
from .table import INJECTORS, NOT_INJECTED

INTRODUCTION = """# Injected faults

Does `unstick` find a fault that we put in ourselves, and does it name it first? Twelve small healthy networks of
different kinds each get every fault that suits them, one at a time. `python benchmarks/injected/run.py` makes this
page.

A pair of fault and network **counts** only if the fault does harm: the same network is trained for {steps} steps in a
plain loop that shares nothing with the tool, with the fault and without it, and its skill (accuracy above that of the
commonest class, or explained variance) or its loss, as a share of the best constant output's, must be worse by 0.1. The
others are listed apart. **Recall**: a right name is among the findings. **Named first**: it is the first of them. Which
names are right for which fault, and why, was written down before the tool had seen any of the pairs. Averages give each
rule the same weight; intervals are Wilson's, at 95 %. The hosts are split into two halves, in turns in the order of
their names: rules were improved while looking at the half *tune*, never at the half *held*.
"""


def summary(answers: Iterable[Answer]) -> str:
    """For the terminal."""
    kept = list(answers)
    parts = []
    for half in ("tune", "held", "both"):
        table = rows(a for a in kept if half in (a.half, "both"))
        recall, first = averages(table)
        parts.append(f"{half}: recall {recall:.1%}, named first {first:.1%}, averaged over rules")
    lines = [f"{r.rule:24} recall {r.recall!s:24} first {r.first!s:24} apart {r.apart}" for r in rows(kept)]
    lines += [f"{rule:24} {_counts(c)}" for rule, c in confusion(kept).items()]
    return "\n".join([*lines, *parts])


def page(answers: Iterable[Answer], steps: int) -> str:
    kept = sorted(answers, key=lambda a: (list(BY_ID).index(a.injector) if a.injector in BY_ID else -1, a.host))
    injected = [a for a in kept if a.injector in BY_ID]
    parts = [
        INTRODUCTION.format(steps=steps),
        f"{len(injected)} pairs, of which {sum(a.counts for a in injected)} count. {_states(kept)}\n",
        "## Results\n", _averages(injected), _results(rows(injected)),
        "## Confusion\n\nEach row is the fault that was put in, with what was named first.\n", _confusion(injected),
        "## The hosts\n\nWithout a fault.\n", _hosts([a for a in kept if a.injector not in BY_ID]),
        "## The faults, and which names are right\n", _injectors(),
        "## Failures, one by one\n", _failures(injected),
        "## Apart: faults that do no harm\n", _apart(injected),
        "## Left out\n", _left_out(),
    ]  # fmt: skip
    return "\n".join(parts).rstrip() + "\n"


def table(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    cells = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |" for line in cells) + "\n"


def _states(answers: Sequence[Answer]) -> str:
    states = {a.code for a in answers}
    return "" if len(states) < 2 else f"The answers come from {len(states)} states of the package: run it again."


def _averages(answers: Sequence[Answer]) -> str:
    def line(name: str, half: Sequence[Answer]) -> list[str]:
        recall, first = averages(rows(half))
        counted = sum(a.counts for a in half)
        return [name, str(counted), f"{recall:.1%}", f"{first:.1%}"]

    halves = {h: [a for a in answers if a.half == h] for h in ("tune", "held")}
    fails = [a for a in answers if a.injected.fails]
    some = [a for a in answers if not a.injected.fails]
    lines = [line(h, part) for h, part in halves.items()]
    lines += [
        line("both", answers),
        line("the network learns nothing", fails),
        line("it learns, but worse", some),
    ]
    return table(("half", "pairs", "recall", "named first"), lines)


def _results(found: Sequence[Row]) -> str:
    return table(
        ("fault", "recall", "named first", "apart"), ([f"`{r.rule}`", r.recall, r.first, r.apart] for r in found)
    )


def _confusion(answers: Sequence[Answer]) -> str:
    counted = confusion(answers)
    return table(("fault", "named first"), ([f"`{rule}`", _counts(c)] for rule, c in counted.items()))


def _counts(counter: dict[str, int]) -> str:
    ordered = sorted(counter.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count}" for name, count in ordered)


def _hosts(answers: Sequence[Answer]) -> str:
    by_name = {a.host: a for a in answers}
    lines = (
        [name, HOSTS[name].half, HOSTS[name].kind, _outcome(a.healthy), _said(a)]
        for name in HOSTS
        if (a := by_name.get(name)) is not None
    )
    return table(("host", "half", "targets", "plain training", "findings"), lines)


def _injectors() -> str:
    lines = ([f"`{i.id}`", i.what, ", ".join((i.rule, *i.also)), i.reason] for i in INJECTORS)
    return table(("fault", "how", "right names", "why more than one"), lines)


def _failures(answers: Sequence[Answer]) -> str:
    missed = [a for a in answers if a.counts and not a.named_first]
    lines = (
        [f"`{a.injector}`", a.host, a.half, f"{_outcome(a.healthy)} → {_outcome(a.injected)}",
         {True: "it learns", False: "it does not learn", None: ""}[a.learns],
         "not first" if a.found else "missed", _said(a)]
        for a in missed
    )  # fmt: skip
    return (
        table(("fault", "host", "half", "plain training", "to the tool", "", "findings"), lines)
        if missed
        else "None.\n"
    )


def _apart(answers: Sequence[Answer]) -> str:
    harmless = [a for a in answers if not a.counts]
    lines = ([f"`{a.injector}`", a.host, f"{_outcome(a.healthy)} → {_outcome(a.injected)}", _said(a)] for a in harmless)
    return table(("fault", "host", "plain training", "findings"), lines) if harmless else "None.\n"


def _left_out() -> str:
    whole = [[f"`{rule}`", "all", why] for rule, why in NOT_INJECTED.items()]
    reasons: dict[tuple[str, str], list[str]] = {}
    for injector in INJECTORS:
        for host in HOSTS.values():
            if (why := injector.suits(host)) is not None:
                reasons.setdefault((injector.id, why), []).append(host.name)
    some = [[f"`{name}`", ", ".join(hosts), why] for (name, why), hosts in reasons.items()]
    return table(("fault", "hosts", "why"), whole + some)


def _said(a: Answer) -> str:
    if a.error:
        return f"{CRASH} {a.error}"
    return ", ".join(f"{r} ({s})" for r, s in zip(a.findings, a.severities, strict=True)) or NOTHING


def _outcome(o: Outcome) -> str:
    """Skill, and the loss as a share of the best constant output's."""
    return "diverges" if o.skill != o.skill else f"{o.skill:.3g} / {o.loss:.3g}"
