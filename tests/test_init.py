"""The public names."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import unstick


@pytest.mark.parametrize("name", unstick.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(unstick, name) is not None
    assert name in dir(unstick)


def test_type_checkers_and_python_see_the_same_names() -> None:
    tree = ast.parse(Path(unstick.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen | {"__version__"} == set(unstick.__all__)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        unstick.nonsense  # noqa: B018


def test_modules_do_not_hide_the_functions_of_the_same_name() -> None:
    code = """
import unstick.compare, unstick.diagnose, unstick.observe
import unstick
assert callable(unstick.compare) and callable(unstick.diagnose) and callable(unstick.observe)
from unstick import diagnose
assert diagnose is unstick.diagnose
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import unstick, sys; assert 'torch' not in sys.modules; unstick.Case; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
