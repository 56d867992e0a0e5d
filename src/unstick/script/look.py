"""Runs a script and says what was seen of it, or why nothing was."""

from __future__ import annotations

import signal
from collections.abc import Callable

from ..errors import ScriptError
from .launch import Run, run
from .spec import Outcome, Script, Spec, leads


def look(
    script: Script,
    *,
    steps: int | None,
    seed: int,
    budget: float,
    keep_going: bool,
    advance: Callable[[int], None] | None = None,
) -> tuple[Outcome, bool]:
    """What came of the script, and whether the user interrupted it. Raises ScriptError where no step was seen, and
    KeyboardInterrupt where it was interrupted before."""
    ran = run(Spec(script, steps, seed, budget, budget / 2 if leads() else 0.0, keep_going), advance)
    if ran.outcome is not None and ran.outcome.seen:
        return ran.outcome, ran.interrupted
    if ran.interrupted:
        raise KeyboardInterrupt
    raise ScriptError(f"{script.title} {why_nothing(ran, budget)}")


def why_nothing(ran: Run, budget: float) -> str:
    """Why nothing was seen of a script's training: the end of a sentence that begins with its name."""
    outcome = ran.outcome
    if ran.late and ran.steps:
        return f"did not end when its {budget:g} s were over, and had to be killed: nothing is known of its training."
    if ran.late:
        return (
            f"made no optimizer step within {budget:g} s, and was ended; if it needs longer to begin, give it more "
            "time with --budget."
        )
    if outcome is None:
        how = f"was killed by {_signal(-ran.status)}" if ran.status < 0 else f"ended with exit status {ran.status}"
        when = "after its first optimizer steps, of which" if ran.steps else "before its first optimizer step:"
        return f"{how} {when} nothing could be told."
    if outcome.refused is not None:
        return f"cannot be run: {outcome.refused}."
    if outcome.error is not None:
        return f"failed before its first optimizer step, with an error of its own (above): {outcome.error}"
    return f"ended with exit status {outcome.status} before an optimizer step was seen: {_what_there_was(outcome)}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"


def _what_there_was(outcome: Outcome) -> str:
    if outcome.steps:
        return "its optimizer made steps, but what it holds belongs to no torch.nn.Module that ran."
    if outcome.backwards:
        return f"it called backward() {outcome.backwards} times, and never an optimizer's step()."
    if outcome.processes:
        return (
            "it started processes, which are not watched; if they do the training, run unstick in each of them, as in "
            "torchrun --nproc-per-node 2 --no-python unstick diagnose train.py"
        )
    made = "made an optimizer and did not use it" if outcome.optimizers else "made no torch.optim optimizer"
    return f"it {made}; does it need arguments (after --)? A Case in it would be named as file.py:name"
