"""From a target to a case; everything that can be wrong with one is said in one line."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import pytest

from unstick.case import Case
from unstick.errors import TargetError
from unstick.target import load

GOOD = """
import torch
from torch import nn
from unstick import Case

def network():
    return nn.Linear(3, 1)

def build(width=3):
    return Case(model=network, data=(torch.zeros(8, width), torch.zeros(8, 1)), loss=nn.functional.mse_loss)

case = build()
named = Case(model=network, data=case.data, loss=case.loss, name="my own")
count = 3
net = network()

def needs(width, *, depth):
    return build(width)

def returns_nothing():
    pass

def raises():
    raise ZeroDivisionError("no such luck\\nreally")

def leaves():
    raise SystemExit(3)

def stopped():
    raise KeyboardInterrupt
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a file into an empty current directory."""
    monkeypatch.chdir(tmp_path)

    def writer(text: str = GOOD, name: str = "model.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return writer


@pytest.mark.parametrize("name", ["case", "build"])
def test_a_case_or_a_function_that_returns_one(write: Callable[..., Path], name: str) -> None:
    write()
    case = load(f"model.py:{name}")
    assert isinstance(case, Case)
    assert case.name == f"model.py:{name}"


def test_a_name_of_its_own_is_kept(write: Callable[..., Path]) -> None:
    write()
    assert load("model.py:named").name == "my own"


def test_a_module_in_the_current_directory(write: Callable[..., Path]) -> None:
    write(name="package_of_mine/networks.py")
    assert load("package_of_mine.networks:case").name == "package_of_mine.networks:case"


def test_neighbours_can_be_imported_and_the_path_is_restored(write: Callable[..., Path]) -> None:
    write(
        "from neighbour_of_mine import build\ndef late():\n    import later_neighbour\n    return build()\n", "sub/a.py"
    )
    write(GOOD, "sub/neighbour_of_mine.py")
    write("", "sub/later_neighbour.py")
    before = list(sys.path)
    assert isinstance(load("sub/a.py:late"), Case)
    assert sys.path == before


def test_a_file_may_have_the_name_of_an_installed_module(write: Callable[..., Path]) -> None:
    write(name="json.py")
    load("json.py:case")
    assert "site-packages" not in str(sys.modules["json"].__file__)
    assert hasattr(sys.modules["json"], "dumps")


def test_a_file_that_changed_is_read_again(write: Callable[..., Path]) -> None:
    write()
    load("model.py:case")
    write(GOOD.replace('"my own"', '"a longer name"'))
    assert load("model.py:named").name == "a longer name"


def test_what_was_loaded_can_be_sent_to_a_process_that_cannot_import_it(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    write("from helper_of_mine import build\nfrom unstick import Case\ncase = build()\n", "sub/model.py")
    write(GOOD, "sub/helper_of_mine.py")
    packed = tmp_path / "case.pickle"
    packed.write_bytes(cloudpickle.dumps(load("sub/model.py:case")))
    code = f"import pickle; case = pickle.load(open({str(packed)!r}, 'rb')); print(case.model())"
    ran = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True)
    assert "Linear" in ran.stdout


def test_the_packaged_case_is_pickled_by_reference() -> None:
    case = load("unstick.cases.kaylee:kaylee")
    assert b"unstick.cases.kaylee" in pickle.dumps(case.model)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("model.py", "'model.py' is no target: write file.py:name"),
        (":case", "':case' is no target"),
        ("model.py:", "'model.py:' is no target"),
        ("model.py:two words", "is no target"),
        ("missing.py:case", "missing.py does not exist (looked in"),
        ("folder.py:case", "folder.py is a directory"),
        ("no_such_module:case", "there is no module no_such_module, here or installed"),
        ("model.deeper:case", "there is no module model.deeper"),
        ("model.py:biuld", "there is no biuld in it; did you mean build?"),
        ("model.py:xyzzy", "there is no xyzzy in it; did you mean network or build or case or named or needs?"),
        ("empty.py:case", "it defines neither a Case nor a function."),
        ("model.py:count", "is an int, not a Case; wrap it"),
        ("model.py:net", "is a Linear, not a Case; wrap it"),
        ("model.py:Case", "is the class Case, not a Case"),
        ("model.py:needs", "needs arguments (width, depth), but is called without any"),
        ("model.py:returns_nothing", "returned None, not a Case; end it with `return Case(...)`."),
        ("model.py:network", "returned a Linear, not a Case"),
        ("model.py:raises", "failed when it was called: ZeroDivisionError: no such luck really (model.py:24)"),
        ("model.py:leaves", "failed when it was called: SystemExit: 3 (model.py:27)"),
        ("exits.py:case", "cannot be loaded: SystemExit: 1 (exits.py:2); keep what ends the program under"),
        ("broken.py:case", "cannot be loaded: SyntaxError: '(' was never closed (broken.py:1)"),
        ("imports.py:case", "cannot be loaded: ModuleNotFoundError: No module named 'nowhere' (imports.py:1)"),
        ("imports:case", "cannot be imported: ModuleNotFoundError: No module named 'nowhere' (imports.py:1)"),
        ("misuse.py:case", "model must be an nn.Module or a function that returns one"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(write: Callable[..., Path], target: str, message: str) -> None:
    write()
    write("", "empty.py")
    write("import sys\nsys.exit(1)\n", "exits.py")
    write("f(\n", "broken.py")
    write("import nowhere\n", "imports.py")
    write("from unstick import Case\ncase = Case(model=3, data=None)\n", "misuse.py")
    Path("folder.py").mkdir()
    with pytest.raises(TargetError) as caught:
        load(target)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_fails_leaves_no_module_and_no_path_behind(write: Callable[..., Path]) -> None:
    write("1 / 0\n")
    path, modules = list(sys.path), set(sys.modules)
    with pytest.raises(TargetError):
        load("model.py:case")
    assert sys.path == path
    assert set(sys.modules) == modules


def test_ctrl_c_passes_through(write: Callable[..., Path]) -> None:
    write()
    with pytest.raises(KeyboardInterrupt):
        load("model.py:stopped")
