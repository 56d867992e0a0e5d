"""Another optimizer, another learning rate, a bound on the gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import libcst as cst

from ..remedies.base import Remedy
from ..remedies.optimizer import Adam, Clip, LearningRate, NewOptimizer, Sgd
from ..remedies.values import Times, number
from .names import last, renamed, spelled
from .script import Script
from .source import Cannot, Edit, File


def express_optimizer(remedy: Remedy, script: Script) -> Iterator[str]:
    """Yields what is missing."""
    try:
        with script.sources.together():
            file, call = _made(script)
            file.change(_edits(remedy, script, file, call))
    except Cannot as reason:
        yield script.missing(remedy, str(reason), _by_hand(remedy))


def _by_hand(remedy: Remedy) -> list[str]:
    if isinstance(remedy, NewOptimizer):
        name, settings = _settings(remedy)
        return [f"optimizer = torch.optim.{name}(model.parameters(){settings})"]
    if isinstance(remedy, Clip):
        return [f"torch.nn.utils.clip_grad_norm_(model.parameters(), {number(remedy.norm)})  # before optimizer.step()"]
    value = cast(LearningRate, remedy).value
    if isinstance(value, str):
        change = "*= factor  # the one that the trial names"
    else:
        change = f"*= {number(value.factor)}" if isinstance(value, Times) else f"= {number(value)}"
    return ["for group in optimizer.param_groups:", f'    group["lr"] {change}']


def _made(script: Script) -> tuple[File, cst.Call]:
    """The call that made the optimizer."""
    settings = script.seen.optimizer
    if settings is None:
        raise Cannot("no optimizer was seen")
    file, line = script.sources.place(settings.source)
    calls = [c for c in file.calls(line) if _is_optimizer(file.qualified(c.func), settings.name)]
    if len(calls) != 1:
        raise Cannot(f"line {line} of {file.name} does not call torch.optim.{settings.name} once, by its name")
    return file, calls[0]


def _is_optimizer(qualified: str | None, name: str) -> bool:
    return qualified is not None and qualified.startswith("torch.optim.") and qualified.rpartition(".")[2] == name


def _edits(remedy: Remedy, script: Script, file: File, call: cst.Call) -> list[Edit]:
    if isinstance(remedy, NewOptimizer):
        return _other(remedy, file, call)
    if isinstance(remedy, Clip):
        return _clip(remedy, file, call)
    return _rate(cast(LearningRate, remedy), script, file, call)


# -- another optimizer -------------------------------------------------------------------------------------------------


def _settings(remedy: NewOptimizer) -> tuple[str, str]:
    """The class, and the text of the arguments behind the parameters."""
    given: dict[str, float | None]
    if isinstance(remedy, Adam):
        name, given = "Adam", {"lr": remedy.lr, "eps": remedy.eps}
    else:
        sgd = cast(Sgd, remedy)
        name, given = "SGD", {"lr": sgd.lr, "momentum": sgd.momentum or None}
    return name, "".join(f", {key}={number(value)}" for key, value in given.items() if value is not None)


def _other(remedy: NewOptimizer, file: File, call: cst.Call) -> list[Edit]:
    name, settings = _settings(remedy)
    _check_parameters(file, call)
    if last(call.func) == "LBFGS":
        raise Cannot("LBFGS is stepped with a closure, which other optimizers do not need")
    end = file.span(call.args[0])[1]
    return [*renamed(file, call.func, f"torch.optim.{name}"), Edit(end, file.span(call)[1] - 1, settings)]


def _check_parameters(file: File, call: cst.Call) -> None:
    """Raise Cannot unless the first argument is the parameters, in groups without rates of their own."""
    if not call.args or call.args[0].star or (call.args[0].keyword and call.args[0].keyword.value != "params"):
        raise Cannot("the optimizer is not given its parameters first")
    if not isinstance(call.args[0].value, cst.Call) and any(_is_rate(node) for node in file.nodes):
        raise Cannot("its groups of parameters have learning rates of their own")


def _is_rate(node: cst.CSTNode) -> bool:
    """`"lr": 0.1` in a dictionary, or `dict(lr=0.1)`."""
    if isinstance(node, cst.DictElement):
        return isinstance(node.key, cst.SimpleString) and node.key.evaluated_value == "lr"
    return isinstance(node, cst.Call) and last(node.func) == "dict" and any(_named(a, "lr") for a in node.args)


def _named(arg: cst.Arg, name: str) -> bool:
    return arg.keyword is not None and arg.keyword.value == name


# -- another rate ------------------------------------------------------------------------------------------------------


def _rate(remedy: LearningRate, script: Script, file: File, call: cst.Call) -> list[Edit]:
    if isinstance(remedy.value, str):
        raise Cannot("its factor is measured when training begins")
    _check_parameters(file, call)
    written = next((arg for arg in call.args if _named(arg, "lr")), None)
    if written is None and len(call.args) > 1 and call.args[1].keyword is None:
        written = call.args[1]
    if written is not None and not written.star:
        return [_replaced(file, written.value, remedy.value)]
    if any(arg.star for arg in call.args):
        raise Cannot("the optimizer's arguments are unpacked")
    before = script.seen.optimizer.rate if script.seen.optimizer else None
    if isinstance(remedy.value, Times) and before is None:
        raise Cannot("the learning rate is not known")
    value = _times(before or 0.0, remedy.value) if isinstance(remedy.value, Times) else number(remedy.value)
    end = file.span(call.args[-1])[1]
    return [Edit(end, end, f", lr={value}")]


def _replaced(file: File, value: cst.BaseExpression, wanted: float | Times) -> Edit:
    start, end = file.span(value)
    if not isinstance(wanted, Times):
        return Edit(start, end, number(wanted))
    if isinstance(value, cst.Integer | cst.Float):
        return Edit(start, end, _times(float(value.evaluated_value), wanted))
    simple = isinstance(value, cst.Name | cst.Attribute | cst.Subscript | cst.Call)
    text = file.text[start:end]
    return Edit(start, end, f"{number(wanted.factor)} * " + (text if simple else f"({text})"))


def _times(rate: float, times: Times) -> str:
    """Without the last digits, which are rounding: 0.3 rather than 0.30000000000000004."""
    return number(float(f"{rate * times.factor:.12g}"))


# -- a bound on the gradient -------------------------------------------------------------------------------------------


def _clip(remedy: Clip, file: File, call: cst.Call) -> list[Edit]:
    """Before the one `optimizer.step()` of the file."""
    outer = file.parent(call)
    name = file.code(outer.targets[0].target) if isinstance(outer, cst.Assign) and len(outer.targets) == 1 else None
    if name is None:
        raise Cannot("the optimizer is not given a name where it is made")
    steps = [n for n in file.nodes if isinstance(n, cst.Call) and _is_step(file, n, name)]
    if len(steps) != 1 or steps[0].args or not isinstance(file.parent(steps[0]), cst.Expr):
        raise Cannot(f"there is not just one statement {name}.step() in {file.name}")
    statement = file.statement(steps[0])
    if (margin := file.margin(statement)) is None:
        raise Cannot(f"{name}.step() does not begin its line")
    function = spelled(file, "torch.nn.utils.clip_grad_norm_")
    line = f"{margin}{function}({_clipped(file, call, steps[0], name)}, {number(remedy.norm)})"
    return [file.before_line(file.lines(statement).start, [line])]


def _is_step(file: File, call: cst.Call, name: str) -> bool:
    return (
        isinstance(call.func, cst.Attribute) and call.func.attr.value == "step" and file.code(call.func.value) == name
    )


def _clipped(file: File, made: cst.Call, step: cst.Call, name: str) -> str:
    """`model.parameters()`, as the optimizer is given them, where that means the same; else what it holds."""
    parameters = made.args[0].value if made.args else None
    plain = isinstance(parameters, cst.Call) and not parameters.args and last(parameters.func) == "parameters"
    if parameters is not None and plain and _function(file, made) is _function(file, step):
        return file.code(parameters)
    return f'[p for group in {name}.param_groups for p in group["params"]]'


def _function(file: File, node: cst.CSTNode) -> cst.CSTNode | None:
    return next((n for n in file.around(node) if isinstance(n, cst.FunctionDef | cst.Lambda)), None)
