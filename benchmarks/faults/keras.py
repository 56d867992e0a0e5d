"""Building blocks that behave as Keras' do, for programs that were published in Keras.

A network is a tuple of layer descriptions: plain values, so that two programs can be compared and a repaired one is a
`replace` away. `build` turns them into an `nn.Sequential`; shapes are found by passing zeros through, as Keras does.

What is as in Keras: Glorot-uniform kernels and zero biases, the named initialisers (Keras' normal ones are truncated at
two standard deviations), "valid" convolutions, batch normalisation's momentum and epsilon, the LSTM's start. Losses and
optimizers are in training.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# -- initialisers ------------------------------------------------------------------------------------------------------


def _fans(w: Tensor) -> tuple[float, float]:
    """(fan in, fan out); for a bias both are its length, as in Keras."""
    if w.dim() < 2:
        return float(len(w)), float(len(w))
    field = math.prod(w.shape[2:])
    return float(w.shape[1] * field), float(w.shape[0] * field)


def _uniform(w: Tensor, variance: float) -> None:
    nn.init.uniform_(w, -math.sqrt(3 * variance), math.sqrt(3 * variance))


def _truncated(w: Tensor, variance: float) -> None:
    std = math.sqrt(variance) / 0.87962566103423978  # of a standard normal cut off at 2
    nn.init.trunc_normal_(w, 0.0, std, -2 * std, 2 * std)


INITIALISERS: dict[str, Callable[[Tensor], object]] = {
    "zeros": nn.init.zeros_,
    "ones": nn.init.ones_,
    "glorot_uniform": lambda w: _uniform(w, 2 / sum(_fans(w))),
    "glorot_normal": lambda w: _truncated(w, 2 / sum(_fans(w))),
    "he_uniform": lambda w: _uniform(w, 2 / _fans(w)[0]),
    "he_normal": lambda w: _truncated(w, 2 / _fans(w)[0]),
    "lecun_normal": lambda w: _truncated(w, 1 / _fans(w)[0]),
    "uniform": lambda w: nn.init.uniform_(w, -0.05, 0.05),
    "normal": lambda w: nn.init.normal_(w, 0.0, 0.05),
    "orthogonal": nn.init.orthogonal_,
}


def initialise(w: Tensor, how: str) -> None:
    """`how`: a name above, "constant(c)" or "normal(std)"."""
    name, _, argument = how.partition("(")
    if not argument:
        INITIALISERS[how](w)
        return
    value = float(argument.rstrip(")"))
    nn.init.constant_(w, value) if name == "constant" else nn.init.normal_(w, 0.0, value)


# -- layers ------------------------------------------------------------------------------------------------------------


class Exponential(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


class Softmax(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(dim=1 if x.dim() == 4 else -1)  # over channels, wherever they are


class LastOutput(nn.Module):
    """An LSTM over (n, channels, time) that returns what it says after the last time step."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, units, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lstm(x.transpose(1, 2))[0]
        return out[:, -1]


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "elu": nn.ELU,
    "softmax": Softmax,
    "exponential": Exponential,
}


@dataclass(frozen=True)
class Layer:
    """kind: dense, conv1, conv2, lstm, pool1, pool2, flatten, dropout, batchnorm or an activation. size: units, or the
    pool's width. rate: of dropout."""

    kind: str
    size: int = 0
    kernel: int = 0
    same: bool = False
    init: str = "glorot_uniform"
    bias: str = "zeros"
    rate: float = 0.0
    frozen: bool = False


Layers = tuple[Layer, ...]


def _with(layer: Layer, activation: str | None) -> Layers:
    return (layer, *(Layer(a) for a in (activation or "").split()))


def dense(
    units: int, activation: str | None = None, init: str = "glorot_uniform", bias: str = "zeros", frozen: bool = False
) -> Layers:
    return _with(Layer("dense", units, init=init, bias=bias, frozen=frozen), activation)


def conv(
    filters: int,
    kernel: int,
    activation: str | None = None,
    init: str = "glorot_uniform",
    bias: str = "zeros",
    same: bool = False,
    axes: int = 2,
    frozen: bool = False,
) -> Layers:
    return _with(Layer(f"conv{axes}", filters, kernel, same, init, bias, frozen=frozen), activation)


def pool(width: int = 2, axes: int = 2) -> Layers:
    return (Layer(f"pool{axes}", width),)


def dropout(rate: float) -> Layers:
    return (Layer("dropout", rate=rate),)


def lstm(units: int) -> Layers:
    return (Layer("lstm", units),)


FLATTEN: Layers = (Layer("flatten"),)
BATCHNORM: Layers = (Layer("batchnorm"),)


def build(layers: Layers, shape: Sequence[int]) -> nn.Sequential:
    """The network for samples of `shape`, with weights drawn from torch's global generator."""
    net = nn.Sequential()
    x = torch.zeros(2, *shape)
    for layer in layers:
        part = _module(layer, x)
        with torch.no_grad():
            x = part.eval()(x)
        net.append(part.train())
    return net


def _module(layer: Layer, x: Tensor) -> nn.Module:
    if layer.kind in ACTIVATIONS:
        return ACTIVATIONS[layer.kind]()
    match layer.kind:
        case "dense":
            return _initialised(nn.Linear(x.shape[-1], layer.size), layer)
        case "conv1" | "conv2":
            make = nn.Conv1d if layer.kind == "conv1" else nn.Conv2d
            padding = "same" if layer.same else "valid"
            return _initialised(make(x.shape[1], layer.size, layer.kernel, padding=padding), layer)
        case "pool1":
            return nn.MaxPool1d(layer.size)
        case "pool2":
            return nn.MaxPool2d(layer.size)
        case "dropout":
            return nn.Dropout(layer.rate)
        case "flatten":
            return nn.Flatten()
        case "batchnorm":
            kind = nn.BatchNorm2d if x.dim() == 4 else nn.BatchNorm1d
            return kind(x.shape[1], eps=1e-3, momentum=0.01)  # Keras: momentum 0.99 of the old value
        case "lstm":
            return _recurrent(LastOutput(x.shape[1], layer.size))
    raise ValueError(f"no layer {layer.kind!r}")


def _initialised(module: nn.Linear | nn.Conv1d | nn.Conv2d, layer: Layer) -> nn.Module:
    assert module.bias is not None
    with torch.no_grad():
        initialise(module.weight, layer.init)
        initialise(module.bias, layer.bias)
    return module.requires_grad_(not layer.frozen)


def _recurrent(module: LastOutput) -> nn.Module:
    """Keras: Glorot kernel, orthogonal recurrent kernel, zero biases but for the forget gate's, which is 1."""
    net, units = module.lstm, module.lstm.hidden_size
    with torch.no_grad():
        kernel, recurrent, bias, second = net.all_weights[0]
        initialise(kernel, "glorot_uniform")
        initialise(recurrent, "orthogonal")
        bias.zero_()
        second.zero_()
        bias[units : 2 * units] = 1.0
    return module
