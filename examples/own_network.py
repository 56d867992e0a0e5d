"""A network of your own, and what `unstick diagnose examples/own_network.py:case` needs to know of it.

The network is deep, its activations are called as functions, and its layers keep PyTorch's own initialisation.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case


class Classifier(nn.Module):
    def __init__(self, depth: int = 20, width: int = 64) -> None:
        super().__init__()
        self.first = nn.Linear(2, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.last = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.last(x)


def spirals(count: int = 1000) -> tuple[Tensor, Tensor]:
    """Two spirals, one for each class."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(count) % 2
    radius = torch.rand(count, generator=generator).sqrt()
    angle = 6 * radius + label * torch.pi
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    return points + 0.02 * torch.randn(count, 2, generator=generator), label


def case() -> Case:
    return Case(
        model=Classifier,
        data=spirals(),
        loss=F.cross_entropy,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )
