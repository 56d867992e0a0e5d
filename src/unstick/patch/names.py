"""What names in a file stand for, and how to spell something of torch's there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import libcst as cst

from .source import Cannot, Edit, File, inside


def last(node: cst.CSTNode) -> str | None:
    """`act` of `act` and of `self.act`."""
    if isinstance(node, cst.Name):
        return node.value
    return node.attr.value if isinstance(node, cst.Attribute) else None


def key(node: cst.CSTNode) -> str | None:
    """`act` of `act`, and `.act` of `self.act`: the same, whatever it is an attribute of."""
    name = last(node)
    return f".{name}" if name is not None and isinstance(node, cst.Attribute) else name


def renamed(file: File, node: cst.BaseExpression, qualified: str) -> list[Edit]:
    """Edits that make this expression say `qualified`, in the style in which it is written."""
    owner, _, name = qualified.rpartition(".")
    if isinstance(node, cst.Attribute):
        written = file.qualified(node.value)
        if written == owner:
            return [Edit(*file.span(node.attr), name)]
        if written is not None and owner.startswith(f"{written}.") and imported(file, owner) is None:
            return [Edit(*file.span(node), f"{file.code(node.value)}.{qualified.removeprefix(written + '.')}")]
        return [Edit(*file.span(node), spelled(file, qualified))]
    return [Edit(*file.span(node), imported(file, qualified) or _import(file, qualified))]


def spelled(file: File, qualified: str) -> str:
    """How this is written anywhere in the file, with an import where there is none that leads to it."""
    for start in _prefixes(qualified):
        if (name := imported(file, start)) is not None:
            return name + qualified.removeprefix(start)
    return _import(file, qualified)


def _prefixes(qualified: str) -> Iterator[str]:
    """torch.nn.ReLU, torch.nn, torch."""
    while qualified:
        yield qualified
        qualified = qualified.rpartition(".")[0]


def imported(file: File, qualified: str) -> str | None:
    """The name by which the top of the file imports this, if nothing else in the file has that name."""
    for name, meaning in _imports(file):
        if meaning == qualified and not _bound_otherwise(file, name):
            return name
    return None


def _imports(file: File) -> Iterator[tuple[str, str]]:
    for statement in _import_lines(file):
        for part in statement.body:
            if isinstance(part, cst.Import):
                for alias in part.names:
                    meaning = file.module.code_for_node(alias.name)
                    top = meaning.partition(".")[0]
                    yield (_local(alias.asname), meaning) if alias.asname else (top, top)
            elif isinstance(part, cst.ImportFrom) and part.module and not part.relative:
                owner = file.module.code_for_node(part.module)
                for alias in () if isinstance(part.names, cst.ImportStar) else part.names:
                    name = file.module.code_for_node(alias.name)
                    yield _local(alias.asname) if alias.asname else name, f"{owner}.{name}"


def _local(asname: cst.AsName) -> str:
    return last(asname.name) or ""


def _import_lines(file: File) -> list[cst.SimpleStatementLine]:
    return [
        statement
        for statement in file.module.body
        if isinstance(statement, cst.SimpleStatementLine)
        and any(isinstance(part, cst.Import | cst.ImportFrom) for part in statement.body)
    ]


def _import(file: File, qualified: str) -> str:
    """Adds a line below the imports at the top of the file. Raises Cannot where the name has another meaning."""
    owner, _, name = qualified.rpartition(".")
    lines = _import_lines(file)
    if any(isinstance(node, cst.Name) and node.value == name and not _is_part(file, node) for node in file.nodes):
        raise Cannot(f"{name} has another meaning in {file.name}")
    if not lines:
        raise Cannot(f"{file.name} imports nothing at its top, so there is no place to import {qualified}")
    text = f"from {owner} import {name}"
    if text not in file.notes:
        file.notes.add(text)
        below = next((s for s in lines if "torch" in file.code(s)), lines[-1])
        file.change([file.before_line(file.lines(below).stop, [text])])
    return name


def fresh(file: File, name: str) -> str:
    """This name, or where the file has it already the same with the first number that is free."""
    taken = {node.value for node in file.nodes if isinstance(node, cst.Name)} | file.notes
    numbered = (f"{name.rstrip('0123456789')}{i}" for i in itertools.count(2))
    free = next(n for n in itertools.chain([name], numbered) if n not in taken)
    file.notes.add(free)
    return free


def _is_part(file: File, name: cst.Name) -> bool:
    """`ReLU` in `nn.ReLU`, which leaves the name itself free."""
    outer = file.parent(name)
    return isinstance(outer, cst.Attribute) and outer.attr is name


def _bound_otherwise(file: File, name: str) -> bool:
    """Whether a parameter, an assignment, a function or a class has this name, too."""
    return any(_binds(file, node) for node in file.nodes if isinstance(node, cst.Name) and node.value == name)


def _binds(file: File, name: cst.Name) -> bool:
    """Whether this is where a name gets its meaning, other than by an import."""
    outer = file.parent(name)
    if isinstance(outer, cst.FunctionDef | cst.ClassDef | cst.Param):
        return outer.name is name
    if isinstance(outer, cst.AsName):
        return not isinstance(file.parent(outer), cst.ImportAlias)
    bindings = cst.AssignTarget | cst.AnnAssign | cst.NamedExpr | cst.For | cst.CompFor
    return isinstance(outer, bindings) and outer.target is name


# -- what a variable holds ---------------------------------------------------------------------------------------------


def value_of(file: File, name: str) -> tuple[cst.BaseExpression, set[str]]:
    """The one expression of torch's that the file gives to a variable, a parameter or an attribute, by its `key`, and
    the keys of all that it passes through. Raises Cannot where there is no such, or more than one."""
    found: dict[cst.BaseExpression, None] = {}
    todo, names = [name], {name}
    while todo:
        for value in _given(file, todo.pop()):
            if file.qualified(value) is not None:
                found[value] = None
            elif (other := key(value)) is None:
                raise Cannot(f"what {name} is cannot be told from {file.name} alone")
            elif other not in names:
                names.add(other)
                todo.append(other)
    if len(found) != 1:
        raise Cannot(f"{file.name} gives {name} {'more than one value' if found else 'no value'}")
    return next(iter(found)), names


def _given(file: File, name: str) -> Iterator[cst.BaseExpression]:
    """All values that anything of this name is given. Raises Cannot where it gets one in a way that is not followed."""
    for node in file.nodes:
        if isinstance(node, cst.AssignTarget) and key(node.target) == name:
            assign = file.parent(node)
            assert isinstance(assign, cst.Assign)
            yield assign.value
        elif isinstance(node, cst.AnnAssign | cst.NamedExpr) and key(node.target) == name:
            if node.value is not None:
                yield node.value
        elif isinstance(node, cst.Arg) and node.keyword is not None and node.keyword.value == name:
            yield node.value
        elif isinstance(node, cst.Param) and node.name.value == name:
            yield from _arguments(file, node)
        elif _untold(file, node, name):
            raise Cannot(f"what {name} is cannot be told from {file.name} alone")


def _untold(file: File, node: cst.CSTNode, name: str) -> bool:
    if isinstance(node, cst.For | cst.CompFor | cst.AugAssign | cst.WithItem):
        target = node.item if isinstance(node, cst.WithItem) else node.target
        return any(key(part) == name for part in inside(target))
    if isinstance(node, cst.AssignTarget) and isinstance(node.target, cst.Tuple | cst.List):
        return any(key(part) == name for part in inside(node.target))
    return isinstance(node, cst.FunctionDef | cst.ClassDef) and node.name.value == name.removeprefix(".")


def _arguments(file: File, parameter: cst.Param) -> Iterator[cst.BaseExpression]:
    """Its default, and what calls of its function in this file give by position."""
    if parameter.default is not None:
        yield parameter.default
    function = next((n for n in file.around(parameter) if isinstance(n, cst.FunctionDef | cst.Lambda)), None)
    if not isinstance(function, cst.FunctionDef):
        raise Cannot(f"what {parameter.name.value} is cannot be told from {file.name} alone")
    index = [*function.params.posonly_params, *function.params.params]
    if parameter not in index:
        return
    owner = next((n for n in file.around(function) if isinstance(n, cst.ClassDef)), None)
    bound = owner is not None and file.parent(file.parent(function)) is owner
    called = owner.name.value if owner is not None and function.name.value == "__init__" else function.name.value
    place = index.index(parameter) - bound
    for call in (n for n in file.nodes if isinstance(n, cst.Call) and last(n.func) == called):
        if any(arg.star for arg in call.args):
            raise Cannot(f"a call of {called} unpacks its arguments")
        positional = [arg for arg in call.args if arg.keyword is None]
        if len(positional) > place:
            yield positional[place].value
