"""A new layer, made in a class's `__init__` and called in its `forward`, around what an activation gets or gives."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import libcst as cst

from ..trace.types import Operation
from .names import fresh
from .places import Found
from .sequences import Layer
from .source import Cannot, Edit, File, inside

BRANCHES = cst.For | cst.While | cst.If | cst.IfExp | cst.BaseComp | cst.Lambda | cst.Try


def around(found: Found, calls: Sequence[cst.Call], ops: tuple[Operation, ...], layer: Layer, before: bool) -> None:
    """A layer for each of these calls, which make these operations. Raises Cannot where they are not one a site."""
    for call, own in _shared_out(found.file, calls, ops):
        name = fresh(found.file, "norm1")
        edits = _wrapped(found, call, f"self.{name}(", before)
        found.file.change([*edits, _made(found.file, call, f"self.{name} = {layer(own)}")])


def attribute_of(found: Found) -> str | None:
    """`act`, where the one call is all of `self.act = nn.Sigmoid()`."""
    outer = found.file.parent(found.calls[0])
    if len(found.calls) == 1 and isinstance(outer, cst.Assign) and len(outer.targets) == 1:
        target = outer.targets[0].target
        if isinstance(target, cst.Attribute) and _is_self(target.value):
            return target.attr.value
    return None


def uses(found: Found, attribute: str, ops: tuple[Operation, ...]) -> list[cst.Call]:
    """The calls `self.act(x)` in its class. Raises Cannot where it is used in another way."""
    owner = _class_around(found.file, found.calls[0])
    named = [
        n for n in inside(owner) if isinstance(n, cst.Attribute) and n.attr.value == attribute and _is_self(n.value)
    ]
    calls = [n for n in inside(owner) if isinstance(n, cst.Call) and n.func in named]
    if len(named) != len(calls) + 1:
        raise Cannot(f"self.{attribute} is not only called")
    return calls


def _shared_out(
    file: File, calls: Sequence[cst.Call], ops: tuple[Operation, ...]
) -> Iterable[tuple[cst.Call, tuple[Operation, ...]]]:
    """Which call made which operations: within each module, the first the first. A call inside another one ends before
    it, and runs before it."""
    in_order = sorted(calls, key=lambda call: file.span(call)[1])
    sites: dict[str | None, dict[object, list[Operation]]] = {}
    for op in ops:
        sites.setdefault(op.module, {}).setdefault(op.site, []).append(op)
    if any(len(own) != len(calls) for own in sites.values()):
        raise Cannot("it runs at more than one place in the network, or not at all")
    if len(calls) > 1:
        _check_straight(file, in_order)
    for i, call in enumerate(in_order):
        groups = (sorted(own.values(), key=lambda group: group[0].index)[i] for own in sites.values())
        yield call, tuple(itertools.chain.from_iterable(groups))


def _check_straight(file: File, calls: Sequence[cst.Call]) -> None:
    """Raise Cannot unless each of them runs once, in the order in which they stand."""
    methods = {_method_around(file, call) for call in calls}
    for call in calls:
        within = itertools.takewhile(lambda outer: outer not in methods, file.around(call))
        if len(methods) > 1 or any(isinstance(outer, BRANCHES) for outer in within):
            raise Cannot("which of its calls runs where is not told by the text alone")


def _wrapped(found: Found, call: cst.Call, opening: str, before: bool) -> list[Edit]:
    file = found.file
    start, end = file.span(call)
    if isinstance(file.parent(call), cst.Expr):
        raise Cannot("it overwrites its input, which a normalisation cannot")
    if found.kind == "method" and call.args:
        raise Cannot("it is called with arguments of its own")
    if before and found.kind == "method":
        end = file.span(cst.ensure_type(call.func, cst.Attribute).dot)[0]
    elif before:
        first = call.args[0] if call.args else None
        if first is None or first.star or (first.keyword is not None and first.keyword.value != "input"):
            raise Cannot("its input is not its first argument")
        start, end = file.span(first.value)
    order = 0 if before else -1  # outside of what else is put around the call
    return [Edit(start, start, opening, order), Edit(end, end, ")", order)]


def _made(file: File, call: cst.Call, line: str) -> Edit:
    """At the end of the `__init__` of the class that the call is in."""
    owner, method = _class_around(file, call), _method_around(file, call)
    if not method.params.params or not _is_self(method.params.params[0].name):
        raise Cannot("it is called where no self holds the layer")
    init = next((n for n in owner.body.body if isinstance(n, cst.FunctionDef) and n.name.value == "__init__"), None)
    if init is None:
        raise Cannot(f"{owner.name.value} has no __init__ to make the layer in")
    margin = file.margin(init.body.body[0])
    if margin is None or any(isinstance(node, cst.Return) for node in inside(init)):
        raise Cannot(f"the __init__ of {owner.name.value} has no end to add a line to")
    return file.before_line(file.lines(init.body.body[-1]).stop, [margin + line])


def _is_self(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.Name) and node.value == "self"


def _class_around(file: File, node: cst.CSTNode) -> cst.ClassDef:
    found = next((n for n in file.around(node) if isinstance(n, cst.ClassDef)), None)
    if found is None:
        raise Cannot("it is in no class whose __init__ could make the layer")
    return found


def _method_around(file: File, node: cst.CSTNode) -> cst.FunctionDef:
    found = next((n for n in file.around(node) if isinstance(n, cst.FunctionDef)), None)
    if found is None:
        raise Cannot("it is in no method of a class")
    return found
