"""Where a recorded step falls apart into the model and the loss, and the case that it amounts to."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from script import loops
from script.loops import BATCH, CLASSES, FEATURES, fit, mlp
from script.test_tape import first, watched
from unstick.batches import split
from unstick.script.extract import Cut, Recorded, batch_of, replaying

CLASS_WEIGHTS = torch.tensor([1.0, 2.0, 0.5])


def cut_of(loop: loops.Loop) -> tuple[Recorded, Cut | None]:
    _, recorded = first(loop)
    return recorded, Cut.of(recorded.program, recorded.leaves)


def with_loss(loss: loops.Loss) -> loops.Loop:
    return lambda: fit(mlp(nn.Tanh()), loss)


@pytest.mark.parametrize(
    "loss",
    [
        lambda m, x, y: F.cross_entropy(m(x), y),
        lambda m, x, y: F.cross_entropy(m(x), y, weight=CLASS_WEIGHTS),
        lambda m, x, y: F.nll_loss(F.log_softmax(m(x), 1), y),
        lambda m, x, y: nn.CrossEntropyLoss(CLASS_WEIGHTS)(m(x), y),
        lambda m, x, y: nn.CrossEntropyLoss()(input=m(x), target=y),
        lambda m, x, y: F.cross_entropy(m(x) / torch.tensor(2.0), y),
    ],
)
def test_the_target_is_what_only_the_loss_reads(loss: loops.Loss) -> None:
    recorded, cut = cut_of(with_loss(loss))
    assert cut is not None
    assert recorded.leaves[cut.target].dtype == torch.long
    assert recorded.leaves[cut.target].shape == (BATCH,)
    inputs, target = batch_of(recorded, cut)
    assert inputs.shape == (BATCH, FEATURES)
    parts = replaying(recorded, cut)
    model = first(with_loss(loss))[0].twin.initial
    out, given = parts["predict"](model, (inputs, target))
    assert out.shape == (BATCH, CLASSES)
    assert parts["criterion"](out, given).item() == pytest.approx(recorded.loss, rel=1e-6)
    other = parts["criterion"](out, given.roll(1)).item()
    assert other != pytest.approx(recorded.loss, rel=1e-6)


def test_the_target_of_an_autoencoder_is_its_input() -> None:
    recorded, cut = cut_of(loops.autoencoder)
    assert cut is not None
    assert recorded.leaves[cut.target] is recorded.leaves[cut.inputs[0]]


def penalty(m: Any, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(m(x), y) + 1e-3 * m[0].weight.norm()


def weighted_samples(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return (F.cross_entropy(m(x), y, reduction="none") * torch.rand(len(y))).mean()


@pytest.mark.parametrize("loop", [
    with_loss(penalty), loops.gradient_penalty, loops.own_loss, loops.siamese, with_loss(weighted_samples),
    with_loss(lambda m, x, y: m(x).square().mean()),
], ids=["penalty", "gradient penalty", "own loss", "two passes", "two targets", "no target"])  # fmt: skip
def test_what_does_not_fall_apart(loop: loops.Loop) -> None:
    """Then the whole step is one function of the model and the batch."""
    strand, recorded = first(loop)
    assert Cut.of(recorded.program, recorded.leaves) is None
    parts = replaying(recorded, None)
    batch = batch_of(recorded, None)
    assert parts["predict"] is None
    assert len(batch) == len(recorded.leaves)
    assert parts["loss"](strand.twin.initial, batch).item() == pytest.approx(recorded.loss, rel=1e-6)


def test_an_auxiliary_loss_of_the_same_pass() -> None:
    _, cut = cut_of(loops.gives_a_namedtuple)
    assert cut is not None
    assert len(cut.outputs) == 2


def test_batches_of_a_model_with_its_own_loss_have_the_names_of_its_arguments() -> None:
    recorded, _ = cut_of(loops.own_loss)
    batch = batch_of(recorded, None)
    assert list(batch) == ["inputs", "labels"]
    assert split(batch)[2] is recorded.leaves[1]


def test_two_inputs_of_one_name_are_both_kept() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(nn.Tanh())

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    strand, recorded = first(
        lambda: fit(Net(), lambda m, x, y: (m(x=x) - m(x=x.flip(0))).square().mean() + m(x=x).mean())
    )
    batch = batch_of(recorded, None)
    assert len(batch) == 2
    again = replaying(recorded, None)["loss"](strand.twin.initial, batch)
    assert again.item() == pytest.approx(recorded.loss, rel=1e-6)


def test_several_inputs() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(nn.Tanh())

        def forward(self, x: Tensor, mask: Tensor, *, scale: Tensor) -> Tensor:
            return self.net(x * mask) * scale

    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(m(x, x > 0, scale=torch.tensor(2.0)), y)

    recorded, cut = cut_of(lambda: fit(Net(), loss))
    assert cut is not None
    *inputs, target = batch_of(recorded, cut)
    assert [tuple(t.shape) for t in inputs] == [(BATCH, FEATURES), (BATCH, FEATURES), ()]
    assert target.dtype == torch.long


def test_each_recorded_step_is_a_batch() -> None:
    strand = watched(loops.plain)[0]
    cut = Cut.of(strand.tapes[0].program, strand.tapes[0].leaves)
    targets = [batch_of(recorded, cut)[1] for recorded in strand.tapes]
    assert len(targets) == loops.STEPS
    assert not all(torch.equal(targets[0], t) for t in targets)
