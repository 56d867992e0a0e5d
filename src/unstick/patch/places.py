"""The lines of source that make a network's hidden activations, and the calls on them."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

import libcst as cst

from ..trace.calls import facts
from ..trace.types import Operation
from .names import key, value_of
from .script import Script
from .source import Cannot, File, Sources


@dataclass(frozen=True)
class Place:
    """The operations of one name that one line of source makes."""

    source: str | None
    name: str
    ops: tuple[Operation, ...]

    @property
    def label(self) -> str:
        """ "sigmoid at net.py:12"."""
        return f"{self.name} at {self.source}" if self.source else f"{self.name} in {self.ops[0].label}"


@dataclass(frozen=True)
class Found:
    """The calls that make a place's operations.

    kind: "class": `nn.Sigmoid()`, or a call of a variable that holds the class; "function": `torch.sigmoid(x)`, or a
    variable that holds it; "method": `x.sigmoid()`. calls: those on the line. value: what the variable was given;
    None where the calls name it themselves. everywhere: all calls of that variable.
    """

    file: File
    kind: str
    calls: tuple[cst.Call, ...]
    value: cst.BaseExpression | None = None
    everywhere: tuple[cst.Call, ...] = ()


def places(ops: Iterable[Operation]) -> list[Place]:
    grouped: dict[tuple[str | None, str], list[Operation]] = {}
    for op in ops:
        grouped.setdefault((op.source, op.name), []).append(op)
    return [Place(source, name, tuple(found)) for (source, name), found in grouped.items()]


def find(place: Place, wanted: Set[int], script: Script) -> Found:
    """Raises Cannot unless what is found makes operations that are wanted, given by their indices, and no others."""
    file, line = script.sources.place(place.source)
    found = _direct(file, line, place) or _through_variable(file, line, place)
    lines = {f"{file.name}:{n}" for call in found.everywhere for n in file.lines(call)}
    for op in script.trace.operations:
        same = op.source == place.source or _among(op.source, lines, script.sources)
        if same and op.name == place.name and op.index not in wanted:
            raise Cannot(f"the same code makes {op.label}, which has to stay as it is")
    _check_counts(found, place)
    return found


def _among(source: str | None, lines: set[str], sources: Sources) -> bool:
    if not lines or source is None:
        return False
    try:
        file, line = sources.place(source)
    except Cannot:
        return False
    return f"{file.name}:{line}" in lines


def _direct(file: File, line: int, place: Place) -> Found | None:
    kinds = {call: kind for call in file.calls(line) if (kind := _kind(file, call, place.name)) is not None}
    if len(set(kinds.values())) > 1:
        raise Cannot("the line makes it in more than one way")
    calls = tuple(kinds)
    return Found(file, kinds[calls[0]], calls) if calls else None


def _through_variable(file: File, line: int, place: Place) -> Found:
    """Calls of a variable on this line to which the file gives one such class or function."""
    calls: dict[cst.BaseExpression, list[cst.Call]] = {}
    names: set[str] = set()
    reasons: dict[str, None] = {}
    for call in file.calls(line):
        if file.qualified(call.func) is None and (name := key(call.func)) is not None:
            try:
                value, passed = value_of(file, name)
            except Cannot as reason:
                reasons[str(reason)] = None
                continue
            if _kind_of(file.qualified(value), place.name) is not None:
                calls.setdefault(value, []).append(call)
                names |= passed
    if len(calls) != 1:
        raise Cannot(f"the line does not say what it calls{_in_brackets(reasons)}")
    ((value, here),) = calls.items()
    everywhere = tuple(n for n in file.nodes if isinstance(n, cst.Call) and key(n.func) in names)
    return Found(file, _kind_of(file.qualified(value), place.name) or "", tuple(here), value, everywhere)


def _in_brackets(reasons: Iterable[str]) -> str:
    return f" ({'; '.join(reasons)})" if reasons else ""


def _kind(file: File, call: cst.Call, name: str) -> str | None:
    qualified = file.qualified(call.func)
    if qualified is not None:
        return _kind_of(qualified, name)
    method = isinstance(call.func, cst.Attribute) and facts(call.func.attr.value).name == name
    return "method" if method and not _is_self(call.func) else None


def _is_self(func: cst.BaseExpression) -> bool:
    """`self.tanh(x)` calls something that the class holds."""
    return isinstance(func, cst.Attribute) and isinstance(func.value, cst.Name) and func.value.value in ("self", "cls")


def _kind_of(qualified: str | None, name: str) -> str | None:
    if qualified is None or not qualified.startswith("torch."):
        return None
    called = qualified.rpartition(".")[2]
    if called[0].isupper():
        return "class" if called.lower() == name.replace("_", "") else None
    return "function" if facts(called).name == name else None


def _check_counts(found: Found, place: Place) -> None:
    """That each call was seen to run, and that no library's own calls are among the operations."""
    modules = {op.module or "" for op in place.ops}
    if found.kind != "class" and any(_inside(inner, outer) for outer in modules for inner in modules):
        raise Cannot("some of it runs inside of other modules")
    made = modules if found.kind == "class" else {op.site for op in place.ops}
    if len(made) % len(found.calls):
        raise Cannot(f"the line holds {len(found.calls)} such calls, and {len(made)} were seen")


def _inside(inner: str, outer: str) -> bool:
    return inner != outer and (outer == "" or inner.startswith(f"{outer}."))
