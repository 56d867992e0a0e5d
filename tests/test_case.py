from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from unstick.case import Case, check_runs
from unstick.errors import CaseError
from unstick.observation import Observation
from unstick.observe import observe

X = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24) % 3


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def run(model: Any = net, data: Any = (X, Y), loss: Any = F.cross_entropy, **options: Any) -> Observation:
    steps = options.pop("steps", 2)
    return observe(Case(model, data, loss, **{"batch_size": 8, **options}), steps=steps)


# -- what is accepted --------------------------------------------------------------------------------------------------


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.a(left) + torch.tanh(self.b(right))


class OwnLoss(TwoInputs):
    """Gives back an object with a loss, as Hugging Face models do."""

    def forward(self, left: Tensor, right: Tensor, labels: Tensor) -> Any:
        logits = super().forward(left, right)
        return SimpleNamespace(loss=F.cross_entropy(logits, labels), logits=logits)


def batches() -> Iterator[Any]:
    for k in range(3):
        yield X[8 * k : 8 * k + 8], Y[8 * k : 8 * k + 8]


def own_step(model: nn.Module, batch: Any) -> Tensor:
    return (model(batch) - batch.mean()).square().mean()


ACCEPTED: dict[str, Callable[[], Observation]] = {
    "pair": run,
    "pair as a list": lambda: run(data=[X, Y]),
    "loader": lambda: run(data=DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True)),
    "loader with workers": lambda: run(data=DataLoader(TensorDataset(X, Y), batch_size=8, num_workers=2)),
    "loader that keeps its workers": lambda: run(
        data=DataLoader(TensorDataset(X, Y), batch_size=8, num_workers=1, persistent_workers=True)
    ),
    "list of batches": lambda: run(data=list(batches())),
    "two batches": lambda: run(data=list(batches())[:2]),
    "generator function": lambda: run(data=batches),
    "function of a loader": lambda: run(data=lambda: DataLoader(TensorDataset(X, Y), batch_size=8)),
    "tuple of inputs": lambda: run(TwoInputs, ((X, X), Y)),
    "dict of inputs": lambda: run(TwoInputs, ({"left": X, "right": X}, Y)),
    "long batches": lambda: run(TwoInputs, [(X, X, Y)]),
    "dict batches": lambda: run(TwoInputs, [{"left": X, "right": X, "labels": Y}]),
    "loss of the model": lambda: run(OwnLoss, [{"left": X, "right": X, "labels": Y}], None),
    "step": lambda: run(data=[X], loss=None, step=own_step),
    "loss of one element": lambda: run(loss=lambda out, y: F.cross_entropy(out, y).reshape(1), steps=5),
    "module as loss": lambda: run(loss=nn.CrossEntropyLoss()),
    "module": lambda: run(net()),
    "class": lambda: run(TwoInputs, ((X, X), Y)),
    "lazy": lambda: run(lambda: nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.LazyLinear(3))),
    "bigger batch than data": lambda: run(batch_size=1000),
    "lbfgs": lambda: run(optimizer=torch.optim.LBFGS),
}


@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_accepts(name: str) -> None:
    seen = ACCEPTED[name]()
    assert seen.diverged is None
    assert all(p.step > 0 for p in seen.traces[0].parameters)


def live(optimizer: Callable[..., torch.optim.Optimizer], steps: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model that has been trained a little, so that its optimizer remembers something."""
    model = net()
    made = optimizer(model.parameters())

    def closure() -> Tensor:
        made.zero_grad()
        loss = F.cross_entropy(model(X), Y)
        loss.backward()
        return loss

    for _ in range(steps):
        made.step(closure)
    return model, made


@pytest.mark.parametrize("kind", [torch.optim.Adam, partial(torch.optim.LBFGS, max_iter=2), torch.optim.Adagrad])
def test_a_live_optimizer_goes_on_from_what_it_remembers(kind: Any) -> None:
    model, optimizer = live(kind)
    torch.optim.lr_scheduler.StepLR(optimizer, 1)  # wraps optimizer.step
    seen = observe(Case(model, (X, Y), F.cross_entropy, optimizer=optimizer, batch_size=24), steps=1)
    # The same step, by hand, on the user's own objects. Batches hold the same samples in another order.
    before = [p.detach().clone() for p in model.parameters()]

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(X), Y)
        loss.backward()
        return loss

    optimizer.step(closure)
    moved = [(p - b).norm().item() for p, b in zip(model.parameters(), before, strict=True)]
    assert [p.step for p in seen.traces[0].parameters] == pytest.approx(moved, rel=1e-3)


def test_a_factory_that_returns_the_same_module_each_time_does_not_get_it_trained() -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    case = Case(lambda: model, (X, Y), F.cross_entropy)
    observe(case, steps=2)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert case.fresh(0).model is not model


def test_a_factory_of_models_that_cannot_be_copied() -> None:
    class Locked(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3)
            self.lock = threading.Lock()

    case = Case(Locked, (X, Y), F.cross_entropy)
    one, two = case.fresh(0).model, case.fresh(0).model
    assert one is not two
    assert torch.equal(one.weight, two.weight)
    kept = Locked()
    with pytest.raises(CaseError, match="build the model inside the function"):
        Case(lambda: kept, (X, Y), F.cross_entropy).fresh(0)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
def test_a_scripted_module_is_copied_with_parameters_that_can_be_trained() -> None:
    setup = Case(lambda: torch.jit.script(net()), (X, Y), F.cross_entropy).fresh(0)
    assert all(p.is_leaf and p.requires_grad for p in setup.model.parameters())


def test_the_loss_may_have_parameters_and_keeps_them() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
            self.calls += 1
            return self.scale * F.cross_entropy(outputs, targets)

    loss = Scaled()
    run(loss=loss, steps=3)
    assert loss.scale.grad is None
    assert loss.calls == 0


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    case = Case(net, (X, Y), F.cross_entropy)
    one, same, other = (case.fresh(seed).model[0].weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_submodules_in_eval_mode_stay_so() -> None:
    model = net()
    model[1].eval()
    setup = Case(model, (X, Y), F.cross_entropy).fresh(0)
    assert [m.training for m in setup.model] == [True, False, True]


def test_the_dry_run_leaves_no_trace_on_the_copy() -> None:
    def normed() -> nn.Module:
        return nn.Sequential(
            nn.Linear(4, 5), nn.BatchNorm1d(5), nn.utils.parametrizations.spectral_norm(nn.Linear(5, 3))
        )

    setup = Case(normed, (X, Y), F.cross_entropy).fresh(0)
    before = copy.deepcopy(setup.model.state_dict())
    check_runs(setup, (X, Y))
    torch.testing.assert_close(setup.model.state_dict(), before, rtol=0, atol=0)
    assert all(p.grad is None for p in setup.model.parameters())


def test_a_loss_that_refuses_what_a_diverged_network_gives_counts_as_nan() -> None:
    """Binary cross-entropy raises where its input is NaN; that is divergence, not a fault of the case."""
    targets = torch.rand(24, 1)
    seen = run(
        lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid()),
        (X, targets),
        lambda p, y: F.binary_cross_entropy(p * p.new_tensor(1.0), y),
        optimizer=lambda ps: torch.optim.SGD(ps, lr=float("inf")),
        metric=lambda p, y: float(np.asarray(p).mean()),
        steps=4,
    )
    assert seen.diverged == 1
    assert seen.metric is None
    assert not seen.learning.learns


# -- what is not -------------------------------------------------------------------------------------------------------


def failing(*_: Any) -> Any:
    raise RuntimeError("first line\nsecond line")


def needs(width: int) -> nn.Module:
    return nn.Linear(4, width)


def frozen() -> nn.Module:
    return net().requires_grad_(False)


def nan_later() -> Iterator[Any]:
    for k in range(40):
        yield torch.full_like(X, float("nan")) if k == 20 else X, Y


class Once:
    """Can be read once, whoever asks."""

    def __init__(self) -> None:
        self.source = iter([(X, Y)] * 20)

    def __call__(self) -> Iterator[Any]:
        return self.source


class Detached(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


class Overwrites(nn.Linear):
    """Changes what its own backward pass needs."""

    def forward(self, x: Tensor) -> Tensor:
        h = super().forward(x).sigmoid()
        return h.mul(1.0) + h.zero_()


other = net()
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "model is a number": (lambda: run(3), "model must be an nn.Module or a function that returns one, not a int"),
    "model needs arguments": (lambda: run(needs), "needs arguments (width)"),
    "model returns nothing": (lambda: run(lambda: None), "returned None, not an nn.Module"),
    "model raises": (lambda: run(failing), "failed: RuntimeError: first line second line (tests/test_case.py:"),
    "model is empty": (lambda: run(nn.Tanh, loss=lambda o, y: o.sum()), "no parameters"),
    "model cannot be copied": (
        lambda: run(setattr(m := net(), "lock", threading.Lock()) or m),  # type: ignore[func-returns-value]
        "give a function that builds it",
    ),
    "loss and step": (lambda: run(step=own_step), "loss= or step=, not both"),
    "loss is a class": (lambda: run(loss=nn.CrossEntropyLoss), "give an instance of it, CrossEntropyLoss()"),
    "loss is text": (lambda: run(loss="mse"), "loss must be a function, not a str"),
    "metric is text": (lambda: run(metric="accuracy"), "metric must be a function"),
    "metric fails": (lambda: run(metric=failing), "the metric failed: RuntimeError: first line second line"),
    "batch size 0": (lambda: run(batch_size=0), "batch_size must be a whole number of at least 1, not 0"),
    "no loss at all": (lambda: run(loss=None), "neither loss= nor step="),
    "empty X": (lambda: run(data=(X[:0], Y[:0])), "X is empty"),
    "NaN in X": (lambda: run(data=(X * float("nan"), Y)), "X holds 96 values that are NaN or infinite"),
    "infinity in y": (lambda: run(data=(X, X / 0)), "y holds 96 values that are NaN or infinite"),
    "NaN in a later batch": (lambda: run(data=nan_later, steps=30), "batch 20 of the data holds NaN"),
    "lengths differ": (lambda: run(data=(X, Y[:-1])), "X has 24 samples and y has 23"),
    "X is one number": (lambda: run(data=(X.sum(), Y)), "X is a single number"),
    "arrays": (lambda: run(data=(X.numpy(), Y.numpy())), "not ndarray and ndarray: convert with torch.as_tensor"),
    "array and tensor": (lambda: run(data=(X.numpy(), Y)), "convert with torch.as_tensor"),
    "array among tensors": (lambda: run(TwoInputs, ((X, X.numpy()), Y)), "X must hold tensors, not ndarray"),
    "array in a dict": (
        lambda: run(TwoInputs, ({"left": X, "right": X.numpy()}, Y)),
        "X must hold tensors, not ndarray",
    ),
    "iterator": (lambda: run(data=batches()), "iterator, which can be read only once"),
    "function of one iterator": (lambda: run(data=Once(), steps=30), "it must be possible to read it again"),
    "function of a pair": (lambda: run(data=lambda: (X, Y)), "returned (X, y): give these themselves"),
    "function that raises": (lambda: run(data=failing), "the data could not be read: RuntimeError: first line second"),
    "one tensor": (lambda: run(data=X), "data is one tensor"),
    "a number": (lambda: run(data=3), "not a int"),
    "a data set": (lambda: run(data=TensorDataset(X, Y)), "a DataLoader or a function"),
    "empty list": (lambda: run(data=[]), "the data is empty"),
    "batches of one tensor": (lambda: run(data=[X]), "not one tensor of shape (24, 4)"),
    "dict without target": (lambda: run(data=[{"left": X, "right": X}]), "one of labels, label, targets, target, y"),
    "wrong width": (lambda: run(data=(X[:, :3], Y)), "the model failed on a batch of (8, 3) float32, (8,) int64"),
    "wrong dtype": (lambda: run(data=(X.double(), Y)), "(8, 4) float64"),
    "model raises when called": (
        lambda: run(type("Bad", (nn.Linear,), {"forward": failing})(4, 3)),
        "the model failed on a batch of (8, 4) float32, (8,) int64: RuntimeError: first line second line (tests/",
    ),
    "wrong target": (lambda: run(data=(X, Y + 10)), "the loss failed on outputs (8, 3) float32 and targets (8,) int64"),
    "wrong target shape": (lambda: run(data=(X, X)), "the loss failed on outputs (8, 3) float32 and targets (8, 4)"),
    "loss is not reduced": (lambda: run(loss=lambda o, y: o), "not a tensor of shape (8, 3): take its .mean()"),
    "loss is a number": (lambda: run(loss=lambda o, y: F.cross_entropy(o, y).item()), "without .item()"),
    "loss is an int tensor": (
        lambda: run(loss=lambda o, y: o.argmax(1).sum()),
        "floating-point tensor, not torch.int64",
    ),
    "loss is detached": (lambda: run(lambda: Detached(4, 3)), "not differentiable"),
    "everything is frozen": (lambda: run(frozen), "every parameter of the model is frozen"),
    "backward fails": (lambda: run(lambda: Overwrites(4, 3)), "the backward pass failed: RuntimeError: one of the"),
    "step raises": (lambda: run(loss=None, step=failing), "the training step failed on a batch of (8, 4) float32"),
    "optimizer is text": (lambda: run(optimizer="adam"), "optimizer must be a function of the parameters, not a str"),
    "optimizer returns nothing": (lambda: run(optimizer=lambda ps: None), "returned None, not a torch.optim.Optimizer"),
    "optimizer raises": (lambda: run(optimizer=failing), "the function given as optimizer failed: RuntimeError"),
    "optimizer of another model": (
        lambda: run(optimizer=lambda ps: torch.optim.SGD(other.parameters(), lr=1)),
        "holds parameters that it was not given",
    ),
    "live optimizer of another model": (
        lambda: run(net(), optimizer=torch.optim.SGD(other.parameters(), lr=1)),
        "holds none of the model's parameters",
    ),
    "live optimizer and a factory": (
        lambda: run(optimizer=torch.optim.SGD(other.parameters(), lr=1)),
        "needs its own model object",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_in_one_clear_line(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(CaseError) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_that_fails_in_the_middle_of_the_run_is_told_in_one_line() -> None:
    def later(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    ragged = [(X[:8], Y[:8])] * 40 + [(X[:8, :3], Y[:8])]
    with pytest.raises(CaseError, match=r"the training step failed on a batch of \(8, 3\) float32"):
        run(data=ragged, loss=None, step=later, steps=60)


def test_ctrl_c_is_no_fault_of_the_case() -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(loss=interrupted)


def test_titles() -> None:
    assert Case(net, (X, Y)).title == "net"
    assert Case(lambda: net(), (X, Y)).title == "case"
    assert Case(net(), (X, Y)).title == "Sequential"
    assert Case(net, (X, Y), name="mine").title == "mine"


def test_building_a_model_draws_from_the_seed_alone() -> None:
    def drawing() -> nn.Module:
        model = net()
        with torch.no_grad():
            model[0].weight.fill_(random.random() + np.random.rand())
        return model

    case = Case(drawing, (X, Y), F.cross_entropy)
    assert case.fresh(3).model[0].weight[0, 0] == case.fresh(3).model[0].weight[0, 0]
