"""Another activation, put in the place of the one that is written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import libcst as cst

from ..errors import NotApplicable
from ..remedies.activations import Activation, Selu, TailoredRelu, tailored_slope
from ..remedies.base import Remedy
from ..remedies.hidden import depth_of, hidden_activations
from ..remedies.initialisations import Init
from ..trace.calls import INPLACE_POSITION
from .initialisation import express_init
from .names import key, renamed, spelled
from .places import Found, Place, find, places
from .script import Script
from .source import Cannot, Edit, File

CLASSES = {
    "relu": "ReLU",
    "tanh": "Tanh",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
    "selu": "SELU",
    "gelu": "GELU",
    "silu": "SiLU",
}
OVERWRITES = frozenset({"relu", "leaky_relu", "elu", "selu", "silu"})
"""Those with an argument `inplace`."""
PLAIN = frozenset({"relu", "tanh"})
"""Those that are functions of torch itself, and methods of tensors."""


def express_activation(remedy: Remedy, script: Script) -> Iterator[str]:
    """Yields what is missing."""
    activation = cast(Activation, remedy)
    try:
        calls = hidden_activations(script.trace)
    except NotApplicable as reason:
        yield script.missing(remedy, str(reason), [])
        return
    hidden = [op for ops in calls.values() for op in ops]
    exchange = _Exchange(activation, frozenset(op.index for op in hidden), script)
    for place in places(op for op in hidden if op.name != activation.function):
        try:
            with script.sources.together():
                exchange.at(place)
        except Cannot as reason:
            yield script.missing(remedy, f"{place.label} stays, because {reason}", _by_hand(activation, script))
    if isinstance(remedy, Selu):
        yield from express_init(Init("lecun"), script)


def _by_hand(activation: Activation, script: Script) -> list[str]:
    function = activation.function
    if isinstance(activation, TailoredRelu):
        slope = tailored_slope(depth_of(script.trace))
        return [f"x = torch.nn.functional.leaky_relu(x, {slope:.6g}) / {math.sqrt(1 + slope * slope):.6g}"]
    return [f"torch.nn.{CLASSES[function]}()  # as a module", f"x = torch.nn.functional.{function}(x)  # as a function"]


@dataclass
class _Exchange:
    """hidden: indices of all operations that may change. values: those of variables that have changed already."""

    activation: Activation
    hidden: frozenset[int]
    script: Script
    values: set[cst.BaseExpression] = field(default_factory=set)

    def at(self, place: Place) -> None:
        if isinstance(self.activation, TailoredRelu):
            raise Cannot("PyTorch has no such module")
        found = find(place, self.hidden, self.script)
        function = self.activation.function
        if found.value is None:
            for call in found.calls:
                found.file.change(_call(found.kind, found.file, call, place.name, function))
        elif found.value not in self.values:
            found.file.change(_value(found, found.value, function))
            self.values.add(found.value)


def _value(found: Found, value: cst.BaseExpression, function: str) -> list[Edit]:
    """The class or function that a variable holds. Raises Cannot where it is called with more than its input."""
    arguments = 0 if found.kind == "class" else 1
    if any(len(call.args) != arguments for call in found.everywhere):
        raise Cannot("it is called with arguments of its own")
    return _named(found.file, value, found.kind, function)


def _named(file: File, node: cst.BaseExpression, kind: str, function: str) -> list[Edit]:
    if kind == "class":
        return renamed(file, node, f"torch.nn.{CLASSES[function]}")
    qualified = file.qualified(node) or ""
    own = qualified.count(".") == 1 and function in PLAIN
    return renamed(file, node, f"torch.{function}" if own else f"torch.nn.functional.{function}")


def _call(kind: str, file: File, call: cst.Call, old: str, function: str) -> list[Edit]:
    if kind == "class":
        return _named(file, call.func, kind, function) + _class_arguments(file, call, old, function)
    if kind == "method":
        return _method(file, call, function)
    return _function(file, call, old, function)


def _class_arguments(file: File, call: cst.Call, old: str, function: str) -> list[Edit]:
    written = _inplace(call, INPLACE_POSITION.get(old, 1) - 1)
    inplace = written and function in OVERWRITES
    if written and not inplace and _used_as_statement(file, call):
        raise Cannot(f"it overwrites its input, which {function} cannot")
    if not call.args or (inplace and len(call.args) == 1 and call.args[0].keyword is not None):
        return []
    return [Edit(file.span(call.args[0])[0], file.span(call)[1] - 1, "inplace=True" if inplace else "")]


def _used_as_statement(file: File, made: cst.Call) -> bool:
    """Whether `self.act(x)` stands alone somewhere, where the module that is made here is `self.act`."""
    outer = file.parent(made)
    name = key(outer.targets[0].target) if isinstance(outer, cst.Assign) else None
    alone = (node.value for node in file.nodes if isinstance(node, cst.Expr))
    return name is not None and any(isinstance(value, cst.Call) and key(value.func) == name for value in alone)


def _inplace(call: cst.Call, position: int) -> bool:
    """Whether it says `inplace=True`, or True where that is meant."""
    if any(arg.star for arg in call.args):
        raise Cannot("its arguments are unpacked")
    for i, arg in enumerate(call.args):
        if arg.keyword.value == "inplace" if arg.keyword else i == position:
            return isinstance(arg.value, cst.Name) and arg.value.value == "True"
    return False


def _function(file: File, call: cst.Call, old: str, function: str) -> list[Edit]:
    """`F.sigmoid(x)`: the name, and all arguments but the first."""
    overwrites = (file.qualified(call.func) or "").endswith("_")
    inplace = overwrites or _inplace(call, INPLACE_POSITION.get(old, -1))
    if not call.args or call.args[0].star or not _is_input(call.args[0]):
        raise Cannot("its input is not its first argument")
    if inplace and function not in OVERWRITES and isinstance(file.parent(call), cst.Expr):
        raise Cannot(f"it overwrites its input, which {function} cannot")
    edits = _named(file, call.func, "function", function)
    rest = ", inplace=True" if inplace and function in OVERWRITES else ""
    if len(call.args) > 1 or rest:
        edits.append(Edit(file.span(call.args[0])[1], file.span(call)[1] - 1, rest))
    return edits


def _is_input(arg: cst.Arg) -> bool:
    return arg.keyword is None or arg.keyword.value == "input"


def _method(file: File, call: cst.Call, function: str) -> list[Edit]:
    """`x.sigmoid()`: the name, where tensors have such a method; else a call around x."""
    method = cst.ensure_type(call.func, cst.Attribute)
    inplace = method.attr.value.endswith("_")
    start, dot, end = file.span(call)[0], file.span(method.dot)[0], file.span(call)[1]
    if call.args:
        raise Cannot("it is called with arguments of its own")
    if function in PLAIN:
        return [Edit(*file.span(method.attr), function + "_" * inplace)]
    if inplace and function not in OVERWRITES and isinstance(file.parent(call), cst.Expr):
        raise Cannot(f"it overwrites its input, which {function} cannot")
    if "#" in file.text[dot:end]:
        raise Cannot("there is a comment in the middle of it")
    name = spelled(file, f"torch.nn.functional.{function}")
    return [
        Edit(start, start, f"{name}("),
        Edit(dot, end, ", inplace=True)" if inplace and function in OVERWRITES else ")"),
    ]
