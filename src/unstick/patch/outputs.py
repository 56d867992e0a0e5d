"""Another function at the output, or none; outputs in the shape of the targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import libcst as cst

from ..ends import last_shaping
from ..remedies.base import Remedy
from ..remedies.outputs import Output
from .names import renamed
from .places import Found, find, places
from .script import Script
from .source import Cannot, Edit, File

MODULES = {
    "linear": "Identity()",
    "sigmoid": "Sigmoid()",
    "softmax": "Softmax(dim=1)",
    "log-softmax": "LogSoftmax(dim=1)",
}
FUNCTIONS = {
    "linear": "out",
    "sigmoid": "torch.sigmoid(out)",
    "softmax": "torch.softmax(out, 1)",
    "log-softmax": "torch.log_softmax(out, 1)",
}


def express_output(remedy: Remedy, script: Script) -> Iterator[str]:
    """Yields what is missing."""
    output = cast(Output, remedy)
    try:
        with script.sources.together():
            _express(output, script)
    except Cannot as reason:
        lines = [f"return {FUNCTIONS[output.function]}  # out: what comes from the last weights"]
        yield script.missing(remedy, str(reason), lines)


def express_match_shape(remedy: Remedy, script: Script) -> Iterator[str]:
    """The call of the loss with its first argument in the shape of the second. Yields what is missing."""
    try:
        with script.sources.together():
            _match_shape(script)
    except Cannot as reason:
        yield script.missing(remedy, str(reason), ["outputs = outputs.reshape(targets.shape)  # before the loss"])


def _match_shape(script: Script) -> None:
    losses = [op for op in script.trace.operations if op.module is None and op.source is not None]
    if not losses:
        raise Cannot("the line that compares outputs and targets is not known")
    file, line = script.sources.place(losses[0].source)
    calls = [call for call in _of_the_loss(file, line) if len(call.args) == 2 and all(map(_plain, call.args))]
    if len(calls) != 1:
        raise Cannot(f"line {line} of {file.name} does not lead to one call of outputs and targets, each by its name")
    outputs, targets = (file.span(arg.value) for arg in calls[0].args)
    file.change([Edit(outputs[1], outputs[1], f".reshape({file.text[targets[0] : targets[1]]}.shape)")])


def _of_the_loss(file: File, line: int) -> list[cst.Call]:
    """The calls on the line; where it makes a loss that has a name, the calls of that."""
    names = {
        file.code(target.target)
        for call in file.calls(line)
        if isinstance(made := file.parent(call), cst.Assign)
        for target in made.targets
    }
    if not names:
        return file.calls(line)
    return [node for node in file.nodes if isinstance(node, cst.Call) and file.code(node.func) in names]


def _plain(arg: cst.Arg) -> bool:
    return arg.keyword is None and not arg.star and isinstance(arg.value, cst.Name | cst.Attribute | cst.Call)


def _express(output: Output, script: Script) -> None:
    op = last_shaping(script.trace)
    if op is None:
        raise Cannot("no activation stands at the output, to be exchanged")
    found = find(places([op])[0], frozenset([op.index]), script)
    if found.value is not None or len(found.calls) != 1:
        raise Cannot("the line does not say which activation is the output's")
    found.file.change(_exchanged(output, found, found.calls[0]))


def _exchanged(output: Output, found: Found, call: cst.Call) -> list[Edit]:
    file = found.file
    if found.kind == "class":
        name, _, arguments = MODULES[output.function].partition("(")
        callee = file.span(call.func)[1]
        return [*renamed(file, call.func, f"torch.nn.{name}"), Edit(callee, file.span(call)[1], f"({arguments}")]
    if output.function != "linear" or isinstance(file.parent(call), cst.Expr):
        raise Cannot("it is called as a function, with arguments of its own")
    return _bare(file, found.kind, call)


def _bare(file: File, kind: str, call: cst.Call) -> list[Edit]:
    """What the activation is given, in its place."""
    start, end = file.span(call)
    if kind == "method":
        return [Edit(file.span(cst.ensure_type(call.func, cst.Attribute).dot)[0], end, "")]
    if not call.args or call.args[0].star or call.args[0].keyword is not None:
        raise Cannot("its input is not its first argument")
    first, last = file.span(call.args[0])
    simple = isinstance(call.args[0].value, cst.Name | cst.Attribute | cst.Call | cst.Subscript)
    return [Edit(start, first, "" if simple else "("), Edit(last, end, "" if simple else ")")]
