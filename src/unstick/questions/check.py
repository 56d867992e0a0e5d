"""From a question to its answer: every change is tried, every reason is measured, and nothing is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..case import Case
from ..errors import QuestionError
from ..observation import Progress
from ..report.notebooks import watched
from ..report.style import VERDICTS
from ..target import load as load_target
from ..trials import Trial, TrialReport, try_remedies
from ..trials.explain import outcome
from ..trials.verdict import error_rules
from .answer import Answer, ClaimJudged, StatementJudged
from .load import Claim, Question, Statement, load
from .reasons import REASONS, Judged


@watched
def check(
    question: str | Path | Question,
    case: Case | None = None,
    *,
    steps: int | None = None,
    seeds: int | None = None,
    seed: int = 0,
    budget: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    resume: str | Path | None = None,
    engine: str = "local",
    gpus: float | None = None,
    progress: Progress | None = None,
) -> Answer:
    """Tries every change that the question's statements name, and judges each statement by what was measured.

    question: a file, or the name of one in the package ("kaylee"). case: None takes the question's own target. The
    rest is as in `try_remedies`, which raises what is wrong with them. Raises QuestionError for a malformed question
    and where neither the question nor the caller says what it is about, TargetError for a target that leads nowhere.
    """
    asked = question if isinstance(question, Question) else load(question)
    if case is None and asked.target is None:
        raise QuestionError(
            'the question names no target of its own: give it one (target = "file.py:name"), or name a case (--target)'
        )
    trials = try_remedies(
        case if case is not None else load_target(str(asked.target)),
        list(dict.fromkeys(remedy for statement in asked.statements for remedy in statement.remedies)),
        steps=steps,
        seeds=seeds,
        seed=seed,
        budget=budget,
        workers=workers,
        device=device,
        resume=resume,
        engine=engine,
        gpus=gpus,
        progress=progress,
    )
    return judge(asked, trials)


def judge(question: Question, trials: TrialReport) -> Answer:
    """The answer that follows from trials of all the question's remedies."""
    return Answer(
        question=question,
        statements=tuple(_statement(statement, trials) for statement in question.statements),
        claim=None if question.claim is None else _claim(question.claim, trials),
        trials=trials,
    )


_ORDER = ("fixes", "helps", "inconclusive", "no-effect", "harms", "not-applicable")


def _statement(statement: Statement, trials: TrialReport) -> StatementJudged:
    """It holds if one of its changes helps and, where a reason is given, that reason is true of a change that helps."""
    tried = [trials[remedy] for remedy in statement.remedies]
    helping = [trial for trial in tried if trial.verdict in ("fixes", "helps")]
    shown = helping or tried
    reasons = [_reason(statement.reason, trial, trials) for trial in shown]
    measured = [reason.holds for reason in reasons if reason is not None]
    reason_holds = any(measured) if measured else None
    return StatementJudged(
        statement=statement,
        holds=bool(helping) and reason_holds is not False,
        helps=bool(helping),
        reason_holds=reason_holds,
        verdict=min((trial.verdict for trial in tried), key=_ORDER.index),
        explanation=_explain(shown, reasons),
    )


def _reason(name: str | None, trial: Trial, trials: TrialReport) -> Judged | None:
    """None where no reason was given, or where the change was never trained."""
    if name is None or not trial.runs:
        return None
    seeds = {run.seed for run in trial.runs}
    return REASONS[name]([run for run in trials.baseline if run.seed in seeds], trial.runs)


def _explain(shown: Sequence[Trial], reasons: Sequence[Judged | None]) -> str:
    sentences = []
    for trial, reason in zip(shown, reasons, strict=True):
        # A measured reason tells what became of the gradient; without one, the trial does.
        told = outcome(trial.compared) if reason and trial.compared else trial.explanation
        sentences.append(
            f"{trial.remedy}: {VERDICTS[trial.verdict].word}. {told} {reason.sentence if reason else ''}".rstrip()
        )
    return "\n".join(sentences)


def _claim(claim: Claim, trials: TrialReport) -> ClaimJudged:
    """Whether most runs of the unchanged network show what the claim says, as an error."""
    found = [error_rules(run) for run in trials.baseline]
    if not found:
        return ClaimJudged(claim, None, "The unchanged network was not measured.")
    times = sum(claim.rule in rules for rules in found)
    others = ", ".join(dict.fromkeys(rule for rules in found for rule in rules if rule != claim.rule))
    text = f"{claim.rule} is found with {times} of {len(found)} seeds" + (f", besides {others}." if others else ".")
    return ClaimJudged(claim, 2 * times > len(found), text)
