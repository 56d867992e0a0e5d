"""What `unstick diagnose train.py --keep-going` costs a training script: python benchmarks/scripts.py [NETWORK ...]

The script `benchmarks/paced.py` runs in two processes, as it is and watched, which are told to make one step each in
turn: so the machine's moods touch both alike, and what is watched is all of the process, as it is for users. Each step
is the same computation in both. All is repeated with new processes, since where one's memory happens to lie makes it a
few per cent faster or slower; the table has the median of the repetitions, and in brackets the least and the most.

- window: the steps that are watched, in plain steps
- after: a step after them, when nothing is watched any more, in plain steps
- whole: a script of 1,000 steps from its start to its end, in what it takes by itself
- begins, ends: seconds more until the script is at its first step, and from its last one to its end, in which is
  computed whether the network learns; both are in the whole. Experiments, which follow if it does not, are not.

All are seconds of the processor, since others may be at work on it. Both processes compute on one thread, and keep the
memory that they free: whether glibc gives it back, which makes steps slower by a tenth, depends on what else a process
has ever freed, and being watched happens to prevent it. Exits with 1 where a step of 20 ms or more costs more than the
limits.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import mean, median

from unstick.observe import EVALUATION_BATCHES, STEPS
from unstick.script.launch import command_for
from unstick.script.spec import Script, Spec

SCRIPT = Path(__file__).with_name("paced.py")
NETWORKS = ("mlp", "resnet", "transformer", "kaylee")
WINDOW = STEPS + EVALUATION_BATCHES
MADE = WINDOW + 100
"""Steps. Those after the window are all alike, so for a longer script they are counted more often."""
LONG = 1000
REPETITIONS = 3
SLOW = 0.02  # seconds; the limits are for steps that take as long
WHOLE, AFTER = 1.05, 1.01
ALIKE = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": f"{1 << 30}", "MALLOC_TRIM_THRESHOLD_": f"{1 << 34}"}


@dataclass(frozen=True)
class Timed:
    """Seconds of one run: until it was ready for its first step, of each step, and of all that came after."""

    begins: float
    steps: Sequence[float]
    ends: float

    def whole(self, steps: int) -> float:
        """Of a run with more steps."""
        return self.begins + sum(self.steps[:WINDOW]) + (steps - WINDOW) * mean(self.steps[WINDOW:]) + self.ends


@dataclass(frozen=True)
class Cost:
    """Of being watched, as ratios and in seconds."""

    window: float
    after: float
    whole: float
    begins: float
    ends: float


def cost(plain: Timed, watched: Timed) -> Cost:
    pairs = zip(watched.steps[WINDOW:], plain.steps[WINDOW:], strict=True)
    return Cost(
        window=sum(watched.steps[:WINDOW]) / sum(plain.steps[:WINDOW]),
        after=median(w / p for w, p in pairs),
        whole=watched.whole(LONG) / plain.whole(LONG),
        begins=watched.begins - plain.begins,
        ends=watched.ends - plain.ends,
    )


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each."""
    return Cost(*(median(values) for values in zip(*map(astuple, costs), strict=True)))


def exceeds(step: float, found: Cost) -> bool:
    """step: seconds of a plain one."""
    return step >= SLOW and (found.whole > WHOLE or found.after > AFTER)


# -- processes ---------------------------------------------------------------------------------------------------------


class Paced:
    """A process that waits for being told to make a step."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ALIKE},
        )
        self._begins = self._answer()
        self._steps: list[float] = []

    def step(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._steps.append(self._answer())

    def end(self) -> Timed:
        assert self._process.stdin is not None
        self._process.stdin.close()
        _, status, used = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._process.returncode:
            raise RuntimeError(f"it ended with exit status {self._process.returncode}")
        return Timed(self._begins, self._steps, used.ru_utime + used.ru_stime - self._begins - sum(self._steps))

    def _answer(self) -> float:
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())


def side_by_side(name: str, folder: str) -> tuple[Timed, Timed]:
    """One run as it is, one watched."""
    script = Script(str(SCRIPT), (name,))
    spec = Spec(script, steps=None, seed=0, budget=600, experiments=0, keep_going=True, folder=folder)
    file = Path(folder, "spec")
    file.write_bytes(pickle.dumps(spec))
    plain = Paced([sys.executable, script.path, name])
    watched = Paced(command_for(file))
    for step in range(MADE):
        for each in (plain, watched) if step % 2 else (watched, plain):
            each.step()
    times = plain.end(), watched.end()
    if not pickle.loads(spec.outcome_file.read_bytes()).seen:
        raise RuntimeError("nothing was seen of it")
    return times


def measured(name: str) -> tuple[float, list[Cost]]:
    """The seconds of a plain step, and what each repetition found."""
    steps, costs = [], []
    for _ in range(REPETITIONS):
        with tempfile.TemporaryDirectory(prefix="unstick-") as folder:
            plain, watched = side_by_side(name, folder)
        steps.append(median(plain.steps))
        costs.append(cost(plain, watched))
    return median(steps), costs


# -- the table ---------------------------------------------------------------------------------------------------------


def row(name: str, step: float, costs: Sequence[Cost]) -> str:
    ratios = "".join(f"{ratio([getattr(c, of) for c in costs]):>22}" for of in ("window", "after", "whole"))
    found = middle(costs)
    return f"{name:<13}{1e3 * step:>8.1f}{ratios}{found.begins:>9.2f}{found.ends:>7.2f}"


def ratio(found: Sequence[float]) -> str:
    return f"{median(found):.3f} ({min(found):.3f}–{max(found):.3f})"


def main(names: Sequence[str]) -> int:
    status = 0
    print(f"{'network':<13}{'step ms':>8}{'window':>22}{'after':>22}{'whole':>22}{'begins s':>9}{'ends s':>7}")
    for name in names or NETWORKS:
        step, costs = measured(name)
        print(row(name, step, costs), flush=True)
        status |= exceeds(step, middle(costs))
    print(f"limits, for steps of {1e3 * SLOW:.0f} ms and more: after {AFTER}, whole {WHOLE}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
