"""The ways in which dense layers are put together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from benchmarks.zoo.activations import dense, glorot, lecun
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.tasks import adam, adamw, blobs, digits, linear_data, moons, sgd, tabular
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case

ZOO = Collection("Dense networks")


@ZOO.add
def logistic_regression() -> Case:
    """one linear layer, linear on purpose (tempts missing-nonlinearity)."""
    return Case(lambda: nn.Linear(64, 10), digits(), F.cross_entropy, optimizer=sgd(0.05, momentum=0.9))


@ZOO.add
def linear_regression() -> Case:
    """one linear layer on targets that are linear (tempts missing-nonlinearity)."""
    return Case(lambda: nn.Linear(8, 3), linear_data(), F.mse_loss, optimizer=sgd(0.05))


@ZOO.add
def linear_autoencoder() -> Case:
    """two linear layers with nothing between them, a principal component analysis on purpose."""
    x, _ = digits()
    return Case(lambda: nn.Sequential(nn.Linear(64, 8), nn.Linear(8, 64)), (x, x), F.mse_loss, optimizer=adam(3e-3))


@ZOO.add
def low_rank_layers() -> Case:
    """factorised weight matrices: linear after linear by design."""

    def build() -> nn.Module:
        pairs = [nn.Sequential(nn.Linear(64, 12, bias=False), nn.Linear(12, 64)) for _ in range(2)]
        return nn.Sequential(pairs[0], nn.ReLU(), pairs[1], nn.ReLU(), nn.Linear(64, 10))

    return Case(build, digits(), F.cross_entropy, optimizer=adam(3e-3))


class Residual(nn.Module):
    """x + branch(x)."""

    def __init__(self, branch: nn.Module, gate: float | None = None) -> None:
        super().__init__()
        self.branch = branch
        self.gate = None if gate is None else nn.Parameter(torch.tensor(gate))

    def forward(self, x: Tensor) -> Tensor:
        out = self.branch(x)
        return x + (out if self.gate is None else self.gate * out)


def _tower(block: Callable[[], nn.Module], depth: int, width: int = 48) -> nn.Module:
    return nn.Sequential(nn.Linear(64, width), *(block() for _ in range(depth)), nn.Linear(width, 10))


@ZOO.add
def residual_mlp() -> Case:
    """twelve pre-activation residual blocks with layer normalisation."""
    block = lambda: Residual(nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 48)))  # noqa: E731
    return Case(lambda: _tower(block, 12), digits(), F.cross_entropy)


@ZOO.add
def rezero_mlp() -> Case:
    """sixteen residual blocks whose gates start at zero: no gradient inside them at first."""
    block = lambda: Residual(nn.Sequential(nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 48)), gate=0.0)  # noqa: E731
    return Case(lambda: _tower(block, 16), digits(), F.cross_entropy)


@ZOO.add
def layerscale_mlp() -> Case:
    """eight residual blocks scaled by 1e-4 at first (CaiT): gradients of the branches are tiny on purpose."""
    block = lambda: Residual(nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 48), nn.GELU()), gate=1e-4)  # noqa: E731
    return Case(lambda: _tower(block, 8), digits(), F.cross_entropy)


class Highway(nn.Module):
    """A gate between a layer and its input, closed at first."""

    def __init__(self) -> None:
        super().__init__()
        self.change, self.gate = nn.Linear(48, 48), nn.Linear(48, 48)
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * torch.tanh(self.change(x)) + (1 - gate) * x


@ZOO.add
def highway() -> Case:
    """twenty highway layers, gates mostly closed."""
    return Case(lambda: _tower(Highway, 20), digits(), F.cross_entropy)


class Concatenated(nn.Module):
    """Every layer reads all layers before it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64 + 16 * k, 16) for k in range(6))
        self.head = nn.Linear(64 + 16 * 6, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, F.relu(layer(x))], 1)
        return self.head(x)


@ZOO.add
def dense_connections() -> Case:
    """concatenated skip connections."""
    return Case(Concatenated, digits(), F.cross_entropy)


@ZOO.add
def self_normalising() -> Case:
    """eight SELU layers with alpha dropout."""

    def build() -> nn.Module:
        return dense(lambda: nn.Sequential(nn.SELU(), nn.AlphaDropout(0.05)), lecun, depth=8)

    return Case(build, digits(), F.cross_entropy)


@ZOO.add
def deep_tanh_glorot() -> Case:
    """twenty tanh layers at the critical point."""
    return Case(lambda: dense(nn.Tanh, glorot, depth=20), digits(), F.cross_entropy)


@ZOO.add
def deep_relu_orthogonal() -> Case:
    """fifteen ReLU layers with orthogonal weights of gain √2."""
    return Case(lambda: dense(nn.ReLU, partial(nn.init.orthogonal_, gain=2**0.5), depth=15), digits(), F.cross_entropy)


class Experts(nn.Module):
    """Each sample goes to the two best of four experts; the others get no gradient from it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(64, 4)
        self.experts = nn.ModuleList(dense(nn.ReLU, depth=1, width=24) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = self.gate(x).softmax(1).topk(2)
        out = x.new_zeros(len(x), 10)
        for k, expert in enumerate(self.experts):
            rows, slot = (chosen == k).nonzero(as_tuple=True)
            out = out.index_add(0, rows, weight[rows, slot, None] * expert(x[rows]))
        return out


@ZOO.add
def mixture_of_experts() -> Case:
    """top-2 routing over four experts."""
    return Case(Experts, digits(), F.cross_entropy, optimizer=adam(3e-3))


class SparselyGated(nn.Module):
    """A softmax over the two best experts: the logits of the others become minus infinity (Shazeer et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(64, 4)
        self.experts = nn.ModuleList(dense(nn.ReLU, depth=1, width=24) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        logits = self.gate(x)
        kept = logits >= logits.topk(2, 1).values[:, 1:]
        weight = torch.where(kept, logits, float("-inf")).softmax(1)
        return (weight[:, :, None] * torch.stack([expert(x) for expert in self.experts], 1)).sum(1)


@ZOO.add
def sparsely_gated_experts() -> Case:
    """gates of experts that were not chosen are minus infinity before the softmax (tempts non-finite)."""
    return Case(SparselyGated, digits(), F.cross_entropy, optimizer=adam(3e-3))


class RadialBasis(nn.Module):
    """Gaussian bumps around learned centres."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(2 * torch.randn(40, 2))
        self.width = nn.Parameter(torch.zeros(40))
        self.head = nn.Linear(40, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.exp(-self.width.exp() * torch.cdist(x, self.centres) ** 2))


@ZOO.add
def radial_basis_network() -> Case:
    """exp of distances: an unbounded function on bounded arguments (tempts unbounded-activation)."""
    return Case(RadialBasis, moons(), F.cross_entropy, optimizer=adam(1e-2))


class OrdinaryDifferentialEquation(nn.Module):
    """Ten Euler steps through one small network: shared weights."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.head = nn.Linear(2, 16), nn.Linear(16, 2)
        self.flow = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 16))

    def forward(self, x: Tensor) -> Tensor:
        h = self.lift(x)
        for _ in range(10):
            h = h + 0.1 * self.flow(h)
        return self.head(h)


@ZOO.add
def neural_ode() -> Case:
    """one block, applied ten times."""
    return Case(OrdinaryDifferentialEquation, moons(), F.cross_entropy, optimizer=adam(1e-2))


class CrossNetwork(nn.Module):
    """x0 * w(x) + x beside a deep part."""

    def __init__(self) -> None:
        super().__init__()
        self.cross = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.deep = dense(nn.ReLU, depth=2, inputs=8, outputs=8)
        self.head = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for layer in self.cross:
            h = x * layer(h) + h
        return self.head(torch.cat([h, self.deep(x)], 1))


@ZOO.add
def deep_and_cross() -> Case:
    """products of features beside a deep part, for tabular data."""
    return Case(CrossNetwork, tabular(), F.mse_loss, optimizer=adam(3e-3))


@ZOO.add
def tabular_mlp() -> Case:
    """regression with standardised targets."""
    return Case(lambda: dense(nn.ReLU, inputs=8, outputs=1), tabular(), F.mse_loss, optimizer=adamw(3e-3))


@ZOO.add
def narrow_mlp() -> Case:
    """eight units wide, four classes."""
    return Case(lambda: dense(nn.ReLU, width=8, inputs=6, outputs=4), blobs(), F.cross_entropy, optimizer=adam(1e-2))
