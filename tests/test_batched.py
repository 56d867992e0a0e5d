"""Seeds observed together give the numbers that each gives alone, or are left alone."""

import math
import random
from dataclasses import replace

import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from cases import dense
from unstick import batched
from unstick.batched import observe_many
from unstick.case import Case
from unstick.errors import CaseError
from unstick.observation import Observation
from unstick.observe import Run, observe
from unstick.remedies import parse
from unstick.stacked import ELEMENTWISE, PIECE, Apart, Stack, check
from unstick.state import preserved, random_state
from unstick.trials.run import try_remedies

SEEDS = (3, 4, 5)
STEPS = 14  # untraced: 2, 4 to 9, 11 and 12
NAMES = sorted(optimizer.__name__ for optimizer in ELEMENTWISE)


@pytest.fixture(autouse=True)
def worth(monkeypatch):
    """Whether it is faster is another question."""
    monkeypatch.setattr(batched, "worth", lambda *_: True)


def data(samples: int = 96, inputs: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, inputs, generator=generator)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def net(depth: int = 3, activation=nn.Tanh, width: int = 8) -> nn.Sequential:
    return dense(depth, activation, width=width, inputs=6, outputs=3)


def case(model=net, optimizer=None, **options) -> Case:
    return Case(model, options.pop("data", data()), options.pop("loss", F.cross_entropy),
                optimizer=optimizer, batch_size=16, **options)  # fmt: skip


def alike(one: Observation, other: Observation, tolerance: float = 1e-4) -> None:
    """Losses, traces and conclusions."""
    assert (one.seed, one.requested, one.diverged, one.changes) == (
        other.seed, other.requested, other.diverged, other.changes,
    )  # fmt: skip
    assert one.losses == pytest.approx(other.losses, rel=tolerance, nan_ok=True)
    assert [trace.step for trace in one.traces] == [trace.step for trace in other.traces]
    for mine, its in zip(one.traces, other.traces, strict=True):
        assert [p.norm for p in mine.parameters] == pytest.approx(
            [p.norm for p in its.parameters], rel=tolerance, nan_ok=True
        )
        assert [p.step for p in mine.parameters] == pytest.approx(
            [p.step for p in its.parameters], rel=1e2 * tolerance, abs=1e-7, nan_ok=True
        )
    assert one.learning.learns == other.learning.learns
    assert one.learning.final_loss == pytest.approx(other.learning.final_loss, rel=tolerance, nan_ok=True)


def together(case: Case, remedy: str | None = None, seeds=SEEDS, **options) -> tuple[Observation, ...]:
    """They are, and each is as alone."""
    change = None if remedy is None else parse(remedy)
    seen = observe_many(case, seeds, remedy=change, steps=STEPS, **options)
    assert len(seen) == len(seeds)
    for seed, one in zip(seeds, seen, strict=True):
        alike(one, observe(case, seed=seed, remedy=change, steps=STEPS))
    return seen


def left_alone(case: Case, remedy: str | None = None) -> None:
    """The first seed comes back, with the very numbers of `observe`."""
    change = None if remedy is None else parse(remedy)
    (seen,) = observe_many(case, SEEDS, remedy=change, steps=STEPS)
    expected = observe(case, seed=SEEDS[0], remedy=change, steps=STEPS)
    assert repr(replace(seen, seconds=0.0)) == repr(replace(expected, seconds=0.0))


# -- the same numbers --------------------------------------------------------------------------------------------------


class Tied(nn.Module):
    """One layer used twice, a frozen one, a buffer, and a parameter without axes."""

    def __init__(self):
        super().__init__()
        self.into, self.layer, self.frozen, self.out = (
            nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3),
        )  # fmt: skip
        self.frozen.requires_grad_(False)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.register_buffer("shift", torch.rand(8))

    def forward(self, x):
        x = torch.relu(self.into(x)) + self.shift
        for _ in range(2):
            x = torch.sigmoid(self.layer(x)) * self.scale
        return self.out(self.frozen(x))


MODELS = {
    "linear": lambda: nn.Linear(6, 3),
    "sigmoid": lambda: net(5, nn.Sigmoid),
    "relu in place": lambda: net(2, lambda: nn.ReLU(inplace=True)),
    "tied": Tied,
    "layer norm": lambda: dense(3, nn.GELU, norm=nn.LayerNorm, width=8, inputs=6, outputs=3),
    "convolution": lambda: nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten(),
                                         nn.Linear(16, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_architectures(name):
    together(case(MODELS[name]))


@pytest.mark.parametrize("name", NAMES)
def test_optimizers(name):
    together(case(optimizer=lambda parameters: getattr(torch.optim, name)(parameters)))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-2),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5, maximize=True),
        lambda p: torch.optim.Adam(p, amsgrad=True, weight_decay=1e-2),
        lambda p: torch.optim.AdamW([{"params": p[:2], "lr": 1e-2}, {"params": p[2:], "weight_decay": 0.3}]),
        lambda p: torch.optim.RMSprop(p, centered=True, momentum=0.9),
        lambda p: torch.optim.Adam(p[1:], fused=True),
        lambda p: torch.optim.Adam(p, lr=torch.tensor(1e-2)),
    ],
)
def test_settings_of_optimizers(optimizer):
    together(case(optimizer=optimizer))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    depth=st.integers(0, 4),
    width=st.integers(1, 12),
    activation=st.sampled_from([nn.Tanh, nn.ReLU, nn.SiLU, nn.Sigmoid]),
    name=st.sampled_from(NAMES),
    size=st.integers(2, 40),
)
def test_one_step_of_a_stack_is_one_step_of_each(depth, width, activation, name, size):
    # Double precision, in which no chance of rounding is left.
    x, y = data()
    made = Case(lambda: dense(depth, activation, width=width, inputs=6, outputs=3).double(), (x.double(), y),
                F.cross_entropy, optimizer=lambda p: getattr(torch.optim, name)(p), batch_size=size)  # fmt: skip
    with preserved(threads=1):
        runs, alone = ([Run(made, None, seed, None) for seed in SEEDS] for _ in range(2))
        batches = [run.next_batch() for run in runs]
        for run, batch in zip((*runs, *alone), batches * 2, strict=True):
            run.traced_step(batch, 0)
        for _ in range(2):  # what is given back is taken up again
            stack = Stack(runs)
            for _ in range(2):
                stack.step(batches)
            stack.give_back()
        for run, batch in zip(alone, batches, strict=True):
            for _ in range(4):
                run.plain_step(batch)
    for run, other in zip(runs, alone, strict=True):
        for p, q in zip(run.parameters.values(), other.parameters.values(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12)


def test_an_optimizer_that_takes_several_pieces():
    wide = case(lambda: net(2, nn.Tanh, width=200))
    assert len(SEEDS) * 200 * 200 > PIECE
    together(wide)


@pytest.mark.parametrize(
    "remedy", ["relu", "rezero", "layernorm+relu", "init(he)", "residual", "sgd(lr=0.1, momentum=0.9)", "lr(x0.1)"]
)
def test_remedies(remedy):
    together(case(), remedy)


@pytest.mark.parametrize(
    "source",
    [
        lambda x, y: DataLoader(TensorDataset(x, y), batch_size=20, shuffle=True),  # the last batch is shorter
        lambda x, y: [(x[:32], y[:32]), (x[32:50], y[32:50])],
        lambda x, y: [{"input": x[:32], "labels": y[:32]}],
    ],
    ids=["loader", "list", "dictionary"],
)
def test_data(source):
    together(case(data=source(*data())))


def test_it_does_not_matter_who_else_is_trained():
    many = together(case(), seeds=range(6))
    few = together(case(), seeds=(2, 3))
    for one in few:
        alike(one, many[one.seed], tolerance=1e-6)


# -- one of them ends early --------------------------------------------------------------------------------------------


class Exploding(nn.Module):
    """Overflows after four steps of weight decay, with every other seed or so."""

    def __init__(self):
        super().__init__()
        self.layers = net(1)
        self.shrinking = nn.Parameter(torch.ones(()))
        self.register_buffer("size", torch.where(torch.rand(()) > 0.5, 1e38, 0.0))

    def forward(self, x):
        grown = self.size * (1 - self.shrinking.detach()) * 11.3  # 0, 0.1, 0.19, 0.27 and 0.34 of it
        return self.layers(x) + (grown - grown) + 0 * self.shrinking


@pytest.mark.parametrize(
    "loss",
    [
        F.cross_entropy,
        lambda out, y: F.binary_cross_entropy(out.sigmoid(), F.one_hot(y, 3).float()),  # refuses NaN
    ],
    ids=["cross-entropy", "binary cross-entropy"],
)
def test_a_run_that_diverges_leaves_the_others_alone(loss):
    seen = together(case(Exploding, lambda p: torch.optim.SGD(p, 0.1, weight_decay=1.0), loss=loss), seeds=range(5))
    ended = {len(one.losses) for one in seen if one.diverged is not None}
    assert ended
    assert max(ended) < STEPS
    assert any(one.diverged is None and len(one.losses) == STEPS for one in seen)


def test_the_budget_ends_them_all():
    seen = observe_many(case(), SEEDS, budget=0.0)
    assert len(seen) == len(SEEDS)
    assert all(len(one.losses) == 2 < one.requested for one in seen)
    assert all(math.isfinite(one.learning.final_loss) for one in seen)


def test_an_interrupt_is_raised(monkeypatch):
    calls = iter(range(100))

    def interrupt(*_):
        if next(calls) == 60:
            raise KeyboardInterrupt
        return F.cross_entropy(*_)

    state = random_state()
    with pytest.raises(KeyboardInterrupt):
        observe_many(case(loss=interrupt), SEEDS, steps=STEPS)
    assert torch.equal(state[2], torch.get_rng_state())


# -- left alone --------------------------------------------------------------------------------------------------------


class Counting(nn.Module):
    """Says something else each time."""

    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(6, 3), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x) / self.calls


class Moving(nn.Module):
    """Keeps a running mean."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return self.layer(x - self.mean)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        out = self.layer(x)
        return out * 2 if out.sum() > 0 else out


class Noisy(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.layer, self.draw = nn.Linear(6, 3), draw

    def forward(self, x):
        return self.layer(x) + self.draw(x)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.GRU(1, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.cell(x.unsqueeze(-1))[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.into, self.out = nn.Linear(1, 8), nn.Linear(48, 3)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, x):
        return self.out(self.block(self.into(x.unsqueeze(-1))).flatten(1))


class Mine(torch.optim.Adam):
    """A subclass may do anything."""


def scheduled(parameters):
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    optimizer.schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    return optimizer


ALONE = {
    "batch norm": case(lambda: dense(2, nn.Tanh, norm=nn.BatchNorm1d, width=8, inputs=6, outputs=3)),
    "dropout": case(lambda: nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.2), nn.Linear(8, 3))),
    "functional dropout": case(lambda: Noisy(lambda x: F.dropout(x[:, :3], 0.5))),
    "torch's noise": case(lambda: Noisy(lambda x: torch.randn(3))),
    "Python's noise": case(lambda: Noisy(lambda x: random.random())),
    "NumPy's noise": case(lambda: Noisy(lambda x: float(numpy.random.rand()))),
    "counting": case(Counting),
    "running mean": case(Moving),
    "control flow": case(Branching),
    "recurrent": case(Recurrent),
    "attention": case(Attention),  # torch has no rule for its fused kernel
    "weight norm": case(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))),  # the same
    "L-BFGS": case(optimizer=lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=2)),
    "subclass": case(optimizer=lambda p: Mine(p)),
    "scheduler": case(optimizer=scheduled),
    "step": Case(net, data(), step=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]), batch_size=16),
    "function as data": case(data=lambda: [data()]),
    "workers' loader": case(data=DataLoader(TensorDataset(*data()), generator=torch.Generator(), batch_size=16)),
}


@pytest.mark.parametrize("name", ALONE)
def test_left_alone(name):
    left_alone(ALONE[name])


@pytest.mark.parametrize("remedy", ["batchnorm", "clip(1.0)", "standardize"])
def test_remedies_that_are_left_alone(remedy):
    left_alone(case(), remedy)


def test_gradient_hooks_are_left_alone():
    def hooked():
        model = net()
        model[2].register_full_backward_hook(lambda module, inner, outer: None)
        return model

    left_alone(case(hooked))


def test_a_failure_is_raised_as_when_alone():
    def loss(out, y):
        raise RuntimeError("no")

    with pytest.raises(CaseError, match="no"):
        observe_many(case(loss=loss), SEEDS)


def test_check_tells_other_gradients():
    with preserved(threads=1):
        runs = [Run(case(), None, seed, None) for seed in SEEDS]
        check(runs)
        with torch.no_grad():
            runs[1].setup.model[0].register_forward_hook(lambda module, args, out: 1.01 * out)
        with pytest.raises(Apart):
            check(runs)


def test_nothing_of_the_users_is_changed():
    model, (x, y) = net(), data()
    optimizer = torch.optim.Adam(model.parameters())
    weights = [p.clone() for p in model.parameters()]
    copies = x.clone(), y.clone()
    torch.manual_seed(11)
    before = random_state()
    seen = observe_many(Case(model, (x, y), F.cross_entropy, optimizer=optimizer, batch_size=16), SEEDS, steps=STEPS)
    assert len(seen) == len(SEEDS)
    after = random_state()
    assert before[0] == after[0]
    assert torch.equal(before[2], after[2])
    assert all(torch.equal(p, w) and p.grad is None for p, w in zip(model.parameters(), weights, strict=True))
    assert torch.equal(x, copies[0])
    assert torch.equal(y, copies[1])
    assert not optimizer.state
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


# -- whether it is worth it --------------------------------------------------------------------------------------------


def worth_it(count: int, steps: int = 300, **shape) -> bool:
    with preserved(threads=1):
        return batched._gains(*_parts(case(lambda: net(**shape))), count, steps)


def _parts(made: Case):
    run = Run(made, None, 0, None)
    return run, [op for op in run.before.operations if op.kind == "weights"]


def test_many_small_layers_are_worth_it_and_large_ones_are_not():
    assert worth_it(8, depth=20, width=16)
    assert worth_it(8, depth=20, width=64)
    assert not worth_it(8, depth=5, width=1024)
    assert not worth_it(1, depth=20, width=16)
    assert not worth_it(8, steps=20, depth=20, width=16)


def test_the_rule_counts_the_multiplications_of_a_linear_network():
    run, (linear,) = _parts(case(lambda: nn.Linear(6, 3)))
    assert batched._multiplications(linear, run) == 16 * 6 * 3


def test_nothing_that_was_not_measured_is_worth_it(monkeypatch):
    monkeypatch.undo()
    convolution, double = MODELS["convolution"], lambda: net(20).double()
    x, y = data()
    for made in (case(convolution), case(double, data=(x.double(), y))):
        assert not batched.worth(Run(made, None, 0, None), 1000, 300)
    assert batched.worth(Run(case(lambda: net(20)), None, 0, None), 8, 300)


def test_trials_are_the_same_with_any_number_of_workers(monkeypatch):
    monkeypatch.undo()
    many = case(lambda: net(30, width=4))
    assert len(observe_many(many, range(1, 6), steps=60)) == 5
    reports = [try_remedies(many, ["relu"], steps=60, seeds=6, workers=workers) for workers in (1, 2)]
    one, other = ([trial.runs for trial in report] + [report.baseline] for report in reports)
    assert [len(runs) for runs in one] == [6, 6]
    assert [[numbers(run) for run in runs] for runs in one] == [[numbers(run) for run in runs] for runs in other]


def numbers(seen: Observation) -> tuple:
    return seen.seed, seen.losses, seen.learning, [trace.parameters for trace in seen.traces]
