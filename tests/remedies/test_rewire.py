from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from remedies.nets import Mlp, flat, remedied
from unstick.errors import NotApplicable
from unstick.remedies.rewire import Rewire
from unstick.setup import Setup


def setup_of(model: nn.Module) -> Setup:
    return Setup(model, lambda m, x: m(x).sum(), torch.optim.Adam)


def test_later_remedies_find_the_first_ones() -> None:
    setup = setup_of(nn.Linear(2, 2))
    assert Rewire.of(setup) is Rewire.of(setup)
    assert setup.contexts == [Rewire.of(setup)]


def test_order_at_a_site() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid())
    setup, x = setup_of(model), torch.randn(4, 2)
    change = Rewire.of(setup).at(("0.weight", 0))
    change.after.append(lambda t: t + 5)
    change.before.append(lambda t: 2 * t)
    change.activation = torch.tanh
    change.before.append(lambda t: t - 1)
    with setup.active():
        changed = model(x)
    torch.testing.assert_close(changed, (2 * model[0](x) - 1).tanh() + 5)


def test_calls_made_at_a_site_are_not_rewired_again() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid())
    setup, x = setup_of(model), torch.randn(4, 2)
    Rewire.of(setup).at(("0.weight", 0)).activation = lambda t: t.sigmoid().sigmoid()
    with setup.active():
        changed = model(x)
    torch.testing.assert_close(changed, model[0](x).sigmoid().sigmoid())


def test_an_exception_in_the_model_ends_it() -> None:
    class Breaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("broken")

    setup = setup_of(Breaks())
    Rewire.of(setup)
    with pytest.raises(ValueError, match="broken"):
        setup.forward(torch.zeros(1))
    assert not torch._C._len_torch_function_stack()


def test_recomputed_activations_are_refused_rather_than_given_wrong_gradients() -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(checkpoint(lambda t: torch.sigmoid(self.first(t)), x, use_reentrant=False))

    setup, batch = remedied(Checkpointed(), flat(), "tanh")
    with pytest.raises(NotApplicable, match="checkpointing"):
        setup.forward(batch)
    x = torch.ones(2, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):  # allowed again
        (x * x).sum().backward()
    assert x.grad is not None


def test_added_parameters_have_names_of_their_own_and_keep_sites() -> None:
    setup, batch = remedied(Mlp([torch.sigmoid] * 3), flat(), "batchnorm+layernorm(after)+rezero+relu")
    names = [name for name, _ in setup.model.named_parameters() if name.startswith("unstick_added_")]
    assert len(names) == len(set(names)) == 3 * 2 + 3 * 2 + 2
    first, second = setup.forward(batch), setup.forward(batch)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
