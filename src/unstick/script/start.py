"""A script's start, as the interpreter itself makes it."""

from __future__ import annotations

import builtins
import io
import os
import runpy
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

from .spec import Script

OURS = __name__.partition(".")[0]


class NoSuchModule(Exception):
    """What is to be run with -m cannot be; the message says why."""


def run_as_main(script: Script, early: frozenset[str]) -> None:
    """Run a script the way the interpreter does. early: the modules that every process has loaded when it starts.

    Raises whatever the script raises, and NoSuchModule.
    """
    main = ModuleType("__main__")
    vars(main).update(__builtins__=builtins, __annotations__={}, __cached__=None)
    sys.modules["__main__"] = main
    code = (_module if script.module else _file)(script, main, early)
    exec(code, vars(main))


def _file(script: Script, main: ModuleType, early: frozenset[str]) -> CodeType:
    sys.argv = [script.path, *script.arguments]
    path = script.path if os.path.isabs(script.path) else os.path.join(os.getcwd(), script.path)
    _look_first_in(os.path.dirname(os.path.realpath(path)), early)
    main.__file__, main.__loader__ = path, SourceFileLoader("__main__", path)
    with io.open_code(path) as file:
        return compile(file.read(), path, "exec", dont_inherit=True)


def _module(script: Script, main: ModuleType, early: frozenset[str]) -> CodeType:
    sys.argv = ["-m", *script.arguments]
    _look_first_in(os.getcwd(), early)
    try:
        # pdb and trace of the standard library find a module in this way, too.
        _, spec, code = runpy._get_module_details(script.path)  # type: ignore[attr-defined]
    except ImportError as error:
        if not _raised_by_runpy(error):
            raise
        raise NoSuchModule(str(error)) from None
    _describe(main, spec)
    sys.argv[0] = spec.origin
    module: CodeType = code
    return module


def _describe(main: ModuleType, spec: ModuleSpec) -> None:
    main.__spec__, main.__package__, main.__loader__ = spec, spec.parent, spec.loader
    vars(main).update(__file__=spec.origin, __cached__=spec.cached)


def _raised_by_runpy(error: ImportError) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") == "runpy"


def _look_first_in(folder: str, early: frozenset[str]) -> None:
    """Imports are looked for there before all other places.

    What this process has imported for itself is forgotten where a file of the same name lies there (`statistics.py`):
    the script means that one.
    """
    sys.path.insert(0, folder)
    loaded = {name.partition(".")[0] for name in sys.modules} - early - {OURS, "__main__"}
    hidden = {name for name in loaded if _is_another(name, folder)}
    for name in [name for name in sys.modules if name.partition(".")[0] in hidden]:
        del sys.modules[name]


def _is_another(name: str, folder: str) -> bool:
    """Whether the folder has a module of this name that is not the one that is loaded. A folder without `__init__.py`
    comes last of all."""
    found = PathFinder.find_spec(name, [folder])
    known = getattr(sys.modules.get(name), "__spec__", None)
    return found is not None and found.origin is not None and found.origin != getattr(known, "origin", None)
