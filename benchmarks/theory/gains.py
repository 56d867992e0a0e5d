"""Predicted and measured factor on the gradient's norm per layer, at initialisation: python benchmarks/theory/gains.py

Networks of 50 equal layers, 512 wide, in float64 on one thread; a gradient of independent normal numbers is sent back
from the pre-activations of layer 10, 30 and 50 to those of layer 1. Prints the share of cells within 2 %, and writes
the table with what is known about the others to docs/theory-gains.md. Exits with 1 below the aim of 90 %.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import torch
from torch import Tensor
from torch.nn import functional as F

from unstick.theory import Uniform, Weights, initialisation

WIDTH, BATCH, SEEDS, DEPTHS = 512, 64, 6, (10, 30, 50)
TOLERANCE, AIM = 0.02, 0.90
PAGE = Path(__file__).parents[2] / "docs" / "theory-gains.md"

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": F.relu, "gelu": F.gelu, "silu": F.silu, "selu": F.selu,
    "elu": F.elu,
}  # fmt: skip
WEIGHTS: dict[str, Weights] = {
    "default": initialisation("default", WIDTH),
    "Xavier": initialisation("xavier", WIDTH),
    "He": initialisation("he", WIDTH),
    "N(0, 25/n)": initialisation("normal", WIDTH, std=5.0 / math.sqrt(WIDTH)),
    "N(0, 1)": initialisation("normal", WIDTH, std=1.0),
}
NORMS = ((None, "before"), ("batchnorm", "before"), ("batchnorm", "after"), ("layernorm", "before"), ("layernorm", "after"))  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One network. predicted, measured: factor per layer; error: standard error of the measured one's logarithm."""

    norm: str
    activation: str
    weights: str
    depth: int
    predicted: float
    measured: float
    error: float

    @property
    def off(self) -> float:
        return self.measured / self.predicted - 1.0

    @property
    def right(self) -> bool:
        return abs(self.off) <= TOLERANCE


@dataclass(frozen=True)
class Draw:
    """Random numbers of variance 1 for one network, shared by all cells of a seed."""

    normal: list[Tensor]
    uniform: list[Tensor]  # PyTorch's default weights are uniform
    data: Tensor
    gradient: Tensor


def draw(seed: int) -> Draw:
    torch.manual_seed(seed)
    shape, half = (WIDTH, WIDTH + 1), math.sqrt(3.0)  # the last column is for the biases
    normal = [torch.randn(shape) for _ in range(max(DEPTHS))]
    uniform = [torch.empty(shape).uniform_(-half, half) for _ in range(max(DEPTHS))]
    return Draw(normal, uniform, torch.randn(BATCH, WIDTH), torch.randn(BATCH, WIDTH))


def measure(drawn: Draw, activation: str, weights: str, norm: str | None, side: str) -> dict[int, float]:
    """log10 of the gradient's factor per layer, for each depth."""
    matrices = drawn.uniform if weights == "default" else drawn.normal
    at, signal = [], drawn.data
    for matrix in matrices:
        signal = linear(signal if not at else between(at[-1], activation, norm, side), matrix, WEIGHTS[weights])
        if not at:
            signal = signal.detach().requires_grad_()
        at.append(signal)
    found = {}
    for depth in DEPTHS:
        (back,) = torch.autograd.grad(at[depth - 1], at[0], drawn.gradient, retain_graph=True)
        found[depth] = math.log10(back.norm().item() / drawn.gradient.norm().item()) / (depth - 1)
    return found


def linear(signal: Tensor, matrix: Tensor, weights: Weights) -> Tensor:
    w = matrix[:, :-1] * math.sqrt(weights.weight_variance / WIDTH)
    return F.linear(signal, w, matrix[:, -1] * math.sqrt(weights.bias_variance))


def between(signal: Tensor, activation: str, norm: str | None, side: str) -> Tensor:
    """From the pre-activations of one layer to what the next one's weights read."""
    f = ACTIVATIONS[activation]
    if norm is None:
        return f(signal)
    return f(normalised(signal, norm)) if side == "before" else normalised(f(signal), norm)


def normalised(signal: Tensor, norm: str) -> Tensor:
    if norm == "batchnorm":
        return F.batch_norm(signal, None, None, training=True)
    return F.layer_norm(signal, (WIDTH,))


def cells() -> list[Cell]:
    measured: dict[tuple[str | None, str, str, str, int], list[float]] = {}
    for seed in range(SEEDS):
        drawn = draw(seed)
        for norm, side in NORMS:
            for activation in ACTIVATIONS:
                for weights in WEIGHTS:
                    for depth, found in measure(drawn, activation, weights, norm, side).items():
                        measured.setdefault((norm, side, activation, weights, depth), []).append(found)
        print(f"seed {seed} done", file=sys.stderr, flush=True)
    return [cell(*key, found) for key, found in measured.items()]


def cell(norm: str | None, side: str, activation: str, weights: str, depth: int, found: Sequence[float]) -> Cell:
    network = Uniform(activation, WEIGHTS[weights], norm, side, batch=BATCH, width=WIDTH)  # type: ignore[arg-type]
    predicted = 10.0 ** fmean(network.layer_decades(depth))
    error = math.log(10.0) * stdev(found) / math.sqrt(len(found))
    return Cell(f"{norm} {side}" if norm else "none", activation, weights, depth, predicted, 10.0 ** fmean(found), error)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    import pickle, time
    t = time.time()
    c = cells()
    pickle.dump([vars(x) for x in c], open("/tmp/cells.pkl", "wb"))
    print(time.time() - t)
    print(sum(x.right for x in c) / len(c))
    for x in c:
        if not x.right: print(x, f"{x.off:+.3f}")
    print(max(x.error for x in c))
