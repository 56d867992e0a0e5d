from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remedies.nets import SIGMOIDS, Activate, Mlp, assert_same, flat, remedied
from unstick.case import Case
from unstick.errors import NotApplicable, RemedyError
from unstick.observe import observe
from unstick.remedies import parse
from unstick.setup import Anatomy
from unstick.trace.record import record


def along_units(x: Tensor) -> Tensor:
    return torch.softmax(x, 1)


ENDS: dict[str, Activate] = {
    **{f"sigmoid, {form}": function for form, function in SIGMOIDS.items()},
    "softmax, module": nn.Softmax(1),
    "softmax, functional": lambda x: F.softmax(x, dim=-1),
    "softmax, method": lambda x: x.softmax(1),
    "log-softmax": lambda x: F.log_softmax(x, dim=1),
    "softmax along the batch": nn.Softmax(0),
    "relu": F.relu,
    "relu in place": nn.ReLU(inplace=True),
    "softplus": F.softplus,
}
FUNCTIONS: dict[str, Activate] = {
    "linear": lambda x: x,
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "softmax": lambda x: x.exp() / x.exp().sum(1, keepdim=True),
    "log-softmax": lambda x: x - x.exp().sum(1, keepdim=True).log(),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_equals_a_network_that_was_written_so(end: str, function: str) -> None:
    model = Mlp([F.relu] * 3, ENDS[end])
    setup, batch = remedied(model, flat(), f"output({function})")
    assert_same(setup, Mlp([F.relu] * 3, FUNCTIONS[function]), model, batch)


def test_an_output_that_was_linear() -> None:
    model = Mlp([torch.tanh] * 3)
    setup, batch = remedied(model, flat(), "output(softmax)")
    assert setup.changes == ["output: linear -> softmax"]
    assert_same(setup, Mlp([torch.tanh] * 3, along_units), model, batch)


def test_changes_of_shape_after_the_activation_are_kept() -> None:
    model = Mlp([torch.tanh] * 3, lambda x: torch.sigmoid(x.unsqueeze(-1)).squeeze(-1)[:, :3])
    setup, batch = remedied(model, flat(), "output(linear)")
    assert_same(setup, Mlp([torch.tanh] * 3), model, batch)


def test_hidden_activations_and_other_remedies_stay() -> None:
    model = Mlp([torch.sigmoid] * 3, torch.sigmoid)
    setup, batch = remedied(model, flat(), "output(linear)+relu")
    assert setup.changes == ["output: sigmoid -> linear", "sigmoid -> relu in 3 places"]
    assert_same(setup, Mlp([torch.relu] * 3), model, batch)


def test_the_users_model_and_what_runs_outside_of_a_pass_are_left_alone() -> None:
    model = Mlp([torch.sigmoid] * 3, torch.sigmoid)
    remedied(model, flat(), "output(linear)")
    assert not model._forward_hooks
    assert bool((model(flat()) <= 1).all())


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss])
@pytest.mark.parametrize("size", [1e-3, 50.0])
def test_rescaling_equals_standardised_targets(loss: Any, size: float) -> None:
    """Same gradients as for standardised targets; same loss as in the unit of the targets."""
    x = flat(64)
    y = (x @ torch.randn(6, 1, generator=torch.Generator().manual_seed(0))) * size + 7 * size
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    case = Case(model, (x, y), loss, batch_size=64)
    setup, batch = applied(case, "rescale-output")
    mean, deviation = y.mean(), y.std(correction=0)
    order = torch.tensor([int((x == row).all(1).nonzero()) for row in batch[0]])
    out = model(x[order])
    torch.testing.assert_close(setup.forward(batch), loss(out * deviation + mean, y[order]), rtol=1e-4, atol=0)
    setup.forward(batch).backward()
    loss(out, (y[order] - mean) / deviation).backward()
    for ours, by_hand in zip(setup.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, by_hand.grad, rtol=1e-3, atol=1e-6)


def applied(case: Case, remedy: str) -> tuple[Any, Any]:
    batches = tuple(islice(case.stream(0), 1))
    setup = case.fresh(0)
    parse(remedy).apply(setup, Anatomy(record(case.fresh(0), batches[0]), batches))
    return setup, batches[0]


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_shapes_are_matched() -> None:
    x = flat(32)
    for target, end in [(x[:, 0], []), (x[:, :1], [nn.Flatten(0)])]:
        case = Case(lambda end=end: nn.Sequential(nn.Linear(6, 1), *end), (x, target), F.mse_loss, batch_size=32)
        setup, (inputs, targets) = applied(case, "match-shape")
        expected = F.mse_loss(setup.model[0](inputs).flatten(), targets.flatten())
        torch.testing.assert_close(setup.forward((inputs, targets)), expected)


POINTS = torch.randn(512, 6, generator=torch.Generator().manual_seed(3))
BITS = (POINTS[:, :1] > 0).float()


def one_output(*end: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1), *end)


def fast(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.3)


CURED: dict[str, Case] = {
    "output(sigmoid)": Case(one_output(nn.Softmax(1)), (POINTS, BITS), F.binary_cross_entropy),
    "output(linear)": Case(one_output(nn.Sigmoid()), (POINTS, 50 + 5 * BITS), F.mse_loss, optimizer=fast),
    "rescale-output": Case(one_output(), (POINTS, 1000 + 10 * POINTS[:, :1]), F.mse_loss),
    "match-shape": Case(one_output(), (POINTS, POINTS[:, 0]), F.mse_loss),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("remedy", CURED)
def test_what_it_is_for(remedy: str) -> None:
    assert not observe(CURED[remedy], steps=120).learning.learns
    assert observe(CURED[remedy], steps=120, remedy=parse(remedy)).learning.learns


def test_says_why_it_does_not_apply() -> None:
    with pytest.raises(NotApplicable, match="linear already"):
        remedied(Mlp([torch.relu] * 3), flat(), "output(linear)")
    with pytest.raises(NotApplicable, match="not numbers of the same shape"):
        remedied(Mlp([torch.relu] * 3), flat(), "rescale-output")
    with pytest.raises(NotApplicable, match="same number of entries"):
        remedied(Mlp([torch.relu] * 3), flat(), "match-shape")
    with pytest.raises(NotApplicable, match="computes its own loss"):
        remedied(Mlp([torch.relu] * 3), flat(), "output(sigmoid)", loss=None, step=lambda m, b: m(b[0]).sum())


def test_a_word_that_is_no_function() -> None:
    with pytest.raises(RemedyError, match="output takes one of linear, sigmoid"):
        parse("output(tan)")
