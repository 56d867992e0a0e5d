"""Where a script makes its model."""

from __future__ import annotations

import libcst as cst

from .names import last
from .script import Script
from .source import Cannot, File

MOVES = frozenset({"to", "cuda", "cpu", "float", "double", "half", "bfloat16", "train", "eval", "requires_grad_"})
"""Methods that return the module that they are called on."""


def made(script: Script) -> tuple[File, cst.SimpleStatementLine, str]:
    """The statement `name = Net()` that makes the outermost module. Raises Cannot."""
    if script.seen.loop is None or script.seen.loop.model is None:
        raise Cannot("no line of your source is known to make the model")
    file, call = _maker(script, *script.sources.place(script.seen.loop.model))
    for _ in range(4):  # functions that return what it makes
        outer = file.parent(call)
        while isinstance(outer, cst.Attribute) and isinstance(file.parent(outer), cst.Call) and last(outer) in MOVES:
            call = file.parent(outer)
            outer = file.parent(call)
        if isinstance(outer, cst.Assign) and len(outer.targets) == 1 and last(outer.targets[0].target):
            return file, file.statement(outer), file.code(outer.targets[0].target)
        inside_of = next((n for n in file.around(outer) if isinstance(n, cst.FunctionDef)), None)
        if not isinstance(outer, cst.Return) or inside_of is None:
            break
        file, call = _only_call(script, file, inside_of.name.value)
    raise Cannot(f"line {file.lines(call).start} of {file.name} does not give the model a name")


def _maker(script: Script, file: File, line: int) -> tuple[File, cst.CSTNode]:
    """The call that makes the outermost module: the one of a class on this line, or, where the line is the
    `super().__init__()` of a class, the only call of that class."""
    calls = file.calls(line)
    inner = next((call for call in calls if last(call.func) == "__init__"), None)
    owner = next((n for n in file.around(inner) if isinstance(n, cst.ClassDef)), None) if inner else None
    if owner is not None:
        return _only_call(script, file, owner.name.value)
    calls = [call for call in calls if last(call.func) not in MOVES]
    known = [call for call in calls if _is_class(file, call)]
    if not known and len(calls) != 1:
        raise Cannot(f"line {line} of {file.name} does not say what makes the model")
    return file, (known or calls)[0]


def _only_call(script: Script, file: File, name: str) -> tuple[File, cst.Call]:
    """In the file that defines what is called, or in the one that makes the optimizer."""
    files = [file]
    if script.seen.optimizer is not None and script.seen.optimizer.source is not None:
        files.append(script.sources.place(script.seen.optimizer.source)[0])
    found = [
        (one, n) for one in dict.fromkeys(files) for n in one.nodes if isinstance(n, cst.Call) and last(n.func) == name
    ]
    if len(found) != 1:
        names = " and ".join(dict.fromkeys(one.name for one in files))
        raise Cannot(f"{name} is called in {len(found) or 'no'} places of {names}")
    return found[0]


def _is_class(file: File, call: cst.Call) -> bool:
    """Of torch's modules, or of this file's classes."""
    own = {node.name.value for node in file.nodes if isinstance(node, cst.ClassDef)}
    return (file.qualified(call.func) or "").startswith("torch.nn.") or last(call.func) in own
