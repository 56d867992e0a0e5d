"""Other weights: a function that draws them, and a call of it once the model is made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import libcst as cst

from ..remedies.activations import Activation
from ..remedies.base import Remedy
from ..remedies.hidden import hidden_activations
from ..remedies.initialisations import Init
from ..remedies.layers import BLOCKS
from ..remedies.normalisation import Normalisation
from ..remedies.values import number
from ..theory import edge_of_chaos, function
from ..trace.types import Operation
from .models import made
from .names import fresh, spelled
from .script import Script
from .source import Cannot, Edit, File, inside

LAYERS = {
    "linear": "Linear",
    "bilinear": "Bilinear",
    "conv1d": "Conv1d",
    "conv2d": "Conv2d",
    "conv3d": "Conv3d",
}
RECURRENT = {
    "gru": "GRU",
    "lstm": "LSTM",
    "rnn_tanh": "RNN",
    "rnn_relu": "RNN",
    "gru_cell": "GRUCell",
    "lstm_cell": "LSTMCell",
    "rnn_tanh_cell": "RNNCell",
    "rnn_relu_cell": "RNNCell",
}
FILLS = {
    "he": '{nn}.init.kaiming_normal_({weight}, nonlinearity="relu")',
    "lecun": '{nn}.init.kaiming_normal_({weight}, nonlinearity="linear")',
    "xavier": "{nn}.init.xavier_uniform_({weight})",
    "orthogonal": "{nn}.init.orthogonal_({weight}, {gain})",
    "normal": "{nn}.init.normal_({weight}, std={value})",
    "uniform": "{nn}.init.uniform_({weight}, -{value}, {value})",
    "scale": "{weight}.data.mul_({value})",
}
KEEP_BIASES = frozenset({"normal", "uniform", "scale"})
BY_GATE = frozenset({"xavier", "orthogonal"})
"""Where the matrices of a recurrent layer's gates, stacked in one parameter, have to be told apart."""
FUNCTIONS = frozenset({"sigmoid", "tanh", "relu", "softsign"})
"""Activations without arguments of their own for which there are critical weights with zero biases."""


def express_init(remedy: Remedy, script: Script) -> Iterator[str]:
    """Yields what is missing."""
    init = cast(Init, remedy)
    try:
        with script.sources.together():
            _express(init, script)
    except Cannot as reason:
        yield script.missing(remedy, str(reason), _by_hand(init))


def _by_hand(init: Init) -> list[str]:
    if init.scheme in ("lsuv", "data"):
        return _by_data(per_unit=init.scheme == "data")
    scheme = "orthogonal" if init.scheme == "critical" else init.scheme
    fill = _fill(scheme, "torch.nn", "module.weight", init.value, "gain=1.0")
    zero = ["        if module.bias is not None:", "            torch.nn.init.zeros_(module.bias)"]
    return [
        "for module in model.modules():",
        "    if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):",
        f"        {fill}" + ("  # with the gains that the trial names" if scheme == "orthogonal" else ""),
        *([] if scheme in KEEP_BIASES else zero),
    ]


def _by_data(per_unit: bool) -> list[str]:
    """As the remedy does it: each layer is scaled when the first batch comes to it, and runs again."""
    statistics = "output.std(0).unsqueeze(1)" if per_unit else "output.std()"
    return [
        "def scale(module, args, output):",
        "    with torch.no_grad():",
        f"        module.weight /= {statistics}",
        *(["        module.bias -= (output / output.std(0)).mean(0)"] if per_unit else []),
        "    return module.forward(*args)",
        "layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]",
        "for module in layers:",
        "    torch.nn.init.orthogonal_(module.weight)",
        "    torch.nn.init.zeros_(module.bias)",
        "hooks = [module.register_forward_hook(scale) for module in layers]",
        "model(inputs)  # of the first batch",
        "for hook in hooks:",
        "    hook.remove()",
    ]


def _fill(scheme: str, nn: str, weight: str, value: float | None, gain: str = "") -> str:
    shown = "" if value is None else number(value)
    return FILLS[scheme].format(nn=nn, weight=weight, value=shown, gain=gain)


def _express(init: Init, script: Script) -> None:
    if init.scheme not in FILLS:
        raise Cannot("its weights depend on the data and on the other layers")
    file, statement, name = made(script)
    nn = spelled(file, "torch.nn")
    function_name = fresh(file, "_init_weights")
    gains = _gains(script) if init.scheme == "orthogonal" else {}
    lines, call = _function(init, script, nn, function_name, gains)
    file.change([_above(file, statement, lines), _below(file, statement, name, call.format(model=name))])


def _function(init: Init, script: Script, nn: str, name: str, gains: dict[str, float]) -> tuple[list[str], str]:
    """The lines of the function, and a call of it. It is told the layers by name where their gains differ."""
    plain, recurrent = _classes(script)
    trainable = not all(step.trainable for step in script.trace.parameters)
    usual = max(gains.values(), key=list(gains.values()).count) if gains else 1.0
    others = {layer: gain for layer, gain in gains.items() if gain != usual}
    gain = f"{usual:.6g}"
    if others:
        table = ", ".join(f'"{layer}": {g:.6g}' for layer, g in others.items())
        head = [f"def {name}(model):", "    for name, module in model.named_modules():"]
        gain, call, margin = f"{{{table}}}.get(name, {gain})", f"{name}({{model}})", " " * 8
    else:
        head, call, margin = [f"def {name}(module):"], f"{{model}}.apply({name})", " " * 4
    body: list[str] = []
    if plain:
        body += _plain(init, nn, plain, gain, trainable)
    for layer, gates in recurrent.items():
        body += _recurrent(init, nn, layer, gates)
    return head + [margin + line for line in body], call


def _plain(init: Init, nn: str, classes: list[str], gain: str, trainable: bool) -> list[str]:
    names = ", ".join(f"{nn}.{name}" for name in classes)
    condition = f"isinstance(module, {names if len(classes) == 1 else f'({names})'})"
    lines = [
        f"if {condition}" + (" and module.weight.requires_grad:" if trainable else ":"),
        "    " + _fill(init.scheme, nn, "module.weight", init.value, gain),
    ]
    if init.scheme not in KEEP_BIASES:
        lines += ["    if module.bias is not None:", f"        {nn}.init.zeros_(module.bias)"]
    return lines


def _recurrent(init: Init, nn: str, layer: str, gates: int) -> list[str]:
    split = init.scheme in BY_GATE and gates > 1
    weight = "gate" if split else "parameter"
    inner = _fill(init.scheme, nn, weight, init.value, "1.0")
    lines = [
        f"if isinstance(module, {nn}.{layer}):",
        "    for name, parameter in module.named_parameters():",
        '        if "weight" in name:',
    ]
    if split:
        lines += [f"            for gate in parameter.data.chunk({gates}):", f"                {inner}"]
    else:
        lines += [f"            {inner}"]
    if init.scheme not in KEEP_BIASES:
        lines += ["        else:", f"            {nn}.init.zeros_(parameter)"]
    return lines


def _classes(script: Script) -> tuple[list[str], dict[str, int]]:
    """The classes of torch's whose weights the remedy overwrites; recurrent ones with their number of gates. Raises
    Cannot where it overwrites anything else, or leaves such a layer out."""
    plain: dict[str, None] = {}
    recurrent: dict[str, int] = {}
    for op in script.trace.operations:
        if op.kind != "weights" or op.name.startswith("embedding"):
            continue
        if op.name in RECURRENT and op.parameter is not None:
            recurrent[RECURRENT[op.name]] = BLOCKS.get(op.name, 1)
        elif op.name in LAYERS and op.parameter == f"{op.module}.weight".removeprefix("."):
            plain[LAYERS[op.name]] = None
        else:
            raise Cannot(
                f"{op.label} multiplies with weights that are not those of a layer of torch's, or of two layers"
            )
    names = [step.name for step in script.trace.parameters]
    if not plain and not recurrent:
        raise Cannot("no weights of a linear, convolutional or recurrent layer were seen")
    if any("weight_hr" in name for name in names) or (
        recurrent and not all(s.trainable for s in script.trace.parameters)
    ):
        raise Cannot("a recurrent layer has weights that have to stay as they are")
    looked_up = {op.parameter for op in script.trace.operations if op.name.startswith("embedding")}
    if any(op.parameter in looked_up for op in script.trace.operations if not op.name.startswith("embedding")):
        raise Cannot("an embedding shares its weights with a layer")
    return list(plain), recurrent


def _gains(script: Script) -> dict[str, float]:
    """By the path of each layer: the gain that is critical for the activation it reads."""
    gains: dict[str, float] = {}
    if any(isinstance(part, Normalisation) for part in script.earlier):
        raise Cannot("its gains depend on the normalisation")
    reads = _activations(script)
    for op, activation in reads:
        if op.name.startswith("conv") or op.name == "bilinear":
            raise Cannot("how it fills the kernel of a convolution depends on more than the class of the layer")
        if op.name in LAYERS and (op.module not in gains or gains[op.module] == 1.0):
            gains[op.module or ""] = _gain(activation)
    return gains


def _gain(activation: str | None) -> float:
    if activation is None:
        return 1.0
    edge = edge_of_chaos(function(activation), 0.0) if activation in FUNCTIONS else None
    if edge is None:
        raise Cannot(f"its gain for {activation} is not told by the name alone")
    return math.sqrt(edge.weight_variance)


def _activations(script: Script) -> list[tuple[Operation, str | None]]:
    """Each weighted operation, and the activation whose output it reads, as the parts of the remedy before have it."""
    exchanged = next((part.function for part in reversed(script.earlier) if isinstance(part, Activation)), None)
    hidden = {op.index for ops in hidden_activations(script.trace).values() for op in ops}
    latest: list[str | None] = []
    found: list[tuple[Operation, str | None]] = []
    for op in script.trace.operations:
        behind = next((latest[p] for p in sorted(op.parents, reverse=True)), None)
        if op.kind == "weights":
            found.append((op, behind))
        own = op.name if exchanged is None or op.index not in hidden else exchanged
        latest.append(own if op.kind == "activation" else behind if op.kind == "other" else None)
    return found


# -- where it is put ---------------------------------------------------------------------------------------------------


def _above(file: File, statement: cst.CSTNode, lines: list[str]) -> Edit:
    """In front of the outermost statement that this one is in, and of the comments on that."""
    outermost = next((n for n in reversed([statement, *file.around(statement)]) if n in file.module.body), statement)
    line = file.lines(outermost).start
    decorators = getattr(outermost, "decorators", ())
    line = min([line, *(file.lines(d).start for d in decorators)])
    while line > 1 and file.line(line - 1).startswith("#"):
        line -= 1
    blank = next((n for n in range(2) if line - n == 1 or file.line(line - n - 1).strip()), 2)
    return file.before_line(line, [*[""] * (2 - blank if line > 1 else 0), *lines, "", ""])


def _below(file: File, statement: cst.CSTNode, name: str, call: str) -> Edit:
    """Behind the statement, and behind those that follow it in its block up to the last that speaks of the model before
    the optimizer is made: they may give it weights, too."""
    block = list(getattr(file.parent(statement), "body", ()))
    following = block[block.index(statement) + 1 :]
    until = next((i for i, s in enumerate(following) if _makes_optimizer(file, s)), 0)
    told = [s for s in following[:until] if _speaks_of(s, file, name)]
    after = told[-1] if told else statement
    return file.before_line(file.lines(after).stop, [(file.margin(statement) or "") + call])


def _makes_optimizer(file: File, statement: cst.CSTNode) -> bool:
    return any(
        (file.qualified(n.func) or "").startswith("torch.optim.") for n in inside(statement) if isinstance(n, cst.Call)
    )


def _speaks_of(statement: cst.CSTNode, file: File, name: str) -> bool:
    return any(file.code(n) == name for n in inside(statement) if isinstance(n, cst.Name | cst.Attribute))
