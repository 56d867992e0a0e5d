"""torch-geometric: graph networks for nodes and for whole graphs, with the library's own batches."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.tasks import adam, generator
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric import nn as gnn
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from unstick import Case

ZOO = Collection("torch-geometric")


@cache
def _nodes() -> tuple[Tensor, Tensor, Tensor]:
    """(200, 8) noisy features, edges mostly within four communities, (200,) communities."""
    g = generator(40)
    y = torch.randint(0, 4, (200,), generator=g)
    likely = (y[:, None] == y).float() * 0.12 + 0.01
    edges = (torch.rand(200, 200, generator=g) < likely).nonzero().T
    return F.one_hot(y, 8) + 1.5 * torch.randn(200, 8, generator=g), edges, y


class OnNodes(nn.Module):
    """Two graph layers."""

    def __init__(self, layer: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.first, self.second = layer(8, 16), layer(16, 4)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return self.second(F.relu(self.first(x, edges)), edges)


LAYERS: dict[str, Callable[[int, int], nn.Module]] = {
    "gcn": gnn.GCNConv,
    "gat": gnn.GATConv,
    "gatv2": gnn.GATv2Conv,
    "sage": gnn.SAGEConv,
    "graph-conv": gnn.GraphConv,
    "transformer-conv": gnn.TransformerConv,
    "cheb": partial(gnn.ChebConv, K=2),
    "tag": gnn.TAGConv,
    "arma": gnn.ARMAConv,
}


def _node_case(layer: Callable[[int, int], nn.Module]) -> Case:
    return Case(partial(OnNodes, layer), [_nodes()], F.cross_entropy, optimizer=adam(1e-2))


for _name, _layer in LAYERS.items():
    ZOO.put(f"pyg-{_name}", "communities of the nodes of one graph", partial(_node_case, _layer))


@ZOO.add
def pyg_sgc() -> Case:
    """simplified graph convolution: linear on purpose (tempts missing-nonlinearity)."""
    return Case(lambda: gnn.SGConv(8, 4, K=2), [_nodes()], F.cross_entropy, optimizer=adam(2e-2))


@cache
def _graphs() -> list[Data]:
    """256 graphs of ten nodes: a ring, or a star, with noise on the features."""
    g = generator(41)
    ring = torch.stack([torch.arange(10), (torch.arange(10) + 1) % 10])
    star = torch.stack([torch.zeros(9, dtype=torch.long), torch.arange(1, 10)])
    kinds = torch.randint(0, 2, (256,), generator=g)
    both = [torch.cat([e, e.flip(0)], 1) for e in (ring, star)]
    return [
        Data(x=1 + 0.5 * torch.randn(10, 4, generator=g), edge_index=both[k], y=torch.tensor([k]))
        for k in kinds.tolist()
    ]


class OnGraphs(nn.Module):
    """A graph isomorphism network and a sum over nodes."""

    def __init__(self) -> None:
        super().__init__()
        inner = lambda a: nn.Sequential(nn.Linear(a, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16))  # noqa: E731
        self.first, self.second, self.head = gnn.GINConv(inner(4)), gnn.GINConv(inner(16)), nn.Linear(16, 2)

    def forward(self, data: Any) -> Tensor:
        h = F.relu(self.first(data.x, data.edge_index))
        return self.head(gnn.global_add_pool(F.relu(self.second(h, data.edge_index)), data.batch))


@ZOO.add
def pyg_gin() -> Case:
    """kinds of small graphs, through the library's loader and batches."""
    loader = DataLoader(_graphs(), batch_size=32, shuffle=True, drop_last=True)
    step = lambda model, data: F.cross_entropy(model(data), data.y)  # noqa: E731
    return Case(OnGraphs, loader, step=step, optimizer=adam(3e-3))
