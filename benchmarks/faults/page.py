"""docs/faults.md from results.json: python -m benchmarks.faults --page"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from . import truth
from .catalogue import CASES, LEFT_OUT
from .measured import MEASURED
from .program import Fault
from .score import (
    FAULT_COLUMNS,
    Count,
    Result,
    among_three,
    count,
    detected,
    failing,
    flagged,
    has_cause,
    healthy_runs,
    most,
    named,
    repaired,
    survives,
    telling,
    tried,
)

Pair = tuple[Fault, Result]

INTRODUCTION = """# Published faults

Other people have published training programs that do not learn, and said what is wrong with them. This page says what
`unstick` makes of those that could be rebuilt without a download, and lists every answer that was wrong.

    python -m benchmarks.faults.plain      # does the published label survive? plain training, no verdicts
    python -m benchmarks.faults            # diagnoses and trials; results.json
    python -m benchmarks.faults.sweep      # can any single change repair what no proposal repairs? singles.json
    python -m benchmarks.faults --page     # this page

A program counts as faulty only in those runs in which *plain* training of the same weights on the same batches fails:
less than half of the way from the best constant answer to the score of the published fix. What the published labels
mean in terms of rules is in `benchmarks/faults/truth.py`, with a reason for each, and was written before the tool's
answers were seen. *Detected*: a finding of severity error, or `not-learning`. *Cause first*: the first finding names a
published cause. *Cause in three*: one of the first three names it or what follows from it. *Repaired*: a remedy covers
nine tenths of the way from the unchanged network's score to that of the published fix, in as many steps; any remedy
counts, not only the published one. *Of what one change repairs*: the same, among the programs that a proposal, the
published words, or any single remedy repairs (the sweep covers grades A and B). A case is counted by the majority of
its failing runs. Intervals are Wilson's, 95 %. Programs are split by a hash of what they are: rules may be improved on
`tune`, and `held` is reported on. One choice was made after looking at alarms on the controls and on repaired programs:
that a network is warned of only where a *linear* model is far ahead of it, and not where a wide one is.
"""


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def page(results: dict[str, Result]) -> str:
    pairs = [(case, results[case.id]) for case in CASES if case.id in results]
    faulty = [(c, r) for c, r in pairs if survives(c, r)]
    apart = [(c, r) for c, r in pairs if not c.control and not survives(c, r)]
    parts = [
        INTRODUCTION,
        _settings(pairs),
        "## Faults\n",
        fault_table(faulty),
        "\n## Healthy networks\n",
        healthy_table(pairs),
        *_false_alarms(pairs),
        "\n## What went wrong, one by one\n",
        *(_case(c, r) for c, r in faulty if _wrong(c, r)),
        "\n## Programs whose label does not survive here\n",
        "They learn, or their fix does not either. They are in no figure above.\n",
        table(["case", "published", "here", "what the tool says"], [_apart(c, r) for c, r in apart]),
        "\n## Rebuilt on other data\n",
        table(["case", "instead"], [(c.id, c.substitute) for c, _ in pairs if c.substitute]),
        "\n## Left out\n",
        table(["case", "why"], LEFT_OUT.items()),
    ]
    return "\n".join(parts) + "\n"


def _settings(pairs: Sequence[Pair]) -> str:
    programs = len({c.program.key for c, _ in pairs})
    runs = sum(len(r["runs"]) + len(r["repaired_runs"]) for _, r in pairs)
    minutes = sum(r["seconds"] for _, r in pairs) / 60
    return f"{len(pairs)} cases, {programs} different programs, {runs} diagnoses; {minutes:.0f} minutes of one core.\n"


def fault_table(faulty: Sequence[Pair]) -> str:
    """Rows: families, halves, grades, everything."""
    families = dict.fromkeys(c.family for c, _ in faulty)
    groups: list[tuple[str, list[Pair]]] = [(f, [p for p in faulty if p[0].family == f]) for f in families]
    groups += [(f"*{half}*", [p for p in faulty if p[0].half == half]) for half in ("tune", "held")]
    groups += [(f"*grade {grade}*", [p for p in faulty if p[0].grade == grade]) for grade in "ABCD"]
    groups += [
        ("*grades A and B*", [p for p in faulty if p[0].grade in "AB"]),
        ("*published data only*", [p for p in faulty if not p[0].substitute]),
        ("*each program once*", list({c.program.key: (c, r) for c, r in reversed(faulty)}.values())),
        ("**all**", list(faulty)),
    ]
    rows = [(name, len(pairs), *(count(pairs, holds) for holds in FAULT_COLUMNS.values())) for name, pairs in groups]
    return table(["group", "cases", *FAULT_COLUMNS], rows)


def healthy_table(pairs: Sequence[Pair]) -> str:
    rows = []
    for name, controls in (("published controls", True), ("repaired programs that learn", False)):
        runs = healthy_runs(pairs, controls)
        counts = [Count(sum(flagged(run, s) for _, run in runs), len(runs)) for s in ("error", "warning")]
        rows.append((name, len({id for id, _ in runs}), *counts))
    return table(["group", "networks", "runs with an error", "runs with a warning"], rows)


def _false_alarms(pairs: Sequence[Pair]) -> list[str]:
    rows = [
        (id, run["seed"], f"`{f['rule']}` ({f['severity']})", f["summary"].replace("|", "\\|"))
        for controls in (True, False)
        for id, run in healthy_runs(pairs, controls)
        for f in run["findings"]
        if f["severity"] != "info"
    ]
    return ["\n### False alarms\n", table(["network", "seed", "finding", "what it says"], rows)]


def _wrong(case: Fault, result: Result) -> bool:
    bad = (
        not most(failing(result), detected),
        has_cause(case) and not most(failing(result), lambda run: named(case, run)),
        repaired(result, "proposed") is False,
    )
    return any(bad)


def _case(case: Fault, result: Result) -> str:
    runs = failing(result)
    causes = ", ".join(f"`{r}`" for r in sorted(truth.first(case))) or "none of the rules"
    said = {" → ".join(f"`{r}`" for r in telling(run)) or "nothing" for run in runs}
    lines = [
        f"**{case.id}** ({case.family}, grade {case.grade}, {case.half})  ",
        f"Published: {', '.join(case.labels)}; in rules: {causes}.  ",
        f"Said: {'; or '.join(sorted(said))}.  ",
        f"Wrong: {', '.join(_what(case, result))}.  ",
        " ".join(filter(None, (_outcome(runs[0]), MEASURED.get(case.id), case.note))),
        "",
    ]
    return "\n".join(lines)


def _outcome(run: Result) -> str:
    """How the run ended, in a sentence."""
    if run["diverged"] is not None:
        return f"Measured: NaN or infinity at step {run['diverged']}."
    ignores = "; the outputs do not depend on the inputs" if run["uses_input"] is False else ""
    constant = "" if run["constant"] is None else f", a constant answer has {run['constant']:.4g}"
    return f"Measured: after {run['steps']} steps the loss is {run['final']:.4g}{constant}{ignores}."


def _what(case: Fault, result: Result) -> list[str]:
    runs, wrong = failing(result), []
    if not most(runs, detected):
        wrong.append("not detected")
    if has_cause(case) and not most(runs, lambda run: named(case, run)):
        three = most(runs, lambda run: among_three(case, run))
        wrong.append("the cause is not named first" + (", though among three" if three else ", nor among three"))
    if repaired(result, "proposed") is False:
        trials = result["trials"]
        said = "; ".join(f"{t['remedy']} {_number(t['score'])}" for t in tried(trials, "proposed"))
        wrong.append(
            f"no proposal repairs it (unchanged {_number(trials['unchanged'])}, fix {_number(trials['level'])}; "
            f"{said or 'nothing proposed'})"
        )
    return wrong


def _apart(case: Fault, result: Result) -> tuple[str, str, str, str]:
    said = {", ".join(telling(run)) or "nothing" for run in result["runs"]}
    scores = ", ".join(_number(s) for s in result["plain"]["scores"])
    fixed = ", ".join(_number(s) for s in result["plain"]["fixed"] or ()) or "none"
    return case.id, ", ".join(case.labels), f"{result['label']}: {scores} (fix: {fixed})", "; or ".join(sorted(said))


def _number(value: float | None) -> str:
    return "NaN" if value is None else f"{value:.2f}"
