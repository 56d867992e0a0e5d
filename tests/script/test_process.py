"""Scripts in real processes: how they start and end, whatever they do, and what is left behind: nothing."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from unstick.cli import BROKEN, FOUND, INTERRUPTED, OK, WRONG, main

SOURCE = Path(__file__).parents[2] / "src"
BROKEN_TEST = 180.0  # seconds, after which a process is taken to hang

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked for in /proc")

PRELUDE = """
import os, signal, sys, threading, time
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 4)
y = x[:, :1] * 2
model = nn.Linear(4, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)


def step():
    opt.zero_grad()
    nn.functional.mse_loss(model(x), y).backward()
    opt.step()


def steps(n=150):
    for _ in range(n):
        step()
    print("stepped", flush=True)


def forever():
    while True:
        time.sleep(0.01)
        step()
"""


class Running:
    """`unstick` in a process of its own. All that it starts is marked by a variable, by which it is found again."""

    def __init__(self, folder: Path, command: list[str], **how: Any) -> None:
        self.temporary = Path(tempfile.mkdtemp(prefix="t"))  # short, since sockets are made there
        self._mark = f"UNSTICK_TEST={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*how.pop("path", ()), str(SOURCE)]),
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(self.temporary),
            "COLUMNS": "100",
            name: value,
        }
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=folder, env=env, start_new_session=True, **{**streams, **how})

    def told(self, word: str) -> None:
        """Waits for a line of the script's that holds `word`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if word in line.decode():
                return
        raise AssertionError(f"no {word!r}: {self.end()}")

    def others(self) -> list[int]:
        """The processes that it has started and that still run."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                running = (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
                if running and self._mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return [pid for pid in found if pid != self.process.pid]

    def until(self, condition: Callable[[], Any]) -> None:
        limit = time.monotonic() + BROKEN_TEST
        while not condition():
            assert time.monotonic() < limit
            time.sleep(0.02)

    def end(self) -> tuple[int, str, str]:
        """Its exit status and the rest of what it printed, once it is sure that nothing of it is left."""
        try:
            out, err = self.process.communicate(timeout=BROKEN_TEST)
            self.until(lambda: not self.others())
        finally:
            for pid in (*self.others(), *[self.process.pid] * (self.process.poll() is None)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        assert not list(self.temporary.glob("unstick-*"))
        shutil.rmtree(self.temporary)
        return self.process.returncode, (out or b"").decode(), (err or b"").decode()


def start(folder: Path, *arguments: str, **how: Any) -> Running:
    return Running(folder, [sys.executable, "-m", "unstick", *arguments], **how)


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def unstick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """The command line in this process, which has torch loaded already; the script's process is another one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(list(arguments))
        assert not list(tmp_path.glob("unstick-*"))
        return status, *capfd.readouterr()

    return call


@pytest.fixture
def diagnose(tmp_path: Path, unstick: Call) -> Call:
    """`unstick diagnose` of a script with this text."""

    def call(script: str, *arguments: str) -> tuple[int, str, str]:
        (tmp_path / "train.py").write_text(script)
        return unstick("diagnose", "train.py", *arguments)

    return call


def plain(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, env=env)


def complaint(err: str) -> str:
    """The last line of standard error, which is the one that unstick has to say."""
    last = err.splitlines()[-1]
    assert last.startswith("unstick: ")
    assert sum(line.startswith("unstick: ") for line in err.splitlines()) == 1 + err.count("unstick: running")
    return last


# -- scripts that hang. They take long and no work, so they all run beside the other tests. ---------------------------

HANGING = {
    "sleeps": "import os, time; os.system('sleep 1000 &'); time.sleep(1000)",
    "waits": "import threading; threading.Event().wait()",
    "reads": "input()",
    "in C": """
import ctypes
lock, lib = ctypes.create_string_buffer(256), ctypes.CDLL(None)
lib.pthread_mutex_lock(lock)
lib.pthread_mutex_lock(lock)
""",
    "after steps": PRELUDE + "steps()\nthreading.Event().wait()",
    "deaf after steps": PRELUDE + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsteps()\ntime.sleep(1000)",
    "catches all that comes": PRELUDE
    + """
steps()
while True:
    try:
        time.sleep(0.1)
    except BaseException as error:
        print("caught", type(error).__name__, flush=True)
""",
    "thread goes on": PRELUDE + "threading.Thread(target=time.sleep, args=[1000]).start()\nforever()",
}


@pytest.fixture(scope="module", autouse=True)
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    started = {}
    for name, text in HANGING.items():
        folder = tmp_path_factory.mktemp("hanging")
        (folder / "train.py").write_text(text)
        stdin, _ = os.pipe()
        budget = 10 if "import torch" in text else 3  # the machine may be loaded, so that steps take their time
        started[name] = start(folder, "diagnose", "train.py", f"--budget={budget}", stdin=stdin)
    yield started
    for each in started.values():
        with contextlib.suppress(ProcessLookupError):
            each.process.kill()


# -- Ctrl-C and its like -----------------------------------------------------------------------------------------------


def interrupt(running: Running, number: signal.Signals, to_group: bool) -> None:
    (os.killpg if to_group else os.kill)(running.process.pid, number)


@pytest.mark.parametrize(("number", "to_group"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_interrupted_before_the_first_step(tmp_path: Path, number: signal.Signals, to_group: bool) -> None:
    (tmp_path / "train.py").write_text("import os\nprint('begun', flush=True)\nos.system('sleep 1000')")
    running = start(tmp_path, "diagnose", "train.py", "--json=out.json")
    running.told("begun")
    interrupt(running, number, to_group)
    status, out, err = running.end()
    assert (status, out, complaint(err)) == (INTERRUPTED, "", "unstick: interrupted")
    assert "Traceback" not in err
    assert not (tmp_path / "out.json").exists()


def test_interrupted_before_the_script_begins(tmp_path: Path) -> None:
    """The script's process exists, and loads torch."""
    (tmp_path / "train.py").write_text("print('begun', flush=True)")
    running = start(tmp_path, "diagnose", "train.py")
    running.until(running.others)
    interrupt(running, signal.SIGINT, to_group=True)
    status, _, err = running.end()
    assert (status, complaint(err)) == (INTERRUPTED, "unstick: interrupted")
    assert "Traceback" not in err


WORKERS = (
    PRELUDE
    + """
from torch.utils.data import DataLoader, TensorDataset
for epoch in range(100000):
    for x, y in DataLoader(TensorDataset(x, y), batch_size=32, num_workers=2, persistent_workers=True):
        for _ in range(300):
            step()
            time.sleep(0.01)
            print("stepped", flush=True)
"""
)


@pytest.mark.parametrize(("number", "to_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_interrupted_after_steps(tmp_path: Path, number: signal.Signals, to_group: bool) -> None:
    (tmp_path / "train.py").write_text(WORKERS)
    running = start(tmp_path, "diagnose", "train.py", "--json=out.json")
    running.told("stepped")
    interrupt(running, number, to_group)
    status, out, err = running.end()
    assert status == INTERRUPTED
    assert "nterrupted" in out
    assert "Traceback" not in err
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["interrupted"] is True
    assert report["script"]["steps"] > 0


def test_interrupted_while_the_network_is_examined(tmp_path: Path) -> None:
    """A script that is over, whose network does not learn, so that things are tried on copies."""
    text = PRELUDE.replace("lr=0.1", "lr=1e-9") + "steps(100)"
    (tmp_path / "train.py").write_text(text)
    running = start(tmp_path, "diagnose", "train.py", "--json=out.json")
    running.told("stepped")
    running.until(lambda: list(running.temporary.glob("unstick-*/concluding")))
    interrupt(running, signal.SIGINT, to_group=False)
    status, _, err = running.end()
    assert status in (INTERRUPTED, FOUND)  # the second where it was over before
    assert "Traceback" not in err
    assert json.loads((tmp_path / "out.json").read_text())["script"]["exit_status"] == 0


def test_the_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    text = PRELUDE + "signal.signal(signal.SIGINT, lambda *_: print('heard', flush=True))\nsteps()\n"
    text += "signal.signal(signal.SIGTERM, lambda *_: print('asked again', flush=True))\nwhile True: time.sleep(1)"
    (tmp_path / "train.py").write_text(text)
    running = start(tmp_path, "diagnose", "train.py")
    running.told("stepped")
    interrupt(running, signal.SIGINT, to_group=False)
    running.told("heard")
    interrupt(running, signal.SIGINT, to_group=False)
    status, out, err = running.end()
    assert (status, complaint(err)) == (INTERRUPTED, "unstick: interrupted")
    assert "asked again" not in out


@pytest.mark.parametrize("after", ["begun", "stepped"])
def test_control_c_at_a_terminal(tmp_path: Path, after: str) -> None:
    text = "print('begun', input(), flush=True)\n" + PRELUDE + "time.sleep(1000)\n" * (after == "begun")
    (tmp_path / "train.py").write_text(text + "steps()\nforever()")
    master, slave = pty.openpty()
    take_terminal = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", take_terminal, sys.executable, "-m", "unstick", "diagnose", "train.py"]
    running = Running(tmp_path, command, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    os.write(master, b"typed\n")
    shown = _shown(master, f"{after} typed" if after == "begun" else after)
    os.write(master, b"\x03")
    shown += _shown(master, None)
    status, _, _ = running.end()
    assert status == INTERRUPTED
    assert "Traceback" not in shown
    assert ("unstick: interrupted" in shown) is (after == "begun")
    assert ("Interrupted" in shown) is (after == "stepped")


def _shown(master: int, word: str | None) -> str:
    """What the terminal shows, until `word` does or nobody writes there any more."""
    text = ""
    while word is None or word not in text:
        ready, _, _ = select.select([master], [], [], BROKEN_TEST)
        assert ready, text
        try:
            text += os.read(master, 65536).decode()
        except OSError:  # all have closed it
            assert word is None, text
            return text
    return text


def test_trials_interrupted(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PRELUDE + "open(sys.argv[1], 'a').close()\nforever()")
    running = start(tmp_path, "try", "train.py", "adam", "--workers=2", "--steps=30", "--json=out.json", "--", "begun")
    running.until(lambda: list(running.temporary.glob("unstick-*/files/**/begun")))
    interrupt(running, signal.SIGINT, to_group=False)
    status, out, err = running.end()
    assert status == INTERRUPTED
    assert "Traceback" not in err
    assert json.loads((tmp_path / "out.json").read_text())["interrupted"] is True
    assert "Interrupted" in out


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system tells no child of its parent's end")
def test_killed_outright_it_leaves_no_training_behind(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PRELUDE + "steps()\nforever()")
    running = start(tmp_path, "diagnose", "train.py")
    running.told("stepped")
    running.process.kill()
    running.process.wait()
    running.until(lambda: not running.others())
    shutil.rmtree(running.temporary)


# -- no step -----------------------------------------------------------------------------------------------------------

IN_PROCESSES = """
import multiprocessing, sys
import torch

def train(rank):
    p = torch.nn.Linear(2, 1)
    o = torch.optim.SGD(p.parameters(), lr=0.1)
    p(torch.ones(1, 2)).sum().backward()
    o.step()

if __name__ == "__main__":
    process = multiprocessing.get_context("{how}").Process(target=train, args=(0,))
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""

NO_STEP = {
    "": "ended with exit status 0 before an optimizer step was seen: it made no torch.optim optimizer; does it need",
    "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', required=True)\np.parse_args()": (
        "ended with exit status 2 before an optimizer step was seen: it made no torch.optim optimizer; does it need"
    ),
    "import sys\nsys.exit(3)": "ended with exit status 3 before an optimizer step was seen",
    "import os\nos._exit(4)": "ended with exit status 4 before an optimizer step was seen",
    "import os\nos.kill(os.getpid(), 9)": "was killed by SIGKILL before its first optimizer step",
    PRELUDE: "ended with exit status 0 before an optimizer step was seen: it made an optimizer and did not use it",
    PRELUDE + "model(x).sum().backward()": "it called backward() 1 times, and never an optimizer's step()",
    PRELUDE + "w = torch.ones(3, requires_grad=True)\no = torch.optim.SGD([w], lr=1)\nw.sum().backward()\no.step()": (
        "what it holds belongs to no torch.nn.Module that ran"
    ),
    IN_PROCESSES.replace("{how}", "spawn"): "it started processes, which are not watched; if they do the training, run",
    IN_PROCESSES.replace("{how}", "fork"): "it started processes, which are not watched; if they do the training, run",
    PRELUDE + "if os.fork() == 0:\n    steps()\nelse:\n    os.wait()": "it made an optimizer and did not use it",
}


@pytest.mark.parametrize(("text", "message"), NO_STEP.items(), ids=range(len(NO_STEP)))
def test_a_script_without_a_step(tmp_path: Path, diagnose: Call, text: str, message: str) -> None:
    status, out, err = diagnose(text, "--json=out.json")
    assert (status, out.replace("stepped\n", "")) == (WRONG, "")
    assert f"unstick: train.py {message}" in complaint(err) or message in complaint(err)
    assert not (tmp_path / "out.json").exists()


RAISING = """
import torch

def inner():
    raise KeyError("oops")

def outer(module, _):
    try:
        inner()
    except KeyError as error:
        raise ValueError("bad") from error

"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RAISING + "outer(0, 0)", "failed before its first optimizer step, with an error of its own (above): ValueErr"),
        ("x = 1\ndef (\n", "SyntaxError: invalid syntax (train.py, line 2)"),
        ("import no_such_module", "No module named 'no_such_module' (train.py:1)"),
    ],
)
def test_an_error_is_shown_as_python_shows_it(tmp_path: Path, diagnose: Call, text: str, message: str) -> None:
    status, out, err = diagnose(text, "--quiet")
    assert (status, out) == (WRONG, "")
    assert message in complaint(err)
    assert err.rpartition("unstick: ")[0] == plain(tmp_path, "train.py").stderr


def test_an_error_in_a_call_that_is_watched_has_none_of_our_frames(tmp_path: Path, diagnose: Call) -> None:
    status, _, err = diagnose(PRELUDE + "model(torch.zeros(2, 3)).sum().backward()")
    assert status == WRONG
    assert "mat1 and mat2 shapes cannot be multiplied" in complaint(err)
    assert str(SOURCE) not in err


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (["none.py"], "none.py does not exist"),
        (["folder.py"], "folder.py is a directory; a package is run with -m"),
        (["."], "'.' is no target"),
        (["notes.txt"], "'notes.txt' is no target"),
        (["-m", "nosuch"], "-m nosuch cannot be run: No module named nosuch"),
        (["-m", "folder"], "-m folder cannot be run: No module named folder.__main__"),
        (["-m", "folder.broken"], "-m folder.broken failed before its first optimizer step"),
    ],
)
def test_nothing_that_can_be_run(tmp_path: Path, unstick: Call, target: list[str], message: str) -> None:
    for name in ("folder", "folder.py"):
        (tmp_path / name).mkdir()
    (tmp_path / "folder" / "__init__.py").touch()
    (tmp_path / "folder" / "broken.py").write_text("import no_such_module\n")
    (tmp_path / "notes.txt").write_text("notes")
    status, out, err = unstick("diagnose", *target)
    assert (status, out) == (WRONG, "")
    assert message in complaint(err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--keep-going", "case.py:case"], "--keep-going is for scripts"),
        (["case.py:case", "--", "1"], "case.py:case is no script, so it takes no arguments"),
        (["train.py", "--device", "cpu"], "a script decides itself where it trains: leave the device out"),
        (["train.py", "--html", "-"], "--html needs the name of a file"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, unstick: Call, arguments: list[str], message: str) -> None:
    (tmp_path / "train.py").write_text("print('run')")
    (tmp_path / "case.py").write_text("raise SystemExit")
    status, out, err = unstick("diagnose", *arguments)
    assert (status, out) == (WRONG, "")
    assert message in complaint(err)


# -- the end, after steps ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "status", "error"),
    [
        ("sys.exit(3)", 3, None),
        ("os._exit(4)", 4, None),
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_script_that_ends_by_itself_keeps_its_status(
    tmp_path: Path, diagnose: Call, end: str, status: int, error: str | None
) -> None:
    found, out, err = diagnose(PRELUDE + f"steps()\n{end}", "--json=out.json", "--quiet")
    report = json.loads((tmp_path / "out.json").read_text())["script"]
    assert (found, report["exit_status"], report["ended_early"], report["steps"]) == (status, status, False, 150)
    assert "train.py" in out.partition("stepped\n")[2]
    if error is None:
        assert report["error"] is None
    else:
        assert report["error"].startswith(error)
    assert err == plain(tmp_path, "train.py").stderr


def test_a_script_that_is_killed_after_steps(tmp_path: Path, diagnose: Call) -> None:
    status, out, err = diagnose(PRELUDE + "steps()\nos.kill(os.getpid(), signal.SIGSEGV)")
    assert (status, out) == (WRONG, "stepped\n")
    assert "train.py was killed by SIGSEGV after its first optimizer steps" in complaint(err)


def test_a_script_that_catches_its_end_in_every_step(tmp_path: Path, diagnose: Call) -> None:
    text = PRELUDE + "while True:\n    try: step()\n    except: print('caught', flush=True)\n"
    status, out, _ = diagnose(text, "--json=out.json", "--steps=20")
    assert status in (OK, FOUND)
    assert 0 < out.count("caught") < 10
    assert json.loads((tmp_path / "out.json").read_text())["script"]["ended_early"] is True


# -- the start ---------------------------------------------------------------------------------------------------------

FACTS = """
import json, os, queue, sys
import statistics
import helper
facts = {
    "argv": sys.argv, "file": __file__, "name": __name__, "path": sys.path[0], "cwd": os.getcwd(),
    "spec": getattr(__spec__, "name", None),
    "package": __package__, "globals": sorted(globals()), "helper": helper.__file__, "statistics": statistics.__file__,
    "queue": queue.__file__, "builtins": type(__builtins__).__name__, "main": sys.modules["__main__"].__file__,
    "loader": type(__loader__).__name__, "annotations": __annotations__,
}
print(json.dumps(facts))
"""


@pytest.mark.parametrize(
    "call",
    [
        ["./sub/../sub/train.py", "--", "--steps", "3", "--json", "x", "--", "-m"],
        ["-m", "sub.train", "--", "--keep-going"],
        ["-m", "sub"],
    ],
)
def test_it_starts_as_under_plain_python(tmp_path: Path, call: list[str]) -> None:
    """Also where files beside it have names of the standard library's, some of which unstick itself has loaded."""
    (tmp_path / "sub").mkdir()
    text = FACTS if call[0] != "-m" else FACTS.replace("import helper", "from . import helper")
    (tmp_path / "sub" / "train.py").write_text(text)
    (tmp_path / "sub" / "__main__.py").write_text(text)
    for folder in (tmp_path, tmp_path / "sub"):
        for name in ("__init__", "helper", "statistics", "queue"):
            (folder / f"{name}.py").write_text("")
    # -P: with -m, Python itself looks in the current directory for what unstick imports.
    command = [sys.executable, "-P", "-m", "unstick", "diagnose", "--quiet", *call]
    status, out, err = Running(tmp_path, command).end()
    given = [word for i, word in enumerate(call) if word != "--" or "--" in call[:i]]
    expected = plain(tmp_path, *given)
    assert expected.returncode == 0, expected.stderr
    assert json.loads(out) == json.loads(expected.stdout)
    assert status == WRONG
    assert "no torch.optim optimizer" in complaint(err)


# -- to its end --------------------------------------------------------------------------------------------------------

KEPT = """
import argparse, os, random
from pathlib import Path
import numpy, torch
from torch import nn
from torch.utils.data import DataLoader
from data import Points

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))

    def forward(self, x):
        return self.layers(x)

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int)
    parser.add_argument("--workers")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.seed is not None:
        torch.manual_seed(args.seed)
    args.out.mkdir()
    workers = {"num_workers": 2, "persistent_workers": True, "multiprocessing_context": args.workers}
    loader = DataLoader(Points(), batch_size=16, shuffle=True, **(workers if args.workers else {}))
    os.chdir(args.out)
    model = Net()
    opt = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for epoch in range(30):
        for x, y in loader:
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print("epoch", epoch, losses[-1])
    Path("losses.txt").write_text("".join(f"{loss!r}\\n" for loss in losses))
    Path("drawn.txt").write_text(f"{torch.rand(1)} {random.random() if args.seed is None else 0}")
    torch.save(model.state_dict(), "state.pt")
    torch.save(model, "model.pt")
    torch.save(opt.state_dict(), "optimizer.pt")
    torch.save(opt, "whole_optimizer.pt")

if __name__ == "__main__":
    main()
"""

POINTS = """
import torch

class Points(torch.utils.data.Dataset):
    def __len__(self):
        return 160

    def __getitem__(self, i):
        x = torch.randn(4, generator=torch.Generator().manual_seed(i))
        return x, (x[0] > 0).long()
"""


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("arguments", [["--seed=3", "--workers=spawn"], ["--workers=fork"]])
def test_it_goes_on_to_its_end_as_if_nobody_watched(tmp_path: Path, arguments: list[str]) -> None:
    """What a script leaves unseeded is seeded with 0, so its plain run is, too."""
    for name in ("plain", "watched"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.py").write_text(KEPT)
        (tmp_path / name / "data.py").write_text(POINTS)
    seeded = (
        "import sys, runpy, unstick.state as s; s.seed_everything(0); sys.argv[:] = sys.argv[1:]; sys.path[0] = '.'"
    )
    seeded += "; runpy.run_path('train.py', run_name='__main__')"
    call = ["train.py", "--out=out", *arguments]
    command = [sys.executable, *(call if "--seed=3" in arguments else ["-c", seeded, *call])]
    expected = Running(tmp_path / "plain", command).end()
    asked = ["diagnose", "train.py", "--keep-going", "--json=../out.json", "--html=../out.html", "--", *call[1:]]
    status, out, _ = start(tmp_path / "watched", *asked).end()
    assert expected[0] == status == OK
    assert out.startswith(expected[1])
    assert out != expected[1]
    left, kept = files(tmp_path / "plain"), files(tmp_path / "watched")
    assert sorted(left) == sorted(kept)
    assert [name for name in left if not name.endswith(".pyc") and left[name] != kept[name]] == []
    report = json.loads((tmp_path / "out.json").read_text())
    assert (report["script"]["steps"], report["script"]["ended_early"]) == (300, False)
    assert (tmp_path / "out.html").read_text().endswith("</html>\n")


# -- what is printed ---------------------------------------------------------------------------------------------------


def test_json_alone_goes_to_standard_output(tmp_path: Path, diagnose: Call) -> None:
    text = PRELUDE + "print('a')\nos.write(1, b'b')\nos.system('echo c')\nforever()"
    status, out, err = diagnose(text, "--json=-", "--quiet", "--steps=20")
    assert status in (OK, FOUND)
    assert json.loads(out)["schema"] == "unstick/diagnosis/1"
    assert sorted(err) == sorted("a\nbc\n")


# -- unstick's own faults ----------------------------------------------------------------------------------------------

SPOILT = """
import unstick.script.strand as spoilt
exec(compile("def {name}(*_, **__): return {}['lost']", spoilt.__file__, "exec"), vars(spoilt))
spoilt.Strand.{name} = spoilt.{name}
"""


@pytest.mark.parametrize("name", ["after_step", "loop"])
def test_a_fault_of_ours_is_not_the_scripts(tmp_path: Path, diagnose: Call, name: str) -> None:
    """While the script runs, and afterwards. A script that spoils unstick stands in for one that meets a fault."""
    spoil = SPOILT.replace("{name}", name)
    status, out, err = diagnose(spoil + PRELUDE + "steps()", *["--debug"] * (name == "loop"))
    assert (status, out.replace("stepped\n", "")) == (BROKEN, "")
    said = complaint(err)
    assert said.startswith("unstick: a bug in unstick: KeyError: 'lost' (")
    assert "strand.py:1)" in said
    assert ("Traceback" in err) is (name == "loop")


# -- several processes -------------------------------------------------------------------------------------------------

DISTRIBUTED = """
import os, sys
import torch
import torch.distributed as dist
from torch import nn

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
x = torch.randn(256, 4)
y = x[:, :1] * 2 + x[:, 1:2] + 3
x, y = x[rank::2], y[rank::2]
model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1)))
opt = torch.optim.SGD(model.parameters(), lr=float(sys.argv[1]))
losses = []
for step in range(330):
    if rank == 1 and step == int(sys.argv[2]):
        sys.exit(5)
    i = torch.randint(len(x), (32,))
    opt.zero_grad()
    loss = nn.functional.mse_loss(model(x[i]), y[i])
    loss.backward()
    opt.step()
    losses.append(repr(loss.item()))
open(f"losses{rank}", "w").write(" ".join(losses))
dist.destroy_process_group()
"""


def torchrun(folder: Path, *arguments: str) -> tuple[int, str, str]:
    folder.mkdir()
    (folder / "train.py").write_text(DISTRIBUTED)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    return Running(folder, [*launcher, "--rdzv-endpoint=localhost:0", *arguments]).end()


WATCHED = ("--no-python", sys.executable, "-m", "unstick", "diagnose", "train.py", "--json=out.json")


def test_a_healthy_script_on_several_processes(tmp_path: Path) -> None:
    assert torchrun(tmp_path / "plain", "train.py", "0.1", "-1")[0] == 0
    status, out, _ = torchrun(tmp_path / "watched", *WATCHED, "--keep-going", "--", "0.1", "-1")
    assert status == 0
    assert out.count("Nothing wrong was found") == 1
    for name in ("losses0", "losses1"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "watched" / name).read_bytes()


def test_a_sick_script_on_several_processes_is_ended_on_all(tmp_path: Path) -> None:
    status, _, err = torchrun(tmp_path / "run", *WATCHED, "--", "1e-9", "-1")
    assert status == 1, err
    report = json.loads((tmp_path / "run" / "out.json").read_text())
    assert report["script"]["ended_early"] is True
    assert [f["rule"] for f in report["findings"] if f["severity"] == "error"]
    assert not (tmp_path / "run" / "losses1").exists()


def test_where_one_process_fails_none_hangs(tmp_path: Path) -> None:
    status, _, _ = torchrun(tmp_path / "run", *WATCHED, "--", "0.1", "50")
    assert status != 0


# -- scripts that hang, collected --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sleeps", "waits", "reads", "in C"])
def test_a_script_that_hangs_before_its_first_step(hanging: dict[str, Running], name: str) -> None:
    status, out, err = hanging[name].end()
    assert (status, out) == (WRONG, "")
    assert complaint(err).startswith("unstick: train.py made no optimizer step within 3 s, and was ended; if it needs")
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["after steps", "catches all that comes", "thread goes on"])
def test_a_script_that_hangs_after_steps_is_reported_on(hanging: dict[str, Running], name: str) -> None:
    status, out, err = hanging[name].end()
    assert status in (OK, FOUND), err
    assert "train.py" in out
    assert "Traceback" not in err


def test_a_script_that_hears_nothing_is_killed(hanging: dict[str, Running]) -> None:
    status, out, err = hanging["deaf after steps"].end()
    assert (status, out) == (WRONG, "stepped\n")
    assert "train.py did not end when its 10 s were over, and had to be killed" in complaint(err)
