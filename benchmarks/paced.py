"""A training script that makes one step for each line that it reads: python benchmarks/paced.py NETWORK

It prints what the beginning took, and then what each step takes, in seconds of the processor. `benchmarks/scripts.py`
runs it, watched and as it is.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 10


def mlp() -> nn.Module:
    """Few calls for much arithmetic."""
    layers = [part for _ in range(3) for part in (nn.Linear(512, 512), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), nn.Linear(1024, 512), nn.ReLU(), *layers, nn.Linear(512, CLASSES))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.norms[0](self.first(x)))
        return F.relu(x + self.norms[1](self.second(inner)))


def resnet() -> nn.Module:
    """Convolutions, batch normalisations and skip connections."""
    blocks = [Block(16) for _ in range(6)]
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, stride=2), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES)
    )


class Transformer(nn.Module):
    """Each row of an image is a word of 32 numbers. Many calls: attention is written out, as it is for teaching."""

    def __init__(self, width: int = 64, depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.words, self.places = nn.Linear(32, width), nn.Parameter(0.02 * torch.randn(32, width))
        self.attentions = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(depth))
        self.mixing = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * depth + 1))
        self.feeds = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * width, width))
            for _ in range(depth)
        )
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.words(x.squeeze(1)) + self.places
        for i, feed in enumerate(self.feeds):
            x = x + self.mixing[i](self.attended(self.attentions[i](self.norms[2 * i](x))))
            x = x + feed(self.norms[2 * i + 1](x))
        return self.head(self.norms[-1](x).mean(1))

    def attended(self, x: Tensor) -> Tensor:
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in x.chunk(3, -1))
        scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
        return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


def kaylee() -> nn.Module:
    """40 layers so small that what is computed in them costs less than the calls."""
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(1024, 64), nn.ReLU()]
    for _ in range(39):
        layers += [nn.Linear(64, 64), nn.ReLU()]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    return nn.Sequential(*layers, nn.Linear(64, CLASSES))


NETWORKS = {"mlp": (mlp, 256), "resnet": (resnet, 48), "transformer": (Transformer, 32), "kaylee": (kaylee, 64)}
"""How each is built, and its batch size: 20 ms a step and more on one thread, but for the last."""


def images(count: int) -> tuple[Tensor, Tensor]:
    """(count, 1, 32, 32) of noise, and in which of ten bands each is brighter."""
    x, y = torch.randn(count, 1, 32, 32), torch.randint(CLASSES, (count,))
    for image, band in zip(x, y.tolist(), strict=True):
        image[0, 3 * band : 3 * band + 3] += 1.0
    return x, y


def main() -> None:
    build, size = NETWORKS[sys.argv[1]]
    torch.manual_seed(0)
    x, y = images(64 * size)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    print(time.process_time(), flush=True)
    for number, _ in enumerate(sys.stdin):
        started = time.process_time()
        chosen = torch.arange(number * size, (number + 1) * size) % len(x)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[chosen]), y[chosen])
        loss.backward()
        optimizer.step()
        print(time.process_time() - started, flush=True)


if __name__ == "__main__":
    main()
