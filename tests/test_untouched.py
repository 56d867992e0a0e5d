"""After any call on live objects everything is as it was, whatever happened in between."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as hooks

from unstick import Case, diagnose, try_remedies


class Live(nn.Module):
    """A small network with buffers, hooks, a frozen part and mixed modes, that may raise at a given call."""

    def __init__(self, width: int, depth: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4 if i == 0 else width, width) for i in range(depth))
        self.norm = nn.BatchNorm1d(width)
        self.activation = activation()
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(width, 3)
        self.layers[0].bias.requires_grad_(False)
        self.norm.eval()
        self.left: int | None = None
        self.error: type[BaseException] = ValueError

    def forward(self, x: Tensor) -> Tensor:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise self.error("from the user's forward")
        x.mul_(1.5)  # must not reach the user's data
        for layer in self.layers:
            x = self.activation(layer(x))
        return self.head(self.drop(self.norm(x)))


def snapshot(model: Live, optimizer: torch.optim.Optimizer, data: tuple[Tensor, Tensor]) -> list[Any]:
    def copied(tensor: Tensor | None) -> Any:
        return None if tensor is None else tensor.detach().clone().tolist()

    state = np.random.get_state()
    return [
        {name: copied(t) for name, t in model.state_dict().items()},
        {name: (copied(p.grad), p.requires_grad) for name, p in model.named_parameters()},
        [
            (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in model.modules()
        ],
        [len(h) for h in (hooks._global_forward_hooks, hooks._global_forward_pre_hooks, hooks._global_backward_hooks)],
        repr(optimizer.state_dict()),
        model.left,
        [copied(t) for t in data],
        (random.getstate(), state[1].tolist(), state[2], torch.get_rng_state().tolist()),
        (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(), nn.Module.__init__),
    ]


@settings(max_examples=20, derandomize=True)
@given(
    width=st.integers(1, 6),
    depth=st.integers(1, 3),
    activation=st.sampled_from([nn.Sigmoid, nn.ReLU, nn.Tanh]),
    fails_after=st.sampled_from([None, None, 0, 1, 20]),
    error=st.sampled_from([ValueError, KeyboardInterrupt]),
    call=st.sampled_from(["diagnose", "try"]),
    seed=st.integers(0, 1000),
)
def test_everything_is_as_it_was(
    width: int, depth: int, activation: type[nn.Module], fails_after: int | None, error: Any, call: str, seed: int
) -> None:
    torch.manual_seed(seed)
    model = Live(width, depth, activation)
    model.layers[0].register_forward_hook(lambda *_: None)
    data = (torch.randn(24, 4), torch.randint(0, 3, (24,)))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    F.cross_entropy(model(data[0].clone()), data[1]).backward()
    optimizer.step()
    model.left, model.error = fails_after, error
    case = Case(model, data, F.cross_entropy, optimizer=optimizer, batch_size=8)
    before = snapshot(model, optimizer, data)
    try:
        if call == "diagnose":
            diagnose(case, steps=3)
        else:
            try_remedies(case, ["relu+init(he)", "batchnorm(after)"], steps=2, seeds=2, workers=1)
    except (Exception, KeyboardInterrupt):
        assert fails_after is not None
    assert snapshot(model, optimizer, data) == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_failure_is_not_swallowed(error: type[BaseException]) -> None:
    from unstick import CaseError

    model = Live(3, 1, nn.Tanh)
    model.left, model.error = 0, error
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else CaseError, match="user's forward"):
        diagnose(Case(model, (torch.randn(8, 4), torch.randint(0, 3, (8,))), F.cross_entropy), steps=2)
