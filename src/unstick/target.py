"""From `file.py:name` or `package.module:name` to the case that it names."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
from torch import nn

from .case import Case, describe
from .errors import TargetError, UnstickError
from .script.spec import Script

FORM = (
    "write file.py:name or package.module:name, where name is a Case or a function that returns one, or file.py for a "
    "training script"
)


def script(target: str, arguments: tuple[str, ...], module: bool) -> Script | None:
    """The training script that `target` names: a file without the name of a case in it, or a `module` that is run.

    None where it names a case. Raises TargetError where a case is given arguments, which only scripts take.
    """
    if module or (target.endswith(".py") and ":" not in Path(target).name):
        return Script(target, arguments, module)
    if arguments:
        raise TargetError(f"{target} is no script, so it takes no arguments: leave out what follows --.")
    return None


def load(target: str) -> Case:
    """The case that `target` leads to; its name is the target unless it has one of its own.

    While the user's code runs, the file's own directory (for a module: the current one) can be imported from. What is
    loaded from there is registered to be pickled by value, since a worker process could not import it.
    Raises TargetError, whose message is one line; KeyboardInterrupt passes through.
    """
    where, _, name = target.rpartition(":")
    if not where or not name.isidentifier():
        raise TargetError(f"{target!r} is no target: {FORM}.")
    path = Path(where)
    is_file = path.suffix == ".py"
    folder = path.resolve().parent if is_file else Path.cwd()
    with _importable(folder), _by_value(folder):
        module = _from_file(path, target) if is_file else _from_name(where, target)
        case = _case(_named(module, name, target), target)
    return case if case.name else replace(case, name=target)


def _from_file(path: Path, target: str) -> ModuleType:
    """Run the file as a module with a name that no other module has."""
    if not path.is_file():
        what = "is a directory" if path.is_dir() else f"does not exist (looked in {Path.cwd()})"
        raise TargetError(f"{target}: {path} {what}; name a Python file.")
    digest = hashlib.sha256(bytes(path.resolve())).hexdigest()[:8]
    name = f"unstick_target_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None  # there is a loader for every name that ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _running(target, "cannot be loaded"):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _from_name(name: str, target: str) -> ModuleType:
    with _running(target, "cannot be imported"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            # Is it the module asked for (or a package on the way to it) that is missing, or one that it imports?
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            raise TargetError(
                f"{target}: there is no module {error.name}, here or installed; a file is named as file.py:name."
            ) from None


def _named(module: ModuleType, name: str, target: str) -> Any:
    with _running(target, "failed"):
        if hasattr(module, name):
            return getattr(module, name)
    offered = [key for key, value in vars(module).items() if _offers(module, key, value)]
    near = difflib.get_close_matches(name, offered, n=3) or offered[:5]
    hint = f"did you mean {' or '.join(near)}?" if near else "it defines neither a Case nor a function."
    raise TargetError(f"{target}: there is no {name} in it; {hint}")


def _offers(module: ModuleType, key: str, value: Any) -> bool:
    """Whether a name in the module could be meant: a case, or a function that the module itself defines."""
    own = inspect.isfunction(value) and value.__module__ == module.__name__
    return not key.startswith("_") and (isinstance(value, Case) or own)


def _case(value: Any, target: str) -> Case:
    """The value itself, or what it returns when called."""
    if isinstance(value, Case):
        return value
    if isinstance(value, nn.Module | type) or not callable(value):
        raise TargetError(f"{target} is {_kind(value)}, not a Case; wrap it: Case(model=..., data=..., loss=...).")
    if needed := _required(value):
        raise TargetError(
            f"{target} needs arguments ({', '.join(needed)}), but is called without any; give them default values."
        )
    with _running(target, "failed when it was called"):
        made = value()
    if not isinstance(made, Case):
        raise TargetError(f"{target} returned {_kind(made)}, not a Case; end it with `return Case(...)`.")
    return made


def _required(function: Any) -> list[str]:
    """Names of the parameters without which it cannot be called."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # built-in callables have no signature
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in optional]


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


@contextmanager
def _running(target: str, what: str) -> Iterator[None]:
    """Turns whatever the user's code raises, other than Ctrl-C, into a TargetError that says where it was raised."""
    try:
        yield
    except TargetError:
        raise
    except SyntaxError as error:
        where = f"{Path(error.filename or '?').name}:{error.lineno}"
        raise TargetError(f"{target} {what}: {type(error).__name__}: {error.msg} ({where}).") from error
    except (Exception, SystemExit) as error:
        message = str(error) if isinstance(error, UnstickError) else describe(error)
        hint = "; keep what ends the program under `if __name__ == '__main__':`" * isinstance(error, SystemExit)
        raise TargetError(f"{target} {what}: {message}{hint}") from error


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """`folder` comes first in sys.path; afterwards sys.path is as it was."""
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


@contextmanager
def _by_value(folder: Path) -> Iterator[None]:
    """Modules that are loaded from `folder` in the meantime are pickled by value from then on."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if _is_local(sys.modules[name], folder):
            cloudpickle.register_pickle_by_value(sys.modules[name])


def _is_local(module: ModuleType, folder: Path) -> bool:
    """Whether it is the user's: below `folder`, and neither installed there nor this package itself."""
    if not (file := getattr(module, "__file__", None)):
        return False
    path = Path(file).resolve()
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return path.is_relative_to(folder.resolve()) and not installed and module.__name__.partition(".")[0] != "unstick"
