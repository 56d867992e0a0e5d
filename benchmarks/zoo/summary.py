"""Figures and the documentation's page, from the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from scipy.stats import binomtest

Rows = dict[tuple[str, str], dict[str, Any]]
Run = dict[str, Any]


@dataclass(frozen=True)
class Share:
    """So many of so many, with the exact 95 % interval of Clopper and Pearson (1934)."""

    count: int
    total: int

    @property
    def interval(self) -> tuple[float, float]:
        found = binomtest(self.count, self.total).proportion_ci(method="exact")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        if not self.total:
            return "none of none"
        low, high = self.interval
        return f"{self.count} of {self.total} = {self.count / self.total:.1%} ({low:.1%} to {high:.1%})"


@dataclass(frozen=True)
class Summary:
    """What the results say. Shares are of architectures that are healthy: runs of one architecture are no independent
    witnesses."""

    rows: Rows

    @property
    def healthy(self) -> list[str]:
        return [name for (name, condition), row in self.rows.items() if condition == "health" and row.get("healthy")]

    @property
    def unwell(self) -> list[str]:
        return [
            name for (name, condition), row in self.rows.items() if condition == "health" and not row.get("healthy")
        ]

    @property
    def broken(self) -> list[tuple[str, str, str]]:
        """Architectures that failed by themselves, in our own code."""
        return [(*task, row["broken"]) for task, row in self.rows.items() if "broken" in row]

    @property
    def complete(self) -> list[str]:
        """Healthy architectures that the tool has looked at in both conditions."""
        return [n for n in self.healthy if all("runs" in self.rows.get((n, c), {}) for c in ("fresh", "trained"))]

    def runs(self) -> Iterator[tuple[str, str, Run]]:
        """(architecture, condition, run) of the healthy ones."""
        for name in self.healthy:
            for condition in ("fresh", "trained"):
                for run in self.rows.get((name, condition), {}).get("runs", ()):
                    yield name, condition, run

    def alarms(self, severity: str) -> list[tuple[str, str, Run, dict[str, Any]]]:
        return [
            (name, condition, run, finding)
            for name, condition, run in self.runs()
            for finding in run.get("findings", ())
            if finding["severity"] == severity
        ]

    def exceptions(self) -> list[tuple[str, str, Run]]:
        return [(name, condition, run) for name, condition, run in self.runs() if "exception" in run]

    def changed(self) -> list[tuple[str, str, Run]]:
        return [(name, condition, run) for name, condition, run in self.runs() if run.get("untouched") is False]

    def share(self, severity: str) -> Share:
        """Architectures with such an alarm in any condition and at any number of steps."""
        return Share(len({name for name, *_ in self.alarms(severity)}), len({name for name, *_ in self.runs()}))

    def share_of_runs(self, severity: str, condition: str, steps: int) -> Share:
        chosen = [run for _, c, run in self.runs() if c == condition and run["steps"] == steps]
        return Share(
            sum(any(f["severity"] == severity for f in run.get("findings", ())) for run in chosen), len(chosen)
        )

    @property
    def settings(self) -> list[tuple[str, int]]:
        return sorted({(condition, run["steps"]) for _, condition, run in self.runs()})

    @property
    def uncovered(self) -> Counter[str]:
        """In how many architectures each kind of thing was not seen; what stands before the colon names a place."""
        seen = {(name, _kind(text)) for name, _, run in self.runs() for text in run.get("uncovered", ())}
        return Counter(kind for _, kind in seen)


def _kind(text: str) -> str:
    head, _, tail = text.partition(": ")
    return f"{head}: {tail}" if head.endswith("()") else tail


def print_figures(rows: Rows) -> None:
    seen = Summary(rows)
    print(f"\nhealthy: {len(seen.healthy)}, looked at in both conditions: {len(seen.complete)}")
    print(f"left out because they do not learn: {', '.join(seen.unwell) or 'none'}")
    for severity in ("error", "warning"):
        print(f"architectures with a false {severity}: {seen.share(severity)}")
        for condition, steps in seen.settings:
            print(f"  {condition}, {steps} steps: {seen.share_of_runs(severity, condition, steps)}")
    print(
        f"exceptions: {len(seen.exceptions())}; user's objects changed: {len(seen.changed())}; "
        f"broken: {len(seen.broken)}"
    )
    seconds = [run["seconds"] for _, _, run in seen.runs() if "seconds" in run]
    if seconds:
        print(
            f"seconds of a diagnosis: median {median(seconds):.1f}, longest {max(seconds):.1f}, all {sum(seconds):.0f}"
        )


# -- the page ----------------------------------------------------------------------------------------------------------

INTRODUCTION = """# The zoo of healthy networks

A tool that calls a healthy network sick costs its users their time and then their trust. So `unstick diagnose` is run
on a zoo of networks that are well, and every alarm is a false one.

Each architecture is a small version of one that people use: built from a configuration or written out, with random
weights, a published kind of optimizer and learning rate, and data that can be learned (generated, or scikit-learn's
digits). Nothing is downloaded. A network is called healthy only after plain training, without the tool: up to {steps}
steps with {seeds} seeds, after which the loss on {held} held batches must be at least 10 % below that of the best
constant output (where the loss has none in closed form: below the network's own loss before training). What does not
learn is left out and listed.

The tool looks at each network twice, fresh and after {trained} steps of plain training, each time for 1, 10 and 120
steps: the number of steps changes how long one looks, not what is wrong. An architecture counts as a false alarm if any
of these six runs gives one; runs of one architecture are no independent witnesses. Intervals are exact 95 % ones for
the zoo as a sample of architectures, which is an idealisation: the zoo was collected, not drawn.

To repeat it (about a quarter of an hour on two cores for the health, and as long for the diagnoses):

    pip install -c constraints.txt -e ".[zoo]"
    python benchmarks/zoo/run.py --markdown docs/zoo.md
"""


def write_page(rows: Rows, path: Path) -> None:
    from benchmarks.zoo.catalogue import TRAINED_STEPS, collections
    from benchmarks.zoo.health import HELD_BATCHES, SEEDS, STEPS

    seen = Summary(rows)
    intro = INTRODUCTION.format(steps=STEPS, seeds=len(SEEDS), held=HELD_BATCHES, trained=TRAINED_STEPS)
    parts = [
        intro,
        _figures(seen),
        _by_collection(seen, collections()[0]),
        _alarms(seen),
        _failures(seen),
        _left_out(seen),
        _uncovered(seen),
    ]
    parts += ["## The architectures", *(_collection(seen, c.title, c.members) for c in collections()[0])]
    path.write_text("\n".join(parts))


def _table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows) + "\n"


def _figures(seen: Summary) -> str:
    lines = [["any of the six runs, by architecture", str(seen.share("error")), str(seen.share("warning"))]]
    lines += [
        [f"{condition}, {steps} steps", *(str(seen.share_of_runs(s, condition, steps)) for s in ("error", "warning"))]
        for condition, steps in seen.settings
    ]
    text = _table(["runs", "with an error", "with a warning"], lines)
    seconds = [run["seconds"] for _, _, run in seen.runs() if "seconds" in run]
    tail = f"All six runs are there for {len(seen.complete)} of {len(seen.healthy)} healthy architectures. "
    tail += f"Exceptions of the tool: {len(seen.exceptions())}. "
    tail += f"Runs that changed anything of the user's: {len(seen.changed())}. "
    tail += f"A diagnosis took {median(seconds):.1f} s in the median, {max(seconds):.1f} s at most." if seconds else ""
    return f"## Figures\n\n{text}\n{tail}\n"


def _by_collection(seen: Summary, collections: Any) -> str:
    """So that a reader can set aside the many that vary one small network (activations, optimisers, losses)."""
    lines = []
    for collection in collections:
        names = set(collection.members) & set(seen.healthy)
        flagged = [str(len({n for n, *_ in seen.alarms(s)} & names)) for s in ("error", "warning")]
        lines.append([collection.title, str(len(names)), *flagged])
    return _table(["collection", "healthy architectures", "with an error", "with a warning"], lines)


def _alarms(seen: Summary) -> str:
    """One line for each architecture and rule, with the runs in which it spoke and the sentence of the longest."""
    together: dict[tuple[str, str, str], list[tuple[str, Run, str]]] = {}
    for severity in ("error", "warning", "info"):
        for name, condition, run, f in seen.alarms(severity):
            together.setdefault((name, f["rule"], severity), []).append((condition, run, f["summary"]))
    lines = [
        f"- **{name}**, `{rule}` ({severity}), {_where(found)}. {found[-1][2]}"
        for (name, rule, severity), found in together.items()
    ]
    return "## Every alarm\n\n" + ("\n".join(lines) or "None.") + "\n"


def _where(found: list[tuple[str, Run, str]]) -> str:
    conditions = dict.fromkeys(condition for condition, *_ in found)
    return "; ".join(
        f"{c} at {', '.join(str(run['steps']) for x, run, _ in found if x == c)} steps" for c in conditions
    )


def _failures(seen: Summary) -> str:
    found = {(name, run["exception"], run["message"]): None for name, _, run in seen.exceptions()}
    lines = [f"- **{name}**: {kind}: {message}" for name, kind, message in found]
    return "## Exceptions of the tool\n\n" + ("\n".join(lines) or "None.") + "\n"


def _left_out(seen: Summary) -> str:
    lines = [f"- {name}: {_losses(seen.rows[name, 'health'])}" for name in seen.unwell]
    lines += [f"- {name} ({condition}) fails by itself: {why}" for name, condition, why in seen.broken]
    return "## Left out, because plain training did not show that they learn\n\n" + ("\n".join(lines) or "None.") + "\n"


def _uncovered(seen: Summary) -> str:
    lines = [[kind, str(count)] for kind, count in seen.uncovered.most_common()]
    return "## What the trace could not see\n\n" + _table(["what", "architectures"], lines)


def _losses(row: dict[str, Any]) -> str:
    if "seeds" not in row:
        return str(row.get("broken"))
    initial, final, reference = (median(s[key] for s in row["seeds"]) for key in ("initial", "final", "reference"))
    return f"{initial:.3g} → {final:.3g}" + (f", constant {reference:.3g}" if row["seeds"][0]["constant"] else "")


def _collection(seen: Summary, title: str, members: Any) -> str:
    flagged = Counter(name for s in ("error", "warning") for name, *_ in seen.alarms(s))
    lines = [
        [name, a.about, _losses(seen.rows[name, "health"]), str(flagged[name] or "")]
        for name, a in members.items()
        if (name, "health") in seen.rows
    ]
    return f"### {title}\n\n" + _table(
        ["name", "what it is", "loss before → after (median of 3 seeds)", "alarms"], lines
    )
