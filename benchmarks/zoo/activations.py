"""Dense networks, one for each activation: as modules, and written out as calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.tasks import adam, digits
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case

ZOO = Collection("One for each activation")

Init = Callable[[Tensor], Any]


def he(w: Tensor) -> Any:
    return nn.init.kaiming_normal_(w)


def glorot(w: Tensor) -> Any:
    return nn.init.xavier_normal_(w)


def lecun(w: Tensor) -> Any:
    return nn.init.kaiming_normal_(w, nonlinearity="linear")


def dense(
    activation: Callable[[], nn.Module],
    init: Init = he,
    *,
    depth: int = 3,
    width: int = 48,
    inputs: int = 64,
    outputs: int = 10,
    norm: Callable[[int], nn.Module] | None = None,
) -> nn.Sequential:
    """`depth` hidden layers, biases at zero."""
    layers: list[nn.Module] = []
    for k in range(depth + 1):
        linear = nn.Linear(inputs if k == 0 else width, outputs if k == depth else width)
        init(linear.weight)
        nn.init.zeros_(linear.bias)
        layers.append(linear)
        if k < depth:
            layers += [norm(width)] if norm else []
            layers.append(activation())
    return nn.Sequential(*layers)


ACTIVATIONS: dict[str, tuple[Callable[[], nn.Module], Init]] = {
    "relu": (nn.ReLU, he), "leaky-relu": (nn.LeakyReLU, he), "prelu": (nn.PReLU, he), "rrelu": (nn.RReLU, he),
    "relu6": (nn.ReLU6, he), "elu": (nn.ELU, he), "celu": (nn.CELU, he), "selu": (nn.SELU, lecun),
    "gelu": (nn.GELU, he), "gelu-tanh": (partial(nn.GELU, approximate="tanh"), he), "silu": (nn.SiLU, he),
    "mish": (nn.Mish, he), "softplus": (nn.Softplus, he), "hardswish": (nn.Hardswish, he),
    "threshold": (partial(nn.Threshold, 0.1, 0.0), he), "softshrink": (partial(nn.Softshrink, 0.1), he),
    "hardshrink": (partial(nn.Hardshrink, 0.1), he),
    "tanhshrink": (nn.Tanhshrink, partial(nn.init.xavier_normal_, gain=3.0)),
    "tanh": (nn.Tanh, glorot), "softsign": (nn.Softsign, glorot), "hardtanh": (nn.Hardtanh, glorot),
    "logsigmoid": (nn.LogSigmoid, glorot), "sigmoid": (nn.Sigmoid, glorot), "hardsigmoid": (nn.Hardsigmoid, glorot),
}  # fmt: skip


def _activation_case(name: str) -> Case:
    activation, init = ACTIVATIONS[name]
    depth = 1 if "sigmoid" in name else 3  # squashing layers of mean 1/2 are used in shallow networks
    return Case(lambda: dense(activation, init, depth=depth), digits(), F.cross_entropy, optimizer=adam(3e-3))


for _name in ACTIVATIONS:
    ZOO.put(
        f"mlp-{_name}", f"hidden layers with {_name}, its textbook initialisation", partial(_activation_case, _name)
    )


class Written(nn.Module):
    """A hidden function written out as a call, between two linear layers."""

    def __init__(
        self, function: Callable[[Tensor], Tensor], widen: int = 1, inputs: int = 64, outputs: int = 10
    ) -> None:
        super().__init__()
        self.function = function
        self.first, self.second = nn.Linear(inputs, 48 * widen), nn.Linear(48, 48 * widen)
        self.head = nn.Linear(48, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self.second(self.function(self.first(x)))))


WRITTEN: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "glu": (F.glu, 2),
    "swiglu": (lambda x: F.silu(x[:, :48]) * x[:, 48:], 2),
    "maxout": (lambda x: x.view(len(x), 48, 2).amax(-1), 2),
    "crelu": (lambda x: torch.cat([x[:, :24].relu(), (-x[:, :24]).relu()], 1), 1),
    "squared-relu": (lambda x: F.relu(x) ** 2, 1),
    "snake": (lambda x: x + torch.sin(x) ** 2, 1),
    "clamp": (lambda x: x.clamp(-2, 2), 1),
    "clamp-min": (lambda x: x.clamp_min(0), 1),
    "maximum": (lambda x: torch.maximum(x, torch.zeros_like(x)), 1),
    "atan": (torch.atan, 1),
    "expit": (torch.special.expit, 1),
    "erf": (torch.erf, 1),
    "gauss": (lambda x: torch.exp(-(x**2)), 1),
}

for _name, (_function, _widen) in WRITTEN.items():
    ZOO.put(
        f"mlp-{_name}",
        f"two hidden layers with {_name}, written as a call",
        partial(Case, partial(Written, _function, _widen), digits(), F.cross_entropy, optimizer=adam(3e-3)),
    )
