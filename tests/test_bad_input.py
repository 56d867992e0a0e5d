"""Whatever is wrong with a call, its target or its files: one line that helps, status 2, nothing half-written."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from unstick.cli import INTERRUPTED, OK, WRONG, main

SOURCE = Path(__file__).parents[1] / "src"
MARK = "nothing has touched this"

BAD = """
import sys

import numpy as np
import torch
from torch import nn

from unstick import Case

print("a word from the user's own code")
x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
y = x[:, :1]
mse = nn.functional.mse_loss
number = 3


def network():
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def late(error):
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        if len(calls) > 30:
            raise error
        return mse(outputs, targets)

    return loss


def case(data=(x, y), loss=mse, **options):
    return Case(network, data, loss, **options)


def raises():
    raise RuntimeError("it is not\\nmy day")


def needs(width):
    return case()


def number_instead():
    return 5


def quits():
    sys.exit(3)


def empty():
    return case((x[:0], y[:0]))


def not_finite():
    return case((x / 0, y))


def narrow():
    return case((x[:, :3], y))


def whole_numbers():
    return case((x.long(), y))


def arrays():
    return case((np.zeros((9, 4)), np.zeros((9, 1))))


def array_batches():
    return case(lambda: [(np.zeros((9, 4)), y[:9])])


def no_batches():
    return case(lambda: [])


def vector_loss():
    return case(loss=lambda outputs, targets: outputs - targets)


def float_loss():
    return case(loss=lambda outputs, targets: mse(outputs, targets).item())


def constant_loss():
    return case(loss=lambda outputs, targets: mse(outputs, targets).detach())


def loss_raises():
    return case(loss=lambda outputs, targets: 1 / 0)


def late_error():
    return case(loss=late(ValueError("not today")))


def late_exit():
    return case(loss=late(SystemExit("enough")))


def metric_raises():
    return case(metric=lambda outputs, targets: 1 / 0)
"""

QUESTIONS = {
    "broken.toml": "title = ",
    "bare.toml": 'title = "x"',
    "coloured.toml": 'title = "x"\ncolour = 1\n[[statement]]\nid = 1\ntext = "a"\nremedies = ["relu"]',
    "misspelt.toml": 'title = "x"\n[[statement]]\nid = 1\ntext = "a"\nremedies = ["rellu"]',
    "nowhere.toml": 'title = "x"\n[[statement]]\nid = 1\ntext = "a"\nremedies = ["relu"]',
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with targets and questions that are wrong, and reports from an earlier call."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.py").write_text(BAD)
    (tmp_path / "broken.py").write_text("def (\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit('bye')\n")
    (tmp_path / "incomplete.py").write_text("import no_such_module\n")
    for name, text in QUESTIONS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "out.json").write_text(MARK)
    (tmp_path / "out.html").write_text(MARK)
    return tmp_path


def complaint(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """The line that `arguments` are answered with, once it is sure that it is the only trace that they leave."""
    here = Path()
    before = sorted(path.name for path in here.iterdir())
    status = main(arguments)
    out, err = capfd.readouterr()
    assert status == WRONG, err
    assert out == ""
    said = [line for line in err.splitlines() if line and line != "a word from the user's own code"]
    assert len(said) == 1
    assert said[0].startswith("unstick: ")
    assert "a bug in unstick" not in said[0]
    assert sorted(p.name for p in here.iterdir() if p.name != "__pycache__") == [
        n for n in before if n != "__pycache__"
    ]
    assert (here / "out.json").read_text() == (here / "out.html").read_text() == MARK
    return said[0]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere.py:case", "nowhere.py does not exist"),
        ("bad.py:number", "bad.py:number is an int, not a Case"),
        ("bad.py:network", "returned a Sequential, not a Case"),
        ("bad.py:csae", "did you mean case?"),
        ("broken.py:case", "SyntaxError: invalid syntax (broken.py:1)"),
        ("leaves.py:case", "SystemExit: bye (leaves.py:2); keep what ends the program under"),
        ("incomplete.py:case", "No module named 'no_such_module' (incomplete.py:1)"),
        ("bad.py:raises", "RuntimeError: it is not my day (bad.py:"),
        ("bad.py:needs", "needs arguments (width)"),
        ("bad.py:number_instead", "returned an int, not a Case"),
        ("bad.py:quits", "SystemExit: 3 (bad.py:"),
        ("bad.py:empty", "X is empty"),
        ("bad.py:not_finite", "X holds 384 values that are NaN or infinite"),
        ("bad.py:narrow", "bad.py:narrow: the model failed on a batch of (64, 3) float32"),
        ("bad.py:whole_numbers", "a batch of (64, 4) int64"),
        ("bad.py:arrays", "must hold tensors, not ndarray and ndarray: convert with torch.as_tensor"),
        ("bad.py:array_batches", "bad.py:array_batches: "),
        ("bad.py:no_batches", "bad.py:no_batches: the data is empty"),
        ("bad.py:vector_loss", "take its .mean()"),
        ("bad.py:float_loss", "without .item()"),
        ("bad.py:constant_loss", "the loss is not differentiable"),
        ("bad.py:loss_raises", "ZeroDivisionError: division by zero (bad.py:"),
        ("bad.py:late_error", "not today"),
        ("bad.py:late_exit", "enough"),
        ("bad.py:metric_raises", "division by zero"),
    ],
)
def test_target(folder: Path, capfd: pytest.CaptureFixture[str], target: str, message: str) -> None:
    arguments = ["diagnose", target, "--steps", "60", "--json", "-", "--html", "out.html"]
    assert message in complaint(arguments, capfd)


@pytest.mark.parametrize("target", ["bad.py:late_error", "bad.py:narrow"])
def test_trials_say_it_too(folder: Path, capfd: pytest.CaptureFixture[str], target: str) -> None:
    said = complaint(["try", target, "relu", "--steps", "60", "--workers", "1", "--json", "-"], capfd)
    assert said.startswith(f"unstick: {target}")


@pytest.mark.parametrize(
    ("remedy", "message"),
    [
        ("rellu", "did you mean 'relu'?"),
        ("relu+", "nothing stands on one side of a + in 'relu+'"),
        ("+", "nothing stands on one side of a + in '+'"),
        ("init()", "init needs a scheme, one of he, xavier"),
        ("init(he", "'init(he' is no remedy"),
        ("lr(x0)", "must be a number above 0, not 0"),
        ("adam(lrr=1)", "'lrr'"),
        ("batchnorm(sideways)", "before or after"),
        ("", "the remedy is empty"),
        ("[red]", "'[red]' is no remedy"),
    ],
)
def test_remedy(folder: Path, capfd: pytest.CaptureFixture[str], remedy: str, message: str) -> None:
    assert message in complaint(["try", "bad.py:case", "tanh", remedy, "--json", "-"], capfd)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("missing.toml", "there is no question file missing.toml"),
        (".", "Is a directory"),
        ("broken.toml", "broken.toml: this is not valid TOML"),
        ("bare.toml", "bare.toml, line 1: it has no statements"),
        ("coloured.toml", "coloured.toml, line 2: unknown field 'colour'"),
        ("misspelt.toml", "misspelt.toml, line 5: statement 1: remedies: no remedy 'rellu'; did you mean 'relu'?"),
        ("nowhere.toml", 'give it one (target = "file.py:name"), or name a case (--target)'),
    ],
)
def test_question(folder: Path, capfd: pytest.CaptureFixture[str], question: str, message: str) -> None:
    assert message in complaint(["check", question, "--json", "-"], capfd)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--json", "no/report.json"], "--json no/report.json: there is no directory no; create it first."),
        (["--json", "."], "--json .: that is a directory"),
        (["--json", ""], "--json needs the name of a file"),
        (["--html", "no/report.html"], "--html no/report.html: there is no directory no"),
        (["--html", "."], "--html .: that is a directory"),
        (["--html", ""], "--html needs the name of a file"),
        (["--html", "n" * 300], "cannot be written there"),
        (["--steps", "0"], "'--steps': 0 is too small; it must be at least 1"),
        (["--seeds", "1"], "'--seeds': 1 is too small; it must be at least 2"),
        (["--workers", "0"], "'--workers': 0 is too small; it must be at least 1"),
        (["--budget", "-1"], "'--budget': -1 is not a number of seconds above 0"),
        (["--budget", "soon"], "'--budget': soon is not a number of seconds above 0"),
        (["--seed", "abc"], "'--seed': 'abc' is not a whole number"),
        (["--seed", str(2**31)], "'--seed': 2147483648 is too large"),
        (["--device", "nonsense"], "'--device': 'nonsense' cannot be used here"),
        (["--device", "cuda:99"], "'--device': 'cuda:99' cannot be used here"),
    ],
)
def test_option(folder: Path, capfd: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    assert message in complaint(["try", "bad.py:case", "relu", *options], capfd)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("option", ["--json", "--html"])
def test_file_that_may_not_be_written(folder: Path, capfd: pytest.CaptureFixture[str], option: str) -> None:
    (folder / "out.json").chmod(0o400)
    assert "may not be overwritten" in complaint(["try", "bad.py:case", "relu", option, "out.json"], capfd)


# -- real processes ----------------------------------------------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "unstick", *arguments]


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), **changes}


def test_a_real_process_says_one_line_and_leaves_with_2(folder: Path) -> None:
    arguments = command("try", "bad.py:late_error", "relu", "--workers", "2", "--json", "-", "--html", "out.html")
    ran = subprocess.run(arguments, capture_output=True, text=True, env=environment())
    assert ran.returncode == WRONG
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("unstick: bad.py:late_error")
    assert (folder / "out.html").read_text() == MARK


SLOW = """
import time

import torch
from torch import nn

from unstick import Case

x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
started = False


def network():
    global started
    if not started:
        started = True
        print("training", flush=True)
    return nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 1))


def slow_loss(outputs, targets):
    time.sleep(0.02)
    return nn.functional.mse_loss(outputs, targets)


case = Case(network, (x, x[:, :1]), slow_loss)
"""

SLOW_STEPS = """
import time

import torch
from torch import nn

from unstick import Case

x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))


class SlowSteps(torch.optim.SGD):
    taken = 0

    def step(self, closure=None):
        super().step(closure)
        self.taken += 1
        if self.taken == 5:
            print("training", flush=True)
        if self.taken >= 5:
            time.sleep(0.05)


case = Case(lambda: nn.Linear(4, 1), (x, x[:, :1]), nn.functional.mse_loss, optimizer=lambda ps: SlowSteps(ps, lr=0.01))
"""


def members(group: int) -> list[str]:
    """Processes of a group that are still running."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = (line.split(maxsplit=2) for line in listed.splitlines())
    return [row[-1] for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


def gone(group: int, within: float = 20.0) -> bool:
    """Whether every process of a group ends; one that was killed takes a moment to."""
    limit = time.monotonic() + within
    while members(group):
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


def stopped(arguments: list[str], number: signal.Signals, to_group: bool) -> tuple[int, str, str]:
    """Sends a signal as soon as training goes on; exit status, standard output and standard error."""
    running: Any = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    try:
        while "training" not in running.stdout.readline():
            assert running.poll() is None, running.stderr.read()
        (os.killpg if to_group else os.kill)(running.pid, number)
        out, err = running.communicate(timeout=60)
        assert gone(running.pid)
    finally:
        if members(running.pid):
            os.killpg(running.pid, signal.SIGKILL)
    return running.returncode, out, err


@pytest.mark.parametrize(
    ("arguments", "number", "to_group"),
    [
        (["try", "slow.py:case", "relu", "--workers=1"], signal.SIGINT, True),
        (["try", "slow.py:case", "relu", "--workers=2"], signal.SIGINT, True),
        (["try", "slow.py:case", "relu", "--workers=2"], signal.SIGTERM, False),
        (["check", "--target=slow.py:case", "--workers=2"], signal.SIGINT, False),
    ],
)
def test_trials_that_are_stopped_leave_a_whole_report_and_no_processes(
    folder: Path, arguments: list[str], number: signal.Signals, to_group: bool
) -> None:
    (folder / "slow.py").write_text(SLOW)
    status, out, err = stopped([*arguments, "--json=out.json", "--html=out.html"], number, to_group)
    assert status == INTERRUPTED
    assert err.splitlines() == ["written: out.json", "written: out.html"]
    assert "Interrupted" in out
    assert json.loads((folder / "out.json").read_text())["interrupted"] is True
    assert (folder / "out.html").read_text().endswith("</html>\n")
    assert not list(folder.glob(".out*"))


def test_a_diagnosis_that_is_stopped_keeps_what_it_has(folder: Path) -> None:
    (folder / "slow.py").write_text(SLOW_STEPS)
    status, out, err = stopped(["diagnose", "slow.py:case", "--json=out.json"], signal.SIGINT, to_group=True)
    assert (status, err) == (INTERRUPTED, "written: out.json\n")
    assert "Interrupted" in out
    document = json.loads((folder / "out.json").read_text())
    assert document["interrupted"] is True
    assert 0 < document["learning"]["steps"] < 300


def test_a_diagnosis_that_is_stopped_before_its_first_step_says_so_and_writes_nothing(folder: Path) -> None:
    (folder / "slow.py").write_text(SLOW)
    arguments = ["diagnose", "slow.py:case", "--json=out.json", "--html=out.html"]
    status, out, err = stopped(arguments, signal.SIGINT, to_group=True)
    assert (status, out, err) == (INTERRUPTED, "", "unstick: interrupted\n")
    assert (folder / "out.json").read_text() == MARK


# -- the same for every number of workers ------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_document(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    documents = []
    for workers in ("1", "1", "2"):
        arguments = ["try", "bad.py:case", "relu", "batchnorm", "--steps=8", "--seeds=2", "--seed=3", "--json=-"]
        assert main([*arguments, "--workers", workers]) == OK
        document = json.loads(capfd.readouterr().out, parse_constant=pytest.fail)
        assert document.pop("seconds") > 0
        assert document.pop("command") == f"unstick {shlex.join([*arguments, '--workers', workers])}"
        documents.append(document)
    assert documents[0] == documents[1] == documents[2]


def test_the_same_answer_with_any_number_of_workers(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    documents = []
    for workers in ("1", "2"):
        arguments = ["check", "--target=bad.py:case", "--steps=5", "--seeds=2", "--json=-", "--workers", workers]
        assert main(arguments) == OK
        document = json.loads(capfd.readouterr().out, parse_constant=pytest.fail)
        assert document["trials"].pop("seconds") > 0
        assert document.pop("command").endswith(f"--workers {workers}")
        documents.append(document)
    assert documents[0] == documents[1]
