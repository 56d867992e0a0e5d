"""Sets, graphs, tables of ratings, and actions."""

from __future__ import annotations

import torch
from benchmarks.zoo.activations import dense
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.tasks import adam, blobs, digits, generator, sgd, standard
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case

ZOO = Collection("Sets, graphs and tables")


class Set(nn.Module):
    """A sum over elements (deep sets)."""

    def __init__(self) -> None:
        super().__init__()
        self.element, self.whole = (
            dense(nn.ReLU, depth=1, inputs=3, outputs=32),
            dense(nn.ReLU, depth=1, inputs=32, outputs=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.whole(self.element(x).mean(1))


@ZOO.add
def deep_sets() -> Case:
    """the spread of a cloud of ten points."""
    g = generator(31)
    size = 0.3 + torch.rand(1024, 1, 1, generator=g)
    x = size * torch.randn(1024, 10, 3, generator=g)
    return Case(Set, (x, standard(size[:, 0])), F.mse_loss, optimizer=adam(3e-3))


@ZOO.add
def point_net() -> Case:
    """point clouds: shared layers and a maximum; balls, shells and boxes."""
    g = generator(32)
    y = torch.randint(0, 3, (768,), generator=g)
    x = torch.randn(768, 24, 3, generator=g)
    ball = x / x.norm(dim=2, keepdim=True) * torch.rand(768, 24, 1, generator=g)
    shell, box = x / x.norm(dim=2, keepdim=True), x.clamp(-0.7, 0.7)
    cloud = torch.stack([ball, shell, box], 1)[torch.arange(768), y]

    class Points(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.each, self.head = dense(nn.ReLU, depth=1, inputs=3, outputs=32), nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.relu(self.each(x)).amax(1))

    return Case(Points, (cloud, y), F.cross_entropy, optimizer=adam(5e-3), batch_size=32)


class Factors(nn.Module):
    """A user's vector times an item's (matrix factorisation)."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(60, 6), nn.Embedding(40, 6)
        nn.init.normal_(self.users.weight, std=0.5)
        nn.init.normal_(self.items.weight, std=0.5)
        self.bias = nn.Embedding(40, 1)
        nn.init.zeros_(self.bias.weight)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.users(user) * self.items(item)).sum(1) + self.bias(item)[:, 0]


@ZOO.add
def matrix_factorisation() -> Case:
    """embeddings and nothing else: no weight matrix, no activation."""
    g = generator(33)
    table = torch.randn(60, 4, generator=g) @ torch.randn(4, 40, generator=g) / 2
    user, item = torch.randint(0, 60, (4096,), generator=g), torch.randint(0, 40, (4096,), generator=g)
    return Case(Factors, ((user, item), table[user, item]), F.mse_loss, optimizer=adam(1e-2))


class GraphConvolution(nn.Module):
    """Two rounds of averaging over neighbours (GCN), dense adjacency."""

    def __init__(self, adjacency: Tensor) -> None:
        super().__init__()
        self.register_buffer("spread", adjacency / adjacency.sum(1, keepdim=True))
        self.first, self.second = nn.Linear(6, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.spread @ F.relu(self.first(self.spread @ x)))


@ZOO.add
def graph_convolution() -> Case:
    """all nodes of one graph are one batch, of which a part has labels."""
    x, y = blobs(4, 3.0)
    x, y = x[:200], y[:200]
    together = (y[:, None] == y).float() * 0.15 + 0.01
    adjacency = (torch.rand(200, 200, generator=generator(34)) < together).float()
    adjacency = torch.maximum(torch.maximum(adjacency, adjacency.T), torch.eye(200))
    labels = torch.where(torch.rand(200, generator=generator(35)) < 0.5, y, -100)
    return Case(lambda: GraphConvolution(adjacency), [(x, labels)], F.cross_entropy, optimizer=adam(1e-2))


class ActionValues(nn.Module):
    """Q(s, a), of which one action a sample is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.net = dense(nn.ReLU, depth=2, inputs=6, outputs=4)

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        return self.net(state).gather(1, action[:, None])[:, 0]


@ZOO.add
def action_values() -> Case:
    """rewards of the actions that were taken (a contextual bandit), Huber loss."""
    state, best = blobs()
    action = torch.randint(0, 4, best.shape, generator=generator(36))
    reward = (action == best).float() + 0.1 * torch.randn(len(best), generator=generator(37))
    return Case(ActionValues, ((state, action), reward), F.smooth_l1_loss, optimizer=adam(3e-3))


@ZOO.add
def echo_state() -> Case:
    """a fixed random recurrence, only the reading learns."""

    class Reservoir(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            weight = torch.randn(64, 64)
            self.register_buffer("state", 0.9 * weight / torch.linalg.eigvals(weight).abs().max())
            self.register_buffer("inputs", 0.5 * torch.randn(8, 64))
            self.head = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            h = x.new_zeros(len(x), 64)
            for row in x.view(-1, 8, 8).unbind(1):
                h = torch.tanh(row @ self.inputs + h @ self.state)
            return self.head(h)

    return Case(Reservoir, digits(), F.cross_entropy, optimizer=sgd(0.1, momentum=0.9))
