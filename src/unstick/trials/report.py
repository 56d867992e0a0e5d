"""What came of trying remedies: frozen values, and the document that other programs read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from ..curve import curve
from ..network import described
from ..observation import Observation
from ..report.types import Report, jsonable, versions
from ..trace.types import Trace
from .verdict import Comparison, Verdict, diverged, error_rules, first_attenuation, learning


@dataclass(frozen=True)
class Trial:
    """One remedy beside the unchanged network.

    parts: of how many changes the remedy consists. changes: what it did to the network, in words. compared: the
    numbers behind the verdict, None where the remedy could not be tried. runs: its observations, one a seed (not part
    of the JSON). lines: of the user's source that it is about.
    """

    remedy: str
    verdict: Verdict
    explanation: str
    parts: int = 1
    changes: tuple[str, ...] = ()
    compared: Comparison | None = None
    runs: tuple[Observation, ...] = field(default=(), repr=False)
    lines: tuple[str, ...] = ()

    @property
    def difference(self) -> float | None:
        return self.compared.difference if self.compared else None

    @property
    def learns(self) -> bool:
        return self.compared is not None and self.compared.learns[1]

    def to_dict(self) -> dict[str, Any]:
        seen = self.compared
        before, after = seen.decades if seen else (None, None)
        old, new = seen.loss if seen and seen.loss else (None, None)
        return {
            "remedy": self.remedy,
            "verdict": self.verdict,
            "explanation": self.explanation,
            "changes": self.changes,
            "lines": self.lines,
            "gradient": {"before": before, "after": after, "restored": seen is not None and seen.restored},
            "loss": {
                "before": old,
                "after": new,
                "difference": self.difference,
                "interval": (seen.interval if seen else None) or (None, None),
            },
            "metric": {"before": seen.metric[0], "after": seen.metric[1]} if seen and seen.metric else None,
            "learns": self.learns,
            "learned": seen.learned[1] if seen else 0,
            "diverged": seen.diverged[1] if seen else 0,
            "seeds": seen.seeds if seen else 0,
            "steps": seen.steps if seen else 0,
            "curve": asdict(curve(self.runs)),
        }


@dataclass(frozen=True)
class Patched:
    """A remedy as a change to the user's source: the recommended one, or one with the same verdict where that cannot be
    expressed.

    diff: for `git apply`. missing: what it leaves out, each a sentence and the lines that do it. verdict, explanation:
    of the patched source, run as the trials were; None where it was not run, or not to the end. verified: that is the
    verdict of the remedy. file: where it was written, None for nowhere.
    """

    remedy: str
    diff: bytes
    missing: tuple[str, ...]
    verdict: str | None = None
    explanation: str = ""
    verified: bool = False
    file: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "remedy": self.remedy,
            "file": self.file,
            "verified": self.verified,
            "verdict": self.verdict,
            "explanation": self.explanation,
            "missing": self.missing,
            "diff": self.diff.decode(errors="replace"),
        }


@dataclass(frozen=True, repr=False)
class TrialReport(Report):
    """All remedies that were tried on one case, in the order in which they were given.

    baseline: the runs of the unchanged network, one a seed. cause: the rule that leads its findings. interrupted: cut
    short by the user. notes: what else a reader should know. patch: of a script, where one was asked for. Look one
    trial up by its remedy: `report["relu"]`.
    """

    target: str
    baseline: tuple[Observation, ...]
    trials: tuple[Trial, ...]
    cause: str | None = None
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    patch: Patched | None = None

    def __getitem__(self, remedy: str) -> Trial:
        for trial in self.trials:
            if trial.remedy == remedy:
                return trial
        raise KeyError(f"no trial of {remedy!r}; tried: {', '.join(t.remedy for t in self.trials)}")

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def best(self) -> Trial | None:
        """The remedy to use: of those that fix it, or else of those that help, the one with the lowest loss.

        What comes within the margin of the lowest loss counts as equal to it; then the remedy that changes fewer
        things wins, then the one given first.
        """
        able = self._able
        return _simplest_of_the_lowest(able) if able else None

    @property
    def ranked(self) -> tuple[Trial, ...]:
        """Those with the verdict of the best: it first, and then the others by their losses."""
        able, best = self._able, self.best
        return tuple(sorted(able, key=lambda trial: (trial is not best, _reach(trial))))

    @property
    def _able(self) -> list[Trial]:
        for verdict in ("fixes", "helps"):
            if able := [trial for trial in self.trials if trial.verdict == verdict and trial.compared]:
                return able
        return []

    @property
    def recommended(self) -> str | None:
        """The best remedy, as it is written for `unstick try`; None where none helps."""
        return self.best.remedy if self.best else None

    def to_dict(self) -> dict[str, Any]:
        document: dict[str, Any] = jsonable(
            {
                "schema": "unstick/trials/1",
                "target": self.target,
                "baseline": _baseline(self.baseline),
                "trials": [trial.to_dict() for trial in self.trials],
                "recommended": self.recommended,
                "patch": self.patch.to_dict() if self.patch else None,
                "interrupted": self.interrupted,
                "notes": self.notes,
                "seed": self.baseline[0].seed if self.baseline else None,
                "seconds": self.seconds,
                "versions": versions(),
            }
        )
        return document


def _simplest_of_the_lowest(able: list[Trial]) -> Trial:
    reach = [_reach(trial) for trial in able]
    margins = [trial.compared.margin for trial in able if trial.compared]
    lowest = min(reach)
    equal = [trial for trial, value in zip(able, reach, strict=True) if value <= lowest + max(margins)]
    return min(equal, key=lambda trial: trial.parts)


def _reach(trial: Trial) -> float:
    """A remedy can end training that diverges: it has no difference in loss to rank by, and goes before the others."""
    return float("-inf") if trial.difference is None else trial.difference


def _baseline(runs: tuple[Observation, ...]) -> dict[str, Any]:
    finite = [run.learning.final_loss for run in runs if not diverged(run)]
    metrics = [run.metric for run in runs if run.metric is not None and not diverged(run)]
    learned = learning(runs)
    return {
        "loss": _mean(finite),
        "learns": 2 * learned > len(runs),
        "learned": learned,
        "seeds": len(runs),
        "steps": max((run.learning.steps for run in runs), default=0),
        "diverged": sum(map(diverged, runs)),
        "metric": _mean(metrics),
        "findings": error_rules(runs[0]) if runs else (),
        "curve": asdict(curve(runs)),
        **described(_typical(runs)),
    }


def _typical(runs: tuple[Observation, ...]) -> tuple[Trace, ...]:
    """The traces of the run with the median attenuation: one run's own numbers rather than medians of each, so that the
    parts sum to the whole. Of the first run where none can be measured."""
    lost = [(found.decades, index) for index, run in enumerate(runs) if (found := first_attenuation(run)) is not None]
    typical = sorted(lost)[(len(lost) - 1) // 2][1] if lost else 0
    return runs[typical].traces if runs else ()


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
