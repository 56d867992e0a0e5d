"""One more item in the list of layers that an `nn.Sequential` is made of."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence

import libcst as cst

from ..trace.types import Operation
from .names import fresh, last
from .source import Cannot, Edit, File, inside

Layer = Callable[..., str]
"""The text of a layer for some operations, given the text of its width where the source has it. Raises Cannot."""

WIDTHS = {"Linear": "out_features", "Conv1d": "out_channels", "Conv2d": "out_channels", "Conv3d": "out_channels"}
"""The second argument of a layer, which is the width of what it puts out."""
TRANSPARENT = ("Dropout", "BatchNorm", "LayerNorm", "GroupNorm")
"""How the names of layers begin that leave the width as it is."""


def beside(file: File, call: cst.Call, ops: tuple[Operation, ...], layer: Layer, before: bool) -> None:
    """Puts it directly before or behind the item that is this call. Raises Cannot where that may be no Sequential's."""
    item = file.parent(call)
    owner = file.parent(item)
    if isinstance(item, cst.Arg) and isinstance(owner, cst.Call) and last(owner.func) == "append":
        _append(file, owner, ops, layer, before)
        return
    named = isinstance(owner, cst.Tuple)  # ("act", nn.Sigmoid()) in an OrderedDict
    if named:
        item, owner = file.parent(owner), file.parent(file.parent(owner))
    name = _check_sequence(file, owner, named)
    items: Sequence[cst.CSTNode] = (
        owner.args if isinstance(owner, cst.Call) else cst.ensure_type(owner, cst.List).elements
    )
    before_it = [*(_earlier(file, owner, name) if name else []), *items[: items.index(item)]]
    text = layer(ops, _width(file, before_it, ops))
    text = f'("{fresh(file, "norm1")}", {text})' if named else text
    file.change([_before(file, item, text) if before else _behind(file, item, text)])


def _before(file: File, item: cst.CSTNode, text: str) -> Edit:
    start, margin = file.span(item)[0], file.margin(item)
    return Edit(start, start, f"{text}," + (" " if margin is None else file.newline + margin))


def _behind(file: File, item: cst.CSTNode, text: str) -> Edit:
    """Below the line where the item has it to itself, so that a comment on it stays with it."""
    end, margin = file.span(item)[1], file.margin(item)
    if margin is not None and re.match(r"[ \t]*,[ \t]*(#.*)?[\r\n]", file.text[end:]):
        return file.before_line(file.lines(item).stop, [f"{margin}{text},"])
    return Edit(end, end, "," + (" " if margin is None else file.newline + margin) + text)


def _append(file: File, append: cst.Call, ops: tuple[Operation, ...], layer: Layer, before: bool) -> None:
    """A line of its own that appends it."""
    name = cst.ensure_type(append.func, cst.Attribute).value
    if len(append.args) != 1 or not isinstance(file.parent(append), cst.Expr):
        raise Cannot("it is not appended by a statement of its own")
    _check_list(file, append, last(name))
    statement, margin = file.statement(append), file.margin(append)
    if margin is None:
        raise Cannot("it does not begin its line")
    line = f"{margin}{file.code(name)}.append({layer(ops, _width(file, _earlier(file, append, last(name)), ops))})"
    lines = file.lines(statement)
    file.change([file.before_line(lines.start if before else lines.stop, [line])])


# -- its width ---------------------------------------------------------------------------------------------------------


def _earlier(file: File, node: cst.CSTNode, name: str | None) -> list[cst.CSTNode]:
    """The items that the statements before this one add to the list, out to the loop or function around it."""
    found: list[cst.CSTNode] = []
    for inner, outer in itertools.pairwise([node, *file.around(node)]):
        if isinstance(outer, cst.IndentedBlock | cst.Module):
            before = list(outer.body)[: list(outer.body).index(inner)]  # type: ignore[arg-type]
            found = [item for statement in before for item in _added(file, statement, name)] + found
        elif not isinstance(outer, cst.If | cst.Else) and isinstance(inner, cst.IndentedBlock):
            break
    return found


def _added(file: File, statement: cst.CSTNode, name: str | None) -> list[cst.CSTNode]:
    """The items that it adds to the list; itself, which is no layer, where that is not told by the text alone."""
    if not any(last(node) == name for node in inside(statement)):
        return []
    if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1:
        items = _listed(statement.body[0], name)
        return [statement] if items is None else items
    blocks = [node for node in inside(statement) if isinstance(node, cst.IndentedBlock)]
    items = [item for block in blocks for part in block.body for item in _added(file, part, name)]
    return [] if blocks and all(_class(file, item).startswith(TRANSPARENT) for item in items) else [statement]


def _listed(statement: cst.CSTNode, name: str | None) -> list[cst.CSTNode] | None:
    """Of `name = [...]`, `name += [...]`, `name.extend([...])` and `name.append(...)`."""
    if isinstance(statement, cst.Assign | cst.AnnAssign | cst.AugAssign) and _target(statement) == name:
        return list(statement.value.elements) if isinstance(statement.value, cst.List) else None
    call = statement.value if isinstance(statement, cst.Expr) else None
    if not isinstance(call, cst.Call) or not isinstance(call.func, cst.Attribute) or last(call.func.value) != name:
        return None
    if last(call.func) == "append" and len(call.args) == 1:
        return [call.args[0]]
    value = call.args[0].value if call.args else None
    return list(value.elements) if last(call.func) == "extend" and isinstance(value, cst.List) else None


def _layer_of(item: cst.CSTNode) -> cst.CSTNode | None:
    """The call in `nn.Linear(a, b)` and in `("fc", nn.Linear(a, b))`."""
    value = getattr(item, "value", None)
    return value.elements[-1].value if isinstance(value, cst.Tuple) and value.elements else value


def _class(file: File, item: cst.CSTNode) -> str:
    """ "Linear" of an item `nn.Linear(a, b)`, "" of what is no module of torch's."""
    layer = _layer_of(item)
    name = (file.qualified(layer.func) or "") if isinstance(layer, cst.Call) else ""
    return name.rpartition(".")[2] if name.startswith("torch.nn.") else ""


def _width(file: File, earlier: Sequence[cst.CSTNode], ops: tuple[Operation, ...]) -> str | None:
    """As the layer before it in the list says it."""
    for item in reversed(earlier):
        name, layer = _class(file, item), _layer_of(item)
        if isinstance(layer, cst.Call) and name in WIDTHS:
            return _written(file, layer, WIDTHS[name], {op.shape[op.unit_axis] for op in ops})
        if not name.startswith(TRANSPARENT):
            return None
    return None


def _written(file: File, layer: cst.Call, keyword: str, seen: set[int]) -> str | None:
    """The text of the width, unless it is another number than those that were seen, or may not be said twice."""
    named = [arg.value for arg in layer.args if arg.keyword is not None and arg.keyword.value == keyword]
    second = [arg.value for arg in layer.args[1:2] if arg.keyword is None]
    value = next(iter(named + second), None)
    if value is None or any(arg.star for arg in layer.args):
        return None
    if any(isinstance(node, cst.Call | cst.NamedExpr | cst.Await) for node in inside(value)):
        return None
    if isinstance(value, cst.Integer) and seen != {value.evaluated_value}:
        return None
    return file.module.code_for_node(value)


# -- whether it is a Sequential's --------------------------------------------------------------------------------------


def _check_sequence(file: File, owner: cst.CSTNode, named: bool) -> str | None:
    """The name of the list that this call or list is added to, if it is. Raises Cannot unless it becomes an
    `nn.Sequential`, and nothing counts on its places."""
    outer = file.parent(owner)
    call = file.parent(outer)
    if isinstance(owner, cst.Call) and file.qualified(owner.func) == "torch.nn.Sequential":
        _check_indices(file, _target(outer))
        return None
    if not isinstance(owner, cst.List):
        raise Cannot("it is not an item of an nn.Sequential, nor of a list that becomes one")
    if isinstance(outer, cst.Arg) and outer.star == "*":
        return _check_sequence(file, call, named)
    if named:
        _check_named(file, call)
        return None
    extends = isinstance(call, cst.Call) and last(call.func) == "extend" and isinstance(call.func, cst.Attribute)
    name = last(call.func.value) if extends else _target(outer)  # type: ignore[attr-defined]
    _check_list(file, owner, name)
    return name


def _check_named(file: File, call: cst.CSTNode) -> None:
    """Raise Cannot unless it is `nn.Sequential(OrderedDict([...]))`."""
    made = file.parent(file.parent(call)) if isinstance(call, cst.Call) else call
    ordered = isinstance(call, cst.Call) and file.qualified(call.func) == "collections.OrderedDict"
    if not ordered or not isinstance(made, cst.Call) or file.qualified(made.func) != "torch.nn.Sequential":
        raise Cannot("it is a named item, and not of an nn.Sequential")
    _check_indices(file, _target(file.parent(made)))


def _target(outer: cst.CSTNode) -> str | None:
    """The name that an assignment gives, or adds, its value to."""
    if isinstance(outer, cst.Assign) and len(outer.targets) == 1:
        return last(outer.targets[0].target)
    return last(outer.target) if isinstance(outer, cst.AnnAssign | cst.AugAssign) else None


def _check_list(file: File, node: cst.CSTNode, name: str | None) -> None:
    """Raise Cannot unless `nn.Sequential(*name)` follows in the same function."""
    function = next((n for n in file.around(node) if isinstance(n, cst.FunctionDef)), file.module)
    made = [call for call in inside(function) if _is_made_of(file, call, name)]
    if name is None or not made:
        raise Cannot("it is not an item of an nn.Sequential, nor of a list that becomes one")
    _check_indices(file, name)
    for call in made:
        _check_indices(file, _target(file.parent(call)))


def _is_made_of(file: File, call: cst.CSTNode, name: str | None) -> bool:
    return (
        isinstance(call, cst.Call)
        and file.qualified(call.func) == "torch.nn.Sequential"
        and any(arg.star == "*" and last(arg.value) == name for arg in call.args)
    )


def _check_indices(file: File, name: str | None) -> None:
    if name is not None and any(isinstance(node, cst.Subscript) and last(node.value) == name for node in file.nodes):
        raise Cannot(f"the items of {name} are used by their numbers, which would change")
