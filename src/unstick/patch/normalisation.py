"""A normalisation beside each activation: an item of the list that a Sequential is made of, or a call in `forward`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import libcst as cst

from ..errors import NotApplicable
from ..remedies.base import Remedy
from ..remedies.hidden import Calls, hidden_activations
from ..remedies.normalisation import Normalisation, _normalised, _of_constant_width
from ..trace.types import Operation
from .names import last, names_used, spelled
from .places import Found, Place, find, places
from .script import Script
from .source import Cannot, Edit, File

BATCH = {(2, 1): "BatchNorm1d", (3, 1): "BatchNorm1d", (4, 1): "BatchNorm2d", (5, 1): "BatchNorm3d"}
"""By the number of axes of a signal and the axis of its units."""
WIDTHS = {"Linear": "out_features", "Conv1d": "out_channels", "Conv2d": "out_channels", "Conv3d": "out_channels"}
"""The second argument of a layer, which is the width of what it puts out."""
TRANSPARENT = ("Dropout", "BatchNorm", "LayerNorm", "GroupNorm")
"""How the names of layers begin that leave the width as it is."""


def express_normalisation(remedy: Remedy, script: Script) -> Iterator[str]:
    """Yields what is missing."""
    normalisation = cast(Normalisation, remedy)
    try:
        sites = _sites(normalisation, script)
    except NotApplicable as reason:
        yield script.missing(remedy, str(reason), [])
        return
    ops = [op for found in sites.values() for op in found]
    wanted = frozenset(op.index for op in ops)
    for place in places(ops):
        try:
            with script.sources.together():
                _Insertion.of(normalisation, place, find(place, wanted, script)).make()
        except Cannot as reason:
            yield script.missing(
                remedy, f"{place.label} gets none, because {reason}", _by_hand(normalisation, place.ops[0])
            )


def _sites(remedy: Normalisation, script: Script) -> Calls:
    """Where the remedy puts one in."""
    calls = _of_constant_width(hidden_activations(script.trace))
    there = _normalised(script.trace, remedy.function, remedy.side)
    return {site: ops for site, ops in calls.items() if not all(op.index in there for op in ops)}


def _layer(remedy: Normalisation, op: Operation) -> str:
    """The class, and what stands before its width. Raises Cannot."""
    dims, axis = len(op.shape), op.unit_axis
    if remedy.function == "layer_norm":
        return "LayerNorm(" if axis == dims - 1 else "GroupNorm(1, "
    if (dims, axis) not in BATCH:
        raise Cannot(f"PyTorch has no batch normalisation for units on axis {axis} of {dims}")
    return BATCH[dims, axis] + "("


def _by_hand(remedy: Normalisation, op: Operation) -> list[str]:
    width = op.shape[op.unit_axis]
    try:
        made = f"torch.nn.{_layer(remedy, op)}{width})"
    except Cannot:
        made = f"torch.nn.BatchNorm1d({width})"
        use = f"self.norm(x.reshape(-1, {width})).reshape(x.shape)"
    else:
        use = "self.norm(x)"
    where = "before" if remedy.side == "before" else "behind"
    return [
        f"self.norm = {made}  # in __init__, one for each place",
        f"x = {use}  # in forward, {where} the activation",
    ]


@dataclass(frozen=True)
class _Insertion:
    """layer: "torch.nn.BatchNorm1d(", as written in the file. width: at all of these operations; None where it differs.
    order: of edits at one place in the text."""

    found: Found
    place: Place
    before: bool
    layer: str
    width: int | None

    @classmethod
    def of(cls, remedy: Normalisation, place: Place, found: Found) -> _Insertion:
        kinds = {_layer(remedy, op) for op in place.ops}
        if len(kinds) > 1:
            raise Cannot("its signals have different shapes")
        widths = {op.shape[op.unit_axis] for op in place.ops}
        layer = spelled(found.file, "torch.nn") + "." + kinds.pop()
        return cls(found, place, remedy.side == "before", layer, widths.pop() if len(widths) == 1 else None)

    @property
    def file(self) -> File:
        return self.found.file

    def make(self) -> None:
        """Raises Cannot."""
        if self.found.kind != "class":
            self._around(self.found.calls)
        elif (attribute := _attribute(self.file, self.found.calls)) is not None:
            self._around(self._uses(attribute))
        else:
            for call in self.found.calls:
                self._beside(call)

    # -- in a list -----------------------------------------------------------------------------------------------------

    def _beside(self, call: cst.Call) -> None:
        """One more item, directly before or behind this one."""
        item = self.file.parent(call)
        owner = self.file.parent(item)
        if isinstance(item, cst.Arg) and isinstance(owner, cst.Call) and last(owner.func) == "append":
            self._append(owner, item)
            return
        items = _items(self.file, owner)
        _check_sequence(self.file, owner)
        index = items.index(item)
        text = f"{self.layer}{self._width(items[:index])})"
        self.file.change([self._before(item, text) if self.before else self._behind(item, text)])

    def _before(self, item: cst.CSTNode, text: str) -> Edit:
        start = self.file.span(item)[0]
        margin = self._margin(start)
        separator = " " if margin is None else self.file.newline + margin
        return Edit(start, start, f"{text},{separator}")

    def _behind(self, item: cst.CSTNode, text: str) -> Edit:
        """Below the line where the item has it to itself, so that a comment on it stays with it."""
        start, end = self.file.span(item)
        margin = self._margin(start)
        if margin is not None and re.match(r"[ \t]*,[ \t]*(#.*)?[\r\n]", self.file.text[end:]):
            return self.file.before_line(self.file.lines(item).stop, [f"{margin}{text},"])
        separator = " " if margin is None else self.file.newline + margin
        return Edit(end, end, f",{separator}{text}")

    def _margin(self, start: int) -> str | None:
        """The space before this offset, where nothing else is before it on its line."""
        begun = self.file.text[:start].replace("\r", "\n").rpartition("\n")[2]
        return begun if not begun.strip() else None

    def _append(self, append: cst.Call, item: cst.Arg) -> None:
        """A line of its own that appends the normalisation."""
        name = cst.ensure_type(append.func, cst.Attribute).value
        if len(append.args) != 1 or not isinstance(self.file.parent(append), cst.Expr):
            raise Cannot("it is not appended by a statement of its own")
        _check_list(self.file, append, last(name))
        statement = self.file.statement(append)
        block = self.file.parent(statement)
        siblings = list(getattr(block, "body", ()))
        earlier = [a for s in siblings[: siblings.index(statement)] for a in _appended(s, last(name))]
        number = self.file.lines(statement)
        margin = self._margin(self.file.span(statement)[0])
        if margin is None:
            raise Cannot("it does not begin its line")
        line = f"{margin}{self.file.code(name)}.append({self.layer}{self._width(earlier)}))"
        self.file.change([self.file.before_line(number.start if self.before else number.stop, [line])])

    def _width(self, earlier: list[cst.CSTNode]) -> str:
        """As the layer before it in the list says it; else the number that was seen."""
        for item in reversed(earlier):
            layer = getattr(item, "value", None)
            name = (self.file.qualified(layer.func) or "") if isinstance(layer, cst.Call) else ""
            if not name.startswith("torch.nn."):
                break
            name = name.rpartition(".")[2]
            if isinstance(layer, cst.Call) and name in WIDTHS and (written := self._written(layer, WIDTHS[name])):
                return written
            if not name.startswith(TRANSPARENT):
                break
        if self.width is None:
            raise Cannot("its width differs between the places that it makes")
        return str(self.width)

    def _written(self, layer: cst.Call, keyword: str) -> str | None:
        """The text of the width, unless it is another number than the one that was seen, or may not be said twice."""
        if any(arg.star for arg in layer.args):
            return None
        named = [arg.value for arg in layer.args if arg.keyword is not None and arg.keyword.value == keyword]
        value = (
            named[0] if named else layer.args[1].value if len(layer.args) > 1 and not layer.args[1].keyword else None
        )
        if value is None or any(isinstance(n, cst.Call | cst.NamedExpr | cst.Await) for n in _all(value)):
            return None
        if isinstance(value, cst.Integer) and value.evaluated_value != self.width is not None:
            return None
        return self.file.module.code_for_node(value)

    # -- in a forward --------------------------------------------------------------------------------------------------

    def _uses(self, attribute: str) -> tuple[cst.Call, ...]:
        """The calls of the module that was made here, `self.act(x)`. Raises Cannot where they are not one a site."""
        owner = _class_around(self.file, self.found.calls[0])
        calls = [n for n in _all(owner) if isinstance(n, cst.Call) and self.file.code(n.func) == f"self.{attribute}"]
        told = [n for n in _all(owner) if isinstance(n, cst.Attribute) and self.file.code(n) == f"self.{attribute}"]
        modules = {op.module for op in self.place.ops}
        sites = {op.site for op in self.place.ops}
        if len(told) != len(calls) + 1 or len(sites) != len(calls) * len(modules):
            raise Cannot(f"self.{attribute} is not called once for each place where it was seen")
        return tuple(calls)

    def _around(self, calls: tuple[cst.Call, ...]) -> None:
        """A layer in `__init__` for each call, and a call of it around what goes in, or what comes out."""
        modules = {op.module for op in self.place.ops}
        if self.found.kind != "class" and len({op.site for op in self.place.ops}) != len(calls) * len(modules):
            raise Cannot("the line runs at more than one place in the network")
        if self.width is None:
            raise Cannot("its width differs between the places that it makes")
        for call in calls:
            name = _fresh(self.file, "norm")
            self.file.change(
                [*self._wrapped(call, f"self.{name}("), self._made(call, f"self.{name} = {self.layer}{self.width})")]
            )

    def _wrapped(self, call: cst.Call, opening: str) -> list[Edit]:
        start, end = self.file.span(call)
        if isinstance(self.file.parent(call), cst.Expr):
            raise Cannot("it overwrites its input, which a normalisation cannot")
        if self.before and self.found.kind == "method":
            end = self.file.span(cst.ensure_type(call.func, cst.Attribute).dot)[0]
        elif self.before:
            if not call.args or call.args[0].star or (call.args[0].keyword and call.args[0].keyword.value != "input"):
                raise Cannot("its input is not its first argument")
            start, end = self.file.span(call.args[0].value)
        outside = 0 if self.before else -1
        return [Edit(start, start, opening, outside), Edit(end, end, ")", outside)]

    def _made(self, call: cst.Call, line: str) -> Edit:
        """At the end of the `__init__` of the class that the call is in."""
        owner = _class_around(self.file, call)
        method = next((n for n in self.file.around(call) if isinstance(n, cst.FunctionDef)), None)
        if method is None or not method.params.params or method.params.params[0].name.value != "self":
            raise Cannot("it is called where no self holds the layer")
        init = next((n for n in owner.body.body if isinstance(n, cst.FunctionDef) and n.name.value == "__init__"), None)
        if init is None or not isinstance(init.body, cst.IndentedBlock):
            raise Cannot(f"{owner.name.value} has no __init__ to make the layer in")
        end = init.body.body[-1]
        if any(isinstance(n, cst.Return) for n in _all(init)):
            raise Cannot("its __init__ returns early")
        margin = self._margin(self.file.span(init.body.body[0])[0])
        if margin is None:
            raise Cannot("its __init__ stands on one line")
        return self.file.before_line(_last_line(self.file, end) + 1, [margin + line])


def _all(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    yield node
    for child in node.children:
        yield from _all(child)


def _items(file: File, owner: cst.CSTNode) -> list[cst.CSTNode]:
    if isinstance(owner, cst.Call):
        return list(owner.args)
    return list(owner.elements) if isinstance(owner, cst.List) else []


def _check_sequence(file: File, owner: cst.CSTNode) -> None:
    """Raise Cannot unless this call or list becomes an `nn.Sequential`, and nothing counts on its places."""
    if isinstance(owner, cst.Call):
        if file.qualified(owner.func) != "torch.nn.Sequential":
            raise Cannot("it is not an item of an nn.Sequential")
        _check_indices(file, _target(file, owner))
        return
    if not isinstance(owner, cst.List):
        raise Cannot("it is not an item of an nn.Sequential, nor of a list that becomes one")
    arg = file.parent(owner)
    call = file.parent(arg)
    if isinstance(arg, cst.Arg) and arg.star == "*" and isinstance(call, cst.Call):
        _check_sequence(file, call)
    elif isinstance(call, cst.Call) and last(call.func) == "extend" and isinstance(call.func, cst.Attribute):
        _check_list(file, owner, last(call.func.value))
    else:
        _check_list(file, owner, _target(file, owner))


def _target(file: File, value: cst.CSTNode) -> str | None:
    """The name that an expression is assigned or added to."""
    outer = file.parent(value)
    if isinstance(outer, cst.Assign) and len(outer.targets) == 1:
        return last(outer.targets[0].target)
    return last(outer.target) if isinstance(outer, cst.AnnAssign | cst.AugAssign) else None


def _check_list(file: File, node: cst.CSTNode, name: str | None) -> None:
    """Raise Cannot unless `nn.Sequential(*name)` follows in the same function."""
    function = next((n for n in file.around(node) if isinstance(n, cst.FunctionDef)), file.module)
    made = [
        call
        for call in _all(function)
        if isinstance(call, cst.Call) and file.qualified(call.func) == "torch.nn.Sequential"
        if any(arg.star == "*" and last(arg.value) == name for arg in call.args)
    ]
    if name is None or not made:
        raise Cannot("it is not an item of an nn.Sequential, nor of a list that becomes one")
    _check_indices(file, name)
    for call in made:
        _check_indices(file, _target(file, call))


def _check_indices(file: File, name: str | None) -> None:
    if any(isinstance(node, cst.Subscript) and last(node.value) == name for node in file.nodes if name is not None):
        raise Cannot(f"the items of {name} are used by their numbers, which would change")


def _appended(statement: cst.CSTNode, name: str | None) -> Iterator[cst.CSTNode]:
    """What a statement `name.append(x)` appends."""
    for node in _all(statement) if isinstance(statement, cst.SimpleStatementLine) else ():
        if isinstance(node, cst.Call) and last(node.func) == "append" and isinstance(node.func, cst.Attribute):
            yield from node.args[:1] if last(node.func.value) == name else ()


def _attribute(file: File, calls: tuple[cst.Call, ...]) -> str | None:
    """`act`, where the one call is all of `self.act = nn.Sigmoid()`."""
    outer = file.parent(calls[0])
    if len(calls) == 1 and isinstance(outer, cst.Assign) and len(outer.targets) == 1:
        target = outer.targets[0].target
        if isinstance(target, cst.Attribute) and isinstance(target.value, cst.Name) and target.value.value == "self":
            return target.attr.value
    return None


def _class_around(file: File, node: cst.CSTNode) -> cst.ClassDef:
    found = next((n for n in file.around(node) if isinstance(n, cst.ClassDef)), None)
    if found is None:
        raise Cannot("it is in no class whose __init__ could make the layer")
    return found


def _last_line(file: File, node: cst.CSTNode) -> int:
    return file.lines(node)[-1]


def _fresh(file: File, stem: str) -> str:
    taken = names_used(file) | file.notes
    name = next(n for i in itertools.count(1) if (n := f"{stem}{i}") not in taken)
    file.notes.add(name)
    return name
