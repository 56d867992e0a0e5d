"""In notebooks work shows a bar while it lasts, and results show themselves. The programs that run them are real."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from unstick.observation import Progress
from unstick.report.notebooks import SELDOM, Bars, watched

CASE = """
import os, signal, sys
import torch, unstick
from torch import nn

def case(at_step_30=lambda: None):
    def batches():
        torch.manual_seed(0)
        for step in range(10_000):
            if step == 30:
                at_step_30()
            x = torch.randn(32, 8)
            yield x, (x.sum(1) > 0).long()

    model = lambda: nn.Sequential(nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 2))
    return unstick.Case(model, batches, nn.CrossEntropyLoss(), name="learner")

def fail():
    raise RuntimeError("no more data")

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
"""

JUPYTER = {
    "case": CASE,
    "diagnose": "print('before'); unstick.diagnose(case(), steps=60)",
    "try": "unstick.try_remedies(case(), ['relu'], steps=20, seeds=2, workers=1)",
    "check": "unstick.check('kaylee', case(), steps=5, seeds=2, workers=1)",
    "demo": "from unstick.demo import demo; demo(steps=5, seeds=2, workers=2)",
    "silent": "unstick.diagnose(case(), steps=20, progress=lambda *_: None)",
    "assigned": "kept = unstick.diagnose(case(), steps=20)",
    "failed": "unstick.diagnose(case(fail), steps=60)",
    "interrupted": "unstick.diagnose(case(interrupt), steps=60)",
    "modules": "assert not {'ipywidgets', 'marimo'} & sys.modules.keys()",
}


class Recorder(NotebookClient):
    """Keeps what the kernel published, cell by cell."""

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        self.published[list(JUPYTER)[cell_index]].append((msg["msg_type"], msg["content"]))
        return super().process_message(msg, cell, cell_index)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What these programs write on the side goes to a folder that is thrown away."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(folder))
        for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):  # marimo
            patch.setenv(name, str(folder))
        yield


@pytest.fixture(scope="module")
def jupyter(environment: None) -> SimpleNamespace:
    """published: (message type, content) by cell. outputs: what is saved of each cell."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in JUPYTER.values()])
    client = Recorder(notebook, kernel_name="python3", allow_errors=True, timeout=120)
    client.published = {name: [] for name in JUPYTER}
    client.execute()
    nbformat.validate(notebook)
    outputs = {name: cell.outputs for name, cell in zip(JUPYTER, notebook.cells, strict=True)}
    return SimpleNamespace(published=client.published, outputs=outputs)


def bars(published: list[tuple[str, Any]]) -> list[tuple[str, str, dict[str, str]]]:
    """(message type, display id, data) of what was drawn in place."""
    return [
        (kind, content["transient"]["display_id"], content["data"])
        for kind, content in published
        if kind in ("display_data", "update_display_data")
    ]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("diagnose", "learner"),
        ("try", "(unchanged)"),
        ("check", "answer: "),
        ("demo", "What is wrong?"),
        ("silent", "learner"),
        ("interrupted", "nterrupted"),
    ],
)
def test_a_result_is_shown_as_html_and_in_words(jupyter: SimpleNamespace, cell: str, words: str) -> None:
    result = jupyter.outputs[cell][-1]
    assert result.output_type == "execute_result"
    assert set(result.data) == {"text/html", "text/plain"}
    assert words in result.data["text/plain"]
    assert words in result.data["text/html"]
    assert "\x1b" not in result.data["text/plain"]
    assert "Diagnosis(" not in result.data["text/plain"]


@pytest.mark.parametrize("cell", ["diagnose", "try", "check", "demo", "assigned", "failed", "interrupted"])
def test_one_bar_is_drawn_in_place_and_taken_away(jupyter: SimpleNamespace, cell: str) -> None:
    (first, *updates) = bars(jupyter.published[cell])
    assert first[0] == "display_data"
    assert {kind for kind, _, _ in updates} == {"update_display_data"}
    assert len({display for _, display, _ in (first, *updates)}) == 1
    assert all("<progress" in data["text/html"] and "/" in data["text/plain"] for _, _, data in (first, *updates[:-1]))
    assert updates[-1][2] == {}


@pytest.mark.parametrize("cell", list(JUPYTER))
def test_nothing_else_is_left_in_the_notebook(jupyter: SimpleNamespace, cell: str) -> None:
    shown = [output for output in jupyter.outputs[cell] if output.output_type != "display_data" or output.data]
    expected = {
        "case": [],
        "assigned": [],
        "modules": [],
        "failed": ["error"],
        "diagnose": ["stream", "execute_result"],
    }
    assert [output.output_type for output in shown] == expected.get(cell, ["execute_result"])
    assert all(output.name == "stdout" for output in shown if output.output_type == "stream")
    assert "<progress" not in json.dumps(jupyter.outputs[cell])


def test_bars_reach_their_ends(jupyter: SimpleNamespace) -> None:
    assert bars(jupyter.published["diagnose"])[-2][2]["text/plain"].startswith("training 60/60")
    assert bars(jupyter.published["try"])[0][2]["text/plain"] == "trials 0/1"
    assert bars(jupyter.published["try"])[-2][2]["text/plain"] == "trials 4/4"


def test_a_function_of_the_callers_own_is_called_instead(jupyter: SimpleNamespace) -> None:
    assert bars(jupyter.published["silent"]) == []


LOOK = """
import marimo as mo
from marimo._runtime.context import get_context

drawn = []

def look():
    output = get_context().execution_context.output.stack()
    drawn.append(output.text if output else "")
"""

MARIMO = {
    "case": CASE + LOOK,
    "diagnose": "mo.output.append(mo.md('put here first')); diagnosis = unstick.diagnose(case(look), steps=60)",
    "drawn": "diagnosis; drawn",
    "shown": "diagnosis",
    "try": "unstick.try_remedies(case(), ['relu'], steps=20, seeds=2, workers=1)",
    "failed": "unstick.diagnose(case(fail), steps=60)",
    "interrupted": "unstick.diagnose(case(interrupt), steps=60)",
}
RETURNED = {"case": "case, drawn, fail, interrupt, look, mo, unstick", "diagnose": "diagnosis"}


@pytest.fixture(scope="module")
def marimo(environment: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What marimo keeps of each cell, run without a browser."""
    file = tmp_path_factory.mktemp("marimo") / "notebook.py"
    parts = ["import marimo", "app = marimo.App()"]
    for name, code in MARIMO.items():
        taken = "" if name == "case" else ", ".join(RETURNED.values())
        body = textwrap.indent(f"{code.strip()}\nreturn ({RETURNED.get(name, '')})", "    ")
        parts.append(f"@app.cell\ndef _({taken}):\n{body}")
    file.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "marimo", "export", "session", str(file)]
    ran = subprocess.run(command, capture_output=True, text=True)
    kept = json.loads((file.parent / "__marimo__" / "session" / "notebook.py.json").read_text("utf-8"))
    assert len(kept["cells"]) == len(MARIMO), ran.stderr
    return dict(zip(MARIMO, kept["cells"], strict=True))


def test_marimo_draws_its_own_bar_below_what_is_there_already(marimo: dict[str, Any]) -> None:
    drawn = str(marimo["drawn"]["outputs"])
    assert "marimo-progress" in drawn
    assert "training" in drawn
    assert "put here first" in drawn


@pytest.mark.parametrize("cell", [name for name in MARIMO if name != "drawn"])
def test_marimo_keeps_no_bar(marimo: dict[str, Any], cell: str) -> None:
    assert "marimo-progress" not in json.dumps(marimo[cell])
    assert [output["type"] for output in marimo[cell]["outputs"]] == ["error" if cell == "failed" else "data"]
    assert ("put here first" in json.dumps(marimo[cell])) == (cell == "diagnose")
    assert cell == "failed" or marimo[cell]["console"] == []


@pytest.mark.parametrize(
    ("cell", "words"), [("shown", "does not learn"), ("try", "(unchanged)"), ("interrupted", "nterrupted")]
)
def test_marimo_shows_the_report_itself(marimo: dict[str, Any], cell: str, words: str) -> None:
    (shown,) = marimo[cell]["outputs"]
    assert words in shown["data"]["text/html"]


def test_an_ipython_console_shows_the_words_and_no_bar(environment: None) -> None:
    options = ["--simple-prompt", "--no-banner", "--colors=NoColor", "--no-confirm-exit"]
    lines = f"exec({CASE!r})\nunstick.diagnose(case(), steps=20)\n"
    ran = subprocess.run([sys.executable, "-m", "IPython", *options], input=lines, capture_output=True, text=True)
    assert "learner does not learn" in ran.stdout
    assert "Diagnosis(" not in ran.stdout
    assert "20/20" not in ran.stdout + ran.stderr


def test_plain_python_shows_the_words_and_imports_no_notebook() -> None:
    lines = f"exec({CASE!r})\nunstick.diagnose(case(), steps=20)\nprint({{'IPython', 'marimo'}} & sys.modules.keys())\n"
    ran = subprocess.run([sys.executable, "-i"], input=lines, capture_output=True, text=True)
    assert "learner does not learn" in ran.stdout
    assert ran.stdout.endswith("set()\n")
    assert "20/20" not in ran.stdout + ran.stderr


class Counted(Bars):
    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[tuple[int, int]] = []

    def draw(self, description: str) -> None:
        self.drawn.append(self.bars[description])


def test_a_notebook_is_not_drawn_at_each_step() -> None:
    bars, started = Counted(), time.perf_counter()
    for step in range(20_000):
        bars("training", step + 1, 20_000)
    assert len(bars.drawn) <= 2 + (time.perf_counter() - started) / SELDOM
    assert bars.drawn[0] == (1, 20_000)
    assert bars.drawn[-1] == (20_000, 20_000)


def test_a_total_that_grows_is_drawn_at_once() -> None:
    bars = Counted()
    for state in ((0, 1), (1, 1), (1, 12)):
        bars("trials", *state)
    assert bars.drawn == [(0, 1), (1, 1), (1, 12)]


@watched
def inner(*, progress: Progress | None = None) -> Progress | None:
    return progress


def test_outside_of_notebooks_a_function_gets_what_it_was_given() -> None:
    def own(*_: object) -> None: ...

    assert inner() is None
    assert inner(progress=own) is own
