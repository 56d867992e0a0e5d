from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from unstick.case import Case
from unstick.constant import constant_losses
from unstick.learning import PASSES, Examiner, buffers_kept
from unstick.observation import Learning
from unstick.observe import observe
from unstick.state import preserved

Pairs = list[tuple[Tensor, Tensor]]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pairs(outputs: Tensor, targets: Tensor, batches: int = 4) -> Pairs:
    return list(zip(outputs.chunk(batches), targets.chunk(batches), strict=True))


def best(outputs: Tensor, targets: Tensor, loss: Any) -> float:
    found = constant_losses(pairs(outputs, targets), loss)
    assert found is not None
    return sum(found) / len(found)


def entropy(shares: Tensor) -> float:
    return -sum(p * math.log(p) for p in shares.tolist() if p > 0)


LABELS = torch.tensor([0, 0, 0, 1, 1, 2] * 8)
SHARES = torch.tensor([3, 2, 1]).double() / 6
BITS = (torch.arange(48) % 3 == 0).float()  # a third are ones
VALUES = random(48, 2, seed=1) * 5 + 100


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e15, 1e30])
def test_equals_the_closed_form_however_large_the_outputs_are(scale: float) -> None:
    logits = random(48, 3) * scale
    assert best(logits, LABELS, F.cross_entropy) == pytest.approx(entropy(SHARES), rel=1e-5)
    assert best(logits.log_softmax(1), LABELS, F.nll_loss) == pytest.approx(entropy(SHARES), rel=1e-4)
    assert best(logits.softmax(1), LABELS, lambda p, y: F.nll_loss(p.clamp(min=1e-9).log(), y)) == pytest.approx(
        entropy(SHARES), rel=1e-4
    )
    assert best(random(48, 2) * scale, VALUES, F.mse_loss) == pytest.approx(
        VALUES.var(0, correction=0).mean().item(), rel=1e-5
    )
    assert best(random(48, 2) * scale, VALUES, F.l1_loss) == pytest.approx(
        (VALUES - VALUES.median(0).values).abs().mean().item(), rel=1e-4
    )
    by_chance = entropy(torch.tensor([1 / 3, 2 / 3]))
    assert best(random(48) * scale, BITS, F.binary_cross_entropy_with_logits) == pytest.approx(by_chance, rel=1e-5)
    assert best((random(48) * scale).sigmoid(), BITS, F.binary_cross_entropy) == pytest.approx(by_chance, rel=1e-5)


def test_shapes_with_more_than_two_axes() -> None:
    labels = LABELS[:, None].expand(48, 5)
    expected = pytest.approx(entropy(SHARES), rel=1e-4)
    assert best(random(48, 3, 5), labels, F.cross_entropy) == expected
    assert best(random(48, 5, 3), labels, lambda o, y: F.cross_entropy(o.view(-1, 3), y.reshape(-1))) == expected
    assert best(random(48, 3, 2, 5), labels[:, None].expand(48, 2, 5), F.cross_entropy) == expected
    probabilities = random(48, 3, 5).softmax(1)
    assert best(probabilities, labels, lambda p, y: F.nll_loss(p.log(), y)) == expected


def test_batches_of_different_lengths() -> None:
    ragged = [(random(6, 3 + k, 3, seed=k), LABELS[6 * k : 6 * k + 6, None].expand(6, 3 + k)) for k in range(4)]
    found = constant_losses(ragged, lambda o, y: F.cross_entropy(o.transpose(1, 2), y))
    assert found is not None
    assert sum(found) / 4 == pytest.approx(entropy(SHARES), rel=1e-4)


def test_a_loss_that_is_not_a_mean_over_samples() -> None:
    """All batches in one call would mean something else here."""

    def summed(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, y, reduction="sum") ** 2

    assert best(random(48, 3), LABELS, summed) == pytest.approx((12 * entropy(SHARES)) ** 2, rel=1e-3)


@given(classes=st.integers(2, 5), seed=st.integers(0, 50), scale=st.sampled_from([0.1, 1.0, 1e3]))
@settings(max_examples=20, derandomize=True)
def test_is_never_above_a_brute_force_search(classes: int, seed: int, scale: float) -> None:
    targets = random(24, classes, seed=seed) * scale
    outputs = random(24, classes, seed=seed + 1)
    for loss in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss):
        found = best(outputs, targets, loss)
        tried = random(200, classes, seed=seed + 2) * scale
        brute = min(
            sum(loss(c.expand_as(o), t).item() for o, t in pairs(outputs, targets)) / 4 for c in (*tried, *targets)
        )
        assert found <= brute * (1 + 1e-4)


def test_says_nothing_of_outputs_that_are_no_tensors_or_not_finite() -> None:
    assert constant_losses([({"a": random(3, 2)}, LABELS[:3])], F.cross_entropy) is None
    assert constant_losses([(random(3, 2) / 0, LABELS[:3])], F.cross_entropy) is None
    assert constant_losses([(random(3, 2).sum(), LABELS[:3])], lambda o, y: o) is None

    def raises(*_: Any) -> Tensor:
        raise RuntimeError

    assert constant_losses([(random(3, 2), LABELS[:3])], raises) is None


# -- the network -------------------------------------------------------------------------------------------------------

X = random(64, 6, seed=3)
CLASSES = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()


def judged(case: Case, prepare: Callable[[nn.Module], None] = lambda model: None) -> Learning:
    """What is said of a network that is only changed by `prepare`."""
    with preserved():
        setup = case.fresh(0)
        examiner = Examiner(setup, list(islice(case.stream(1), 16)), None)
        prepare(setup.model)
        return examiner.conclude(0)[0]


def net(dropout: float = 0.0) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 3))


def converge(model: nn.Module) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(X), CLASSES).backward()
        optimizer.step()


def deafen(model: nn.Module) -> None:
    nn.init.zeros_(model[0].weight)


def by_step(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


CASES = {
    "loss": Case(net, (X, CLASSES), F.cross_entropy, batch_size=16),
    "dropout": Case(lambda: net(0.5), (X, CLASSES), F.cross_entropy, batch_size=16),
    "step": Case(net, (X, CLASSES), step=by_step, batch_size=16),
    "step with dropout": Case(lambda: net(0.5), (X, CLASSES), step=by_step, batch_size=16),
}


@pytest.mark.parametrize("name", CASES)
def test_tells_whether_the_input_is_used(name: str) -> None:
    trained = judged(CASES[name], converge)
    assert trained.uses_input is True
    assert trained.learns
    deaf = judged(CASES[name], deafen)
    assert deaf.uses_input is False
    assert not deaf.learns


def test_a_network_that_has_converged_already_learns() -> None:
    model = net()
    converge(model)
    for case in (
        Case(model, (X, CLASSES), F.cross_entropy, batch_size=16),
        Case(model, (X, CLASSES), step=by_step, batch_size=16),
    ):
        assert observe(case, steps=3).learning.learns


def test_a_constant_that_was_learned_is_not_learning() -> None:
    """A bias that meets the class frequencies is as good as a constant gets, and no better."""
    found = judged(Case(net, (X, UNEVEN), F.cross_entropy, batch_size=16), know_the_frequencies)
    assert not found.learns
    assert found.final_loss < found.initial_loss
    assert found.constant_loss == pytest.approx(found.final_loss, rel=0.02)


def test_does_not_judge_the_use_of_the_input_where_shuffling_cannot_tell() -> None:
    same_target = Case(net, (X, CLASSES * 0), F.cross_entropy, batch_size=16)
    single = Case(net, (X, CLASSES), F.cross_entropy, batch_size=1)
    blind = Case(net, (X, CLASSES), lambda out, y: out.square().mean(), batch_size=16)
    no_target = Case(net, [X], step=lambda model, x: model(x).square().mean())
    autoencoder = Case(net, (X, CLASSES), step=lambda model, batch: model(batch[0]).square().mean(), batch_size=16)
    noisy = Case(lambda: net(0.5), (X, CLASSES), step=autoencoder.step, batch_size=16)
    for case in (same_target, single, blind, no_target, autoencoder, noisy):
        assert judged(case).uses_input is None


class Own(nn.Module):
    """Computes its own loss, as Transformers' models do."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = net()
        self.passes = 0

    def forward(self, x: Tensor, labels: Tensor) -> Any:
        self.passes += 1
        return SimpleNamespace(loss=F.cross_entropy(self.layers(x), labels))


UNEVEN = torch.where(torch.arange(64) % 8 == 0, 1, 0)


def know_the_frequencies(layers: nn.Module) -> None:
    nn.init.zeros_(layers[-1].weight)
    layers[-1].bias.data = torch.tensor([7 / 8, 1 / 8, 1e-9]).log()


def know_nearly_the_frequencies(layers: nn.Module) -> None:
    """And put out something else for each sample, which has nothing to do with the targets."""
    know_the_frequencies(layers)
    layers[-1].weight.data = 0.1 * random(3, 16, seed=7)


def batches_of(x: Tensor, y: Tensor) -> list[dict[str, Tensor]]:
    return [{"x": x[k::4], "labels": y[k::4]} for k in range(4)]


@pytest.mark.parametrize("prepare", [know_the_frequencies, know_nearly_the_frequencies])
def test_frequencies_are_not_learning_where_the_model_computes_its_loss(prepare: Callable[[nn.Module], None]) -> None:
    found = judged(Case(Own, batches_of(random(64, 6, seed=5), UNEVEN)), lambda model: prepare(model.layers))
    assert found.below[0] > 0.01 * found.initial_loss  # much better than before
    assert found.constant_loss is None
    assert found.uses_input is False
    assert not found.learns


def test_a_model_that_computes_its_loss_and_learns() -> None:
    found = judged(Case(Own, batches_of(X, CLASSES)), lambda model: converge(model.layers))
    assert found.uses_input is True
    assert found.learns


def test_frequencies_are_not_learning_where_outputs_are_no_tensors() -> None:
    case = Case(Named, (X, UNEVEN), lambda out, y: F.cross_entropy(out["logits"], y), batch_size=16)
    found = judged(case, lambda model: know_the_frequencies(model[0]))
    assert found.constant_loss is None
    assert found.uses_input is False
    assert not found.learns


class Named(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(net())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": super().forward(x)}


def test_what_a_step_takes_from_a_tuple_need_not_be_a_target() -> None:
    """Noise that is added to the data and has to be found again: any noise will do, so shuffling it does no harm."""
    noise = random(64, 6, seed=9)
    case = Case(
        lambda: nn.Linear(6, 6),
        (X * 0.1, noise),
        step=lambda model, batch: F.mse_loss(model(batch[0] + batch[1]), batch[1]),
        batch_size=16,
    )
    found = judged(case, lambda model: nn.init.eye_(model.weight))
    assert found.uses_input is False
    assert found.learns


def test_shuffling_costs_few_forward_passes() -> None:
    counted: list[nn.Module] = []
    judged(Case(Own, batches_of(X, CLASSES)), counted.append)
    assert counted[0].passes <= 16 * (1 + 1 + PASSES + 2)  # before, after, shuffled, and whether targets matter at all


@given(seed=st.integers(0, 10_000))
@settings(max_examples=50, derandomize=True)
def test_targets_that_have_nothing_to_do_with_the_input_are_not_found_in_it(seed: int) -> None:
    """Fifty networks and data sets at 4 in 10,000 each."""
    found = judged(Case(Own, batches_of(random(64, 6, seed=seed), random(64, seed=seed + 1).gt(0).long())))
    assert found.uses_input is False


def test_a_dead_network_does_not_use_its_input() -> None:
    """All losses are the same to the last bit; that is no proof of anything else."""

    def dead(model: nn.Module) -> None:
        for p in model.parameters():
            nn.init.zeros_(p)

    assert judged(CASES["loss"], dead).uses_input is False


def test_a_diverged_network() -> None:
    def explode(model: nn.Module) -> None:
        nn.init.constant_(model[-1].weight, float("nan"))

    found = judged(CASES["loss"], explode)
    assert not found.learns
    assert found.uses_input is None

    def huge(model: nn.Module) -> None:
        model[-1].weight.data *= 1e15

    found = judged(CASES["loss"], huge)
    assert found.constant_loss is not None
    assert found.constant_loss < math.log(3)
    assert not found.learns


def test_a_metric_with_a_state_keeps_it() -> None:
    class Accuracy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, out: Tensor, y: Tensor) -> Tensor:
            self.seen += len(y)
            return (out.argmax(1) == y).float().mean()

    metric = Accuracy()
    seen = observe(Case(net, (X, CLASSES), F.cross_entropy, metric=metric, batch_size=16), steps=1)
    assert metric.seen == 0
    assert seen.metric is not None
    assert 0 <= seen.metric <= 1


def test_buffers_are_put_back_even_where_they_are_replaced() -> None:
    class Counting(nn.BatchNorm1d):
        def __init__(self) -> None:
            super().__init__(6)
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("mask", torch.ones(1).expand(6))

        def forward(self, x: Tensor) -> Tensor:
            self.calls = self.calls + 1
            return super().forward(x) * self.mask

    model = Counting()
    held = model.calls
    with buffers_kept(model):
        model(X)
        assert model.calls == 1
    assert model.calls is held
    assert model.running_mean.abs().sum() == 0
    assert model.num_batches_tracked == 0
