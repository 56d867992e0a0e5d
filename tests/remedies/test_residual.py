from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from remedies.nets import SIGMOIDS, Activate, Conv, Mlp, Unrolled, added, assert_same, flat, images, remedied, series
from unstick.errors import NotApplicable
from unstick.remedies.rewire import Rewire


class ResidualMlp(Mlp):
    """As in the remedy: each activation's output has the value before it added, from the second on."""

    gate: float | Tensor = 1.0

    def forward(self, x: Tensor) -> Tensor:
        h = self.hidden[0](self.layers[0](x))
        for layer, activate in zip(self.layers[1:], self.hidden[1:], strict=True):
            h = h + self.gate * activate(layer(h))
        return self.head(h if h.dim() == 2 else h.mean(1))


@pytest.mark.parametrize(
    ("x", "form"), [*((flat(), form) for form in SIGMOIDS), *((series(), form) for form in ("module", "function"))]
)
def test_equals_a_residual_network_written_by_hand(x: Tensor, form: str) -> None:
    model = Mlp([SIGMOIDS[form]] * 3)
    setup, batch = remedied(model, x, "residual")
    assert setup.changes == ["residual connection in 2 places of 3"]
    assert_same(setup, ResidualMlp([torch.sigmoid] * 3), model, batch)


def test_on_a_convolutional_network() -> None:
    class ByHand(Conv):
        def forward(self, x: Tensor) -> Tensor:
            h = torch.sigmoid(self.layers[0](x))
            return self.head((h + torch.sigmoid(self.layers[1](h))).flatten(1))

    model = Conv([nn.Sigmoid(), nn.Sigmoid()])
    setup, batch = remedied(model, images(), "residual")
    assert_same(setup, ByHand([]), model, batch)


def test_an_unrolled_cell_adds_its_last_state() -> None:
    class ByHand(Unrolled):
        def forward(self, x: Tensor) -> Tensor:
            h = None
            for step in x.unbind(1):
                new = torch.tanh(self.into(step) + self.across(x.new_zeros(len(x), 5) if h is None else h))
                h = new if h is None else h + new
            return self.head(h)

    model = Unrolled(torch.tanh)
    setup, batch = remedied(model, series(), "residual")
    assert_same(setup, ByHand(torch.tanh), model, batch)


def test_rezero_starts_with_the_branches_closed() -> None:
    model = Mlp([torch.sigmoid] * 3)
    setup, (x, y) = remedied(model, flat(), "rezero")
    by_hand = ResidualMlp([torch.sigmoid] * 3)
    by_hand.load_state_dict(model.state_dict())
    by_hand.gate = 0.0
    with setup.active():
        torch.testing.assert_close(setup.model(x), by_hand(x))
    with torch.no_grad():
        for gate in added(setup).values():
            gate.fill_(0.5)
    by_hand.gate = 0.5
    assert_same(setup, by_hand, model, (x, y))


def test_the_optimizer_moves_the_gates_of_rezero() -> None:
    setup, batch = remedied(Mlp([torch.sigmoid] * 3), flat(), "rezero")
    optimizer = setup.make_optimizer(list(setup.model.parameters()))
    setup.forward(batch).backward()
    optimizer.step()
    assert len(added(setup)) == 2
    assert all(gate != 0 for gate in added(setup).values())


@pytest.mark.parametrize("activate", [nn.Sigmoid(), torch.sigmoid])
def test_composes_with_activation_and_normalisation(activate: Activate) -> None:
    model = Mlp([activate] * 3)
    setup, batch = remedied(model, flat(), "residual+tanh+layernorm(after)")
    by_hand = ResidualMlp([nn.Sequential(nn.Tanh(), nn.LayerNorm(6)) for _ in range(3)])
    assert_same(setup, by_hand, model, batch)


def test_a_branch_beside_is_not_taken_for_the_layer_before() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.head = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.tanh(self.left(x)) * torch.sigmoid(self.right(x)))

    with pytest.raises(NotApplicable, match="same shape"):
        remedied(Gated(), flat(), "residual")


def test_nothing_of_a_pass_is_kept() -> None:
    setup, batch = remedied(Mlp([torch.sigmoid] * 3), flat(), "residual")
    outputs: list[weakref.ref[Tensor]] = []
    rewire = Rewire.of(setup)
    for change in rewire._changes.values():
        change.after.append(lambda x: outputs.append(weakref.ref(x)) or x)
    setup.forward(batch)
    gc.collect()
    assert len(outputs) == 2
    assert not any(ref() is not None for ref in outputs)


def test_says_why_it_does_not_apply() -> None:
    narrowing = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    with pytest.raises(NotApplicable, match="same shape"):
        remedied(narrowing, flat(), "residual")
    with pytest.raises(NotApplicable, match="already"):
        remedied(Mlp([torch.relu] * 3), flat(), "residual+rezero")
