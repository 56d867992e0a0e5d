"""The command line as other programs see it: standard output, files, exit status."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unstick.cli import BROKEN, FOUND, INTERRUPTED, OK, WRONG, main
from unstick.cli.ask import read
from unstick.errors import QuestionError

MODEL = """
import torch
from torch import nn
from unstick import Case

print("a word from the user's own code")
x = torch.randn(128, 4, generator=torch.Generator().manual_seed(0))
y = x[:, :1] - 2 * x[:, 1:2]

def network():
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))

def stuck_network():
    layers = [nn.Linear(4, 16), nn.Sigmoid()]
    for _ in range(24):
        layers += [nn.Linear(16, 16), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(16, 1))

def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.01)

well = Case(model=network, data=(x, y), loss=nn.functional.mse_loss, optimizer=adam)
stuck = Case(model=stuck_network, data=(x, y), loss=nn.functional.mse_loss)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with two cases in model.py."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


def unstick(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "unstick", *arguments], capture_output=True, text=True, **options)


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["--version"], ["diagnose", "--help"], ["compare", "--help"], ["try", "--nonsense"]]
)
def test_help_and_wrong_calls_do_not_wait_for_torch(arguments: list[str]) -> None:
    code = f"""
import sys
from unstick.cli import main
main({arguments!r})
print([name for name in ("torch", "numpy", "rich", "loky") if name in sys.modules], file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["demo", "diagnose", "try", "check", "compare", "theory", "rules", "remedies"])
def test_help_teaches_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == OK
    assert f"  unstick {command}" in capsys.readouterr().out.split("Options:")[0].split("\n", 1)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diagnose"], "Missing argument 'TARGET'. See 'unstick diagnose --help'."),
        (["diagnose", "nowhere.py:case"], "nowhere.py does not exist"),
        (["diagnose", "model"], "is no target: write file.py:name"),
        (["diagnose", "model.py:wll"], "did you mean well?"),
        (["try", "model.py:well", "rellu"], "did you mean 'relu'?"),
        (["diagnose", "model.py:well", "--steps", "0"], "Invalid value for '--steps': 0 is too small"),
        (["diagnose", "model.py:well", "--budget", "nan"], "nan is not a number of seconds above 0"),
        (["diagnose", "model.py:well", "--budget", "-1"], "-1 is not a number of seconds above 0"),
        (["try", "model.py:well", "--seeds", "-1"], "Invalid value for '--seeds'"),
        (["try", "model.py:well", "--workers", "none"], "'none' is not a whole number"),
        (["try", "model.py:well", "relu", "--engine", "dask"], "there is no engine 'dask': choose local, ray, or"),
        (["try", "model.py:well", "relu", "--engine", "ray", "--workers", "2"], "workers is for this machine"),
        (["try", "model.py:well", "relu", "--gpus", "0.5"], "gpus is for the engine ray"),
        (["try", "model.py:well", "--gpus", "0"], "0 is not a number of GPUs above 0"),
        (["try", "model.py:well", "relu", "--resume", "model.py"], "model.py: no results can be kept there"),
        (["diagnose", "model.py:well", "--seeds", "3"], "No such option '--seeds'"),
        (["diagnose", "model.py:well", "--device", "nonsense"], "'nonsense' cannot be used here"),
        (["diagnose", "model.py:well", "--json", "no/report.json"], "--json no/report.json: there is no directory no"),
        (["diagnose", "model.py:well", "--html", "."], "--html .: that is a directory"),
        (["diagnose", "model.py:well", "--html", "-"], "--html needs the name of a file"),
        (["diagnose", "model.py:well", "--json", "a", "--html", "a"], "--json and --html both name a"),
        (["check", "no-such-question"], "there is no question file no-such-question"),
        (["check", "--target", "nowhere.py:case"], "nowhere.py does not exist"),
        (["compare", "before.json"], "Missing argument 'AFTER'"),
        (["compare", "before.json", "after.json"], "there is no file before.json"),
        (["compare", "-", "-"], "only one of the two can be standard input. See 'unstick compare --help'."),
        (["theory"], "name an ACTIVATION, or give --map FILE"),
        (["theory", "sigmod"], "theory knows no activation 'sigmod'; did you mean 'sigmoid'?"),
        (["theory", "tanh", "--init", "hee"], "there is no initialisation 'hee'; did you mean 'he'?"),
        (["theory", "tanh", "--init", "normal"], "needs a standard deviation (std)"),
        (["theory", "tanh", "--std", "nan", "--width", "8"], "a standard deviation is a number from 0 up; nan is not"),
        (["theory", "softplus", "--init", "critical"], "softplus has no edge of chaos"),
        (["theory", "tanh", "--norm", "rms"], "'rms' is not one of 'batchnorm', 'layernorm'"),
        (["theory", "tanh", "--norm", "layernorm", "--width", "2"], "width is 2"),
        (["theory", "tanh", "--batch", "64"], "--batch goes with --norm batchnorm"),
        (["theory", "tanh", "--depth", "0"], "0 is too small"),
        (["dance"], "No such command 'dance'"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == WRONG
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith("unstick: ")
    assert message in lines[0]
    assert "Traceback" not in out + err
    assert sorted(p.name for p in folder.iterdir() if p.name != "__pycache__") == ["model.py"]


def test_debug_shows_the_traceback(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "nowhere.py:case", "--debug"]) == WRONG
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_of_ours_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import unstick.rules

    monkeypatch.setattr(unstick.rules, "RULES", [object()])
    assert main(["rules"]) == BROKEN
    error = capsys.readouterr().err
    assert error.startswith("unstick: a bug in unstick: AttributeError: ")
    assert "--debug" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(("name", "status"), [("well", OK), ("stuck", FOUND)])
def test_diagnose(folder: Path, capsys: pytest.CaptureFixture[str], name: str, status: int) -> None:
    arguments = ["diagnose", f"model.py:{name}", "--steps", "60", "--json", "d.json", "--html", "d.html"]
    assert main(arguments) == status
    out, err = capsys.readouterr()
    document = json.loads((folder / "d.json").read_text())
    assert document["schema"] == "unstick/diagnosis/1"
    assert document["target"] == f"model.py:{name}"
    assert document["healthy"] is (status == OK)
    assert f"model.py:{name} {'learns' if name == 'well' else 'does not learn'}" in " ".join(out.split())
    assert (folder / "d.html").read_text().startswith("<!DOCTYPE html>")
    assert err.splitlines() == ["written: d.json", "written: d.html"]


def test_json_on_standard_output_is_alone_there(folder: Path) -> None:
    ran = unstick("try", "model.py:well", "relu", "--steps=20", "--seeds=2", "--workers=2", "--json=-", cwd=folder)
    assert ran.returncode == OK, ran.stderr
    document = json.loads(ran.stdout)
    assert document["schema"] == "unstick/trials/1"
    assert [trial["remedy"] for trial in document["trials"]] == ["relu"]
    assert "a word from the user's own code" in ran.stderr


def test_check_with_a_question_of_ones_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    statement = 'id = 7\ntext = "Use [red]ReLU[/red]."\nremedies = ["relu"]\n'
    (folder / "mine.toml").write_text(f'title = "Mine"\ntarget = "model.py:well"\n[[statement]]\n{statement}')
    assert main(["check", "mine.toml", "--steps=20", "--seeds=2", "--workers=1", "--quiet", "--json=a.json"]) == OK
    out, err = capsys.readouterr()
    document = json.loads((folder / "a.json").read_text())
    assert document["schema"] == "unstick/answer/1"
    assert document["asked"] is None
    assert "7. Use [red]ReLU[/red]." in out
    assert out.splitlines()[-1] == f"answer: {', '.join(map(str, document['answer'])) or 'none'}"
    assert err == ""


def test_ask_compares_the_readers_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("2, 3\n"))
    quick = ["--target=model.py:well", "--steps=3", "--seeds=2", "--workers=1"]
    assert main(["check", "--ask", *quick, "--json=-"]) == OK
    out, err = capsys.readouterr()
    assert json.loads(out)["asked"] == [2, 3]
    assert "Which of these hold?" in err


@pytest.mark.parametrize(("line", "message"), [("", "standard input has none"), ("2,9\n", "'9' is not the number")])
def test_ask_without_a_usable_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(line))
    assert main(["check", "kaylee", "--ask"]) == WRONG
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "numbers"),
    [("2,3\n", (2, 3)), (" 3 2 ", (2, 3)), ("{2, 3}", (2, 3)), ("2 and 3", (2, 3)), ("3,3", (3,)), ("None", ())],
)
def test_read_answer(line: str, numbers: tuple[int, ...]) -> None:
    assert read(line, [1, 2, 3, 4]) == numbers


@pytest.mark.parametrize("line", ["", "\n", "5", "two", "none 2", "2-3"])
def test_read_refuses(line: str) -> None:
    with pytest.raises(QuestionError, match=r"choose from 1, 2, 3, 4, or none\."):
        read(line, [1, 2, 3, 4])


def test_rules_and_remedies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    from unstick import REMEDIES, RULES

    assert main(["rules", "--json", "-"]) == OK
    rules = json.loads(capsys.readouterr().out)["rules"]
    assert [rule["id"] for rule in rules] == [rule.id for rule in RULES]
    assert main(["remedies", "--json", "-"]) == OK
    remedies = json.loads(capsys.readouterr().out)["remedies"]
    assert [tuple(remedy["names"]) for remedy in remedies] == [remedy.names for remedy in REMEDIES]
    assert main(["rules"]) == OK
    text = capsys.readouterr().out
    assert all(rule["id"] in text and rule["title"] in text for rule in rules)


def test_compare_answers_without_torch(folder: Path) -> None:
    """One process, from two files to JSON and a page."""
    learning = {"learns": False, "initial_loss": 2.3, "final_loss": 2.3, "steps": 100}
    before = {"schema": "unstick/diagnosis/1", "target": "a", "learning": learning, "findings": []}
    (folder / "before.json").write_text(json.dumps(before))
    (folder / "after.json").write_text(json.dumps({**before, "learning": {**learning, "learns": True}}))
    code = """
import sys
from unstick.cli import main
status = main(["compare", "before.json", "after.json", "--json=-", "--html=page.html"])
print([name for name in ("torch", "numpy") if name in sys.modules], file=sys.stderr)
sys.exit(status)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    document = json.loads(ran.stdout)
    assert document["schema"] == "unstick/comparison/1"
    assert document["names"] == ["before.json", "after.json"]
    assert [(row["what"], row["better"]) for row in document["changed"]] == [("learns", True)]
    assert ran.stderr.splitlines() == ["written: page.html", "[]"]
    assert "✓ better" in re.sub("<[^>]*>", "", (folder / "page.html").read_text())


def test_theory_answers_without_torch() -> None:
    """One process, from arguments to JSON."""
    code = """
import sys
from unstick.cli import main
status = main(["theory", "gelu", "--init", "he", "--depth", "40", "--width", "64", "--norm", "batchnorm", "--json=-"])
print([name for name in ("torch", "scipy") if name in sys.modules], file=sys.stderr)
sys.exit(status)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    document = json.loads(ran.stdout)
    assert document["schema"] == "unstick/theory/1"
    assert document["network"] == {"depth": 40, "width": 64, "norm": "batchnorm", "side": "before", "batch": None}
    assert ran.stderr.splitlines()[-1] == "[]"


def test_theory_shows_what_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theory", "sigmoid", "--depth", "40", "--width", "64"]) == OK
    text = " ".join(capsys.readouterr().out.split())
    assert "signals survive about 1.53 layers, then the gradient has vanished. This network has 40." in text
    assert "decades (factors of ten) lost over 40 layers" in text


def test_a_reader_that_goes_away_is_no_error() -> None:
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m unstick rules | true"], capture_output=True, text=True
    )
    assert ran.stderr == ""


def test_files_are_written_also_if_nobody_reads_the_terminal(folder: Path) -> None:
    """And the exit status is that of the diagnosis."""
    (folder / "silent.py").write_text(MODEL.replace("print", "str"))
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "unstick", "diagnose", "silent.py:stuck", "--steps", "2"]
    files = ["--json", "a.json", "--html", "a.html"]
    ran = subprocess.run([*command, *files], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert ran.returncode == FOUND
    assert ran.stderr.splitlines()[-2:] == ["written: a.json", "written: a.html"]
    assert json.loads((folder / "a.json").read_text())["schema"] == "unstick/diagnosis/1"
    assert (folder / "a.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_file_that_fails_does_not_take_the_others_with_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--json", "/dev/full", "--html", "a.html", "--svg", "a.svg"]
    assert main(["diagnose", "model.py:well", "--steps", "2", *files]) == WRONG
    said = capsys.readouterr().err.splitlines()
    assert said[-3:-1] == ["written: a.html", "written: a.svg"]
    assert said[-1] == "unstick: --json /dev/full: cannot be written (No space left on device)."


def test_one_file_under_two_names(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "model.py:well", "--json", "a", "--html", "./a"]) == WRONG
    assert "--json and --html both name ./a" in capsys.readouterr().err
    assert not (folder / "a").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all names of files are Unicode")
def test_names_that_are_not_unicode(folder: Path) -> None:
    """They are in the document as the target, as a place in the source, and in the command."""
    name = os.fsdecode(b"m\xe9.py")
    (folder / "model.py").rename(name)
    ran = unstick("diagnose", f"{name}:well", "--steps", "2", "--json", "a.json", "--html", "a.html", "--quiet")
    assert ran.returncode == OK, ran.stderr
    document = json.loads((folder / "a.json").read_text())
    assert document["command"].startswith("unstick diagnose 'm?.py:well'")
    assert "m?.py:well" in (folder / "a.html").read_text()


def test_output_that_is_not_unicode() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    ran = unstick("rules", env=environment)
    assert ran.returncode == OK
    assert ran.stdout.isascii()


@pytest.mark.parametrize(
    ("environment", "arguments", "coloured"),
    [({}, [], True), ({"NO_COLOR": "1"}, [], False), ({}, ["--no-color"], False)],
)
def test_colour_on_a_terminal(environment: dict[str, str], arguments: list[str], coloured: bool) -> None:
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "unstick", "remedies", *arguments]
    subprocess.run(command, stdout=follower, env={**kept, "TERM": "xterm-256color", **environment}, check=True)
    text = os.read(leader, 4096)
    os.close(follower)
    os.close(leader)
    assert (b"\x1b[1;36m" in text) is coloured


SLOW = """
import time
from model import network, x, y, Case, nn

made = 0

def slow_network():
    global made
    made += 1
    if made == 6:  # by then some runs are done
        print("stop me now", flush=True)
        time.sleep(60)
    return network()

case = Case(model=slow_network, data=(x, y), loss=nn.functional.mse_loss)
"""


def test_ctrl_c_prints_what_is_known(folder: Path) -> None:
    (folder / "slow.py").write_text(SLOW)
    arguments = ["try", "slow.py:case", "relu", "selu", "--steps=5", "--workers=1", "--json=t.json"]
    command = [sys.executable, "-m", "unstick", *arguments]
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None
    while "stop me now" not in running.stdout.readline():
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == INTERRUPTED
    assert err.splitlines() == ["written: t.json"]
    document = json.loads((folder / "t.json").read_text())
    assert document["interrupted"] is True
    assert document["baseline"]["seeds"] > 0
    assert "Interrupted" in out


def test_ctrl_c_before_anything_is_known(folder: Path) -> None:
    (folder / "stopped.py").write_text("raise KeyboardInterrupt\n")
    ran = unstick("diagnose", "stopped.py:case", cwd=folder)
    assert ran.returncode == INTERRUPTED
    assert ran.stderr == "unstick: interrupted\n"
