"""A remedy in a running script against the same network, with the same remedy, trained by hand."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as hooks
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import CheckpointFunction

from script import loops
from script.loops import BATCH, CLASSES, FEATURES, Checkpointed, Trained, Wrapper, batches, entropy, run
from unstick.case import Case
from unstick.errors import NotApplicable
from unstick.observe import ANATOMY_BATCHES, REMEDY_SEED
from unstick.remedies import parse
from unstick.script.change import Change
from unstick.script.conclude import conclude
from unstick.script.watch import Watcher
from unstick.setup import Anatomy
from unstick.state import preserved, seed_everything
from unstick.trace.record import record

STEPS = ANATOMY_BATCHES + 6
Model = Callable[[], nn.Module]
Make = Callable[[Any], torch.optim.Optimizer]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


def net(depth: int = 3, activation: type[nn.Module] = nn.Sigmoid) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(FEATURES, 8), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(8, 8), activation()]
    return nn.Sequential(*layers, nn.Linear(8, CLASSES))


def regression() -> nn.Sequential:
    return nn.Sequential(net(2), nn.ReLU(), nn.Linear(CLASSES, 1), nn.Softmax(1))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(FEATURES, 8), nn.Linear(8, 8), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.sigmoid(self.a(x))
        return self.c(self.b(h).sigmoid_())


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-2)


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


Schedule = Callable[[torch.optim.Optimizer], Any]


def script(
    model: nn.Module, make: Make, data: list[Any], loss: loops.Loss = entropy, schedule: Schedule | None = None,
    closures: bool = False, between: Callable[[nn.Module], None] = lambda _: None,
) -> Trained:  # fmt: skip
    optimizer = make(model.parameters())
    scheduler = schedule(optimizer) if schedule else None
    losses = []
    for x, y in data:

        def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
            optimizer.zero_grad()
            value = loss(model, x, y)
            value.backward()
            return value

        if closures:
            losses.append(optimizer.step(closure).item())  # type: ignore[union-attr]
        else:
            losses.append(closure().item())
            optimizer.step()
        if scheduler is not None:
            scheduler.step(*([losses[-1]] if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau) else []))
        between(model)
    return Trained([model], [optimizer], losses)


def changed(loop: Callable[[], Trained], remedy: str | None) -> tuple[Trained, Watcher]:
    change = Change(None if remedy is None else parse(remedy), 0)
    watcher = Watcher(steps=STEPS - ANATOMY_BATCHES, keep_going=True, change=change)
    before = _surroundings()
    try:
        with watcher.watching():
            trained = run(loop)
    finally:
        assert _surroundings() == before
    assert change.made
    assert not watcher.strands[0].notes
    return trained, watcher


def _surroundings() -> list[Any]:
    return [
        *_get_current_function_mode_stack(), vars(CheckpointFunction)["forward"],
        torch.autograd.graph.saved_tensors_hooks.__enter__, len(hooks._global_forward_hooks),
        len(hooks._global_forward_pre_hooks),
    ]  # fmt: skip


def by_hand(
    model: nn.Module, make: Make, data: list[Any], remedy: str, loss: Any, rates: list[float] | None = None,
    clip_in_closure: bool = False,
) -> tuple[nn.Module, list[float]]:  # fmt: skip
    """The network as a case, with the remedy, trained on the batches that come after those that were taken back."""
    with preserved():
        setup = Case(lambda: model, data, loss, optimizer=make).fresh(0)
        trace = record(setup, data[0])
        for p in setup.model.parameters():
            p.grad = None
        seed_everything(REMEDY_SEED)
        parse(remedy).apply(setup, Anatomy(trace, tuple(data[:ANATOMY_BATCHES])))
        optimizer = setup.make_optimizer(list(setup.model.parameters()))
        own = [group["lr"] for group in optimizer.param_groups]
        losses = []
        for step, batch in enumerate(data[ANATOMY_BATCHES:]):
            for group, rate in zip(optimizer.param_groups, own, strict=True):
                group["lr"] = rate * (1.0 if rates is None else rates[step + ANATOMY_BATCHES])
            optimizer.zero_grad()
            value = setup.forward(batch)
            value.backward()
            optimizer.step()
            losses.append(value.item())
    return setup.model, losses


def assert_same(ours: nn.Module, theirs: nn.Module) -> None:
    one, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    assert one.keys() == other.keys()
    for name, p in one.items():
        torch.testing.assert_close(p, other[name], rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def compare(
    remedy: str, build: Model = net, make: Make = adam, loss: Any = F.cross_entropy, data: Any = None, **options: Any
) -> Watcher:
    torch.manual_seed(1)
    model, data = build(), data or batches(STEPS)
    reference, losses = by_hand(copy.deepcopy(model), make, data, remedy, loss, options.pop("rates", None))
    own = lambda m, x, y: loss(m(x), y)  # noqa: E731
    trained, watcher = changed(lambda: script(model, make, data, own, **options), remedy)
    assert trained.losses[ANATOMY_BATCHES:] == pytest.approx(losses, rel=1e-4)
    assert_same(model, reference)
    assert watcher.change is not None
    assert watcher.change.changes
    (strand,) = watcher.strands
    assert len(strand.traces) == len({t.step for t in strand.traces}) > 1
    assert strand.numbers() == pytest.approx(losses, rel=1e-4)
    return watcher


# -- each remedy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remedy", [
    "tanh", "relu", "leaky-relu", "elu", "selu", "gelu", "silu", "trelu", "init(he)", "init(xavier)",
    "init(orthogonal)", "init(lsuv)", "init(data)", "init(critical)", "init(normal, std=2)", "batchnorm",
    "batchnorm(after)", "layernorm", "residual", "rezero", "standardize", "adam", "adam(lr=0.02)", "sgd",
    "sgd(lr=0.1, momentum=0.9)", "lr(x10)", "lr(1e-3)", "lr(depth)", "clip(0.01)", "relu+init(he)+lr(x0.5)",
    "batchnorm+residual+sgd",
])  # fmt: skip
def test_it_trains_what_the_case_trains(remedy: str) -> None:
    compare(remedy)


@pytest.mark.parametrize("remedy", ["rescale-output", "match-shape"])
def test_what_is_put_at_the_output(remedy: str) -> None:
    def data() -> list[Any]:
        return [(torch.randn(BATCH, FEATURES), 100 + 20 * torch.randn(BATCH, 1)) for _ in range(STEPS)]

    pairs = data()
    loss = F.mse_loss
    if remedy == "match-shape":
        pairs = [(x, y[:, 0]) for x, y in pairs]
        loss = lambda out, y: (out - y).square().mean()  # noqa: E731
    build = lambda: nn.Sequential(net(2), nn.ReLU(), nn.Linear(CLASSES, 1))  # noqa: E731
    compare(remedy, build, loss=loss, data=pairs)


def test_another_activation_at_the_output() -> None:
    compare("output(linear)", lambda: nn.Sequential(net(2), nn.Softmax(1)))


@pytest.mark.parametrize("remedy", ["relu", "batchnorm", "rezero", "init(lsuv)"])
def test_functional_activations(remedy: str) -> None:
    compare(remedy, Functional)


@pytest.mark.parametrize("remedy", ["relu", "batchnorm", "standardize"])
def test_a_model_in_a_wrapper(remedy: str) -> None:
    compare(remedy, lambda: Wrapper(net()))


# -- optimizers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remedy", ["relu", "batchnorm", "lr(x10)", "adam", "sgd", "clip(0.01)"])
@pytest.mark.parametrize("make", [
    lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    lambda p: torch.optim.Adagrad(p, lr=0.1),
    lambda p: torch.optim.RMSprop(p, lr=1e-3),
    lambda p: torch.optim.NAdam(p),
], ids=["AdamW", "SGD", "Adagrad", "RMSprop", "NAdam"])  # fmt: skip
def test_other_optimizers(make: Make, remedy: str) -> None:
    compare(remedy, make=make)


def plateau(optimizer: torch.optim.Optimizer) -> Any:
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=1e3)


SCHEDULES: dict[str, tuple[Schedule, list[float]]] = {
    "StepLR": (lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.1), [0.1 ** (i // 3) for i in range(STEPS)]),
    "LambdaLR": (
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda i: min(1.0, i / 8)),
        [min(1.0, i / 8) for i in range(STEPS)],
    ),
    "Cosine": (
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda i: 1 - i / STEPS),
        [1 - i / STEPS for i in range(STEPS)],
    ),
}


@pytest.mark.parametrize("remedy", ["relu", "lr(x10)", "lr(1e-3)", "adam", "sgd(lr=0.2)", "batchnorm+lr(x2)"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_go_on(name: str, remedy: str) -> None:
    """The schedule's shape stays; what the remedy says is its base. Warming up from zero is no obstacle."""
    schedule, rates = SCHEDULES[name]
    compare(remedy, make=sgd, schedule=schedule, rates=rates)


@pytest.mark.parametrize("remedy", ["lr(x10)", "adam"])
def test_a_schedule_that_follows_the_loss(remedy: str) -> None:
    data = batches(STEPS)
    trained, watcher = changed(lambda: script(net(), sgd, data, schedule=plateau), remedy)
    rates = watcher.strands[0].rates
    first = 1.0 if remedy == "lr(x10)" else 1e-3
    assert rates[0] <= first
    assert all(b in (pytest.approx(a), pytest.approx(a / 2)) for a, b in itertools.pairwise(rates))
    assert trained.optimizers[0].param_groups[0]["lr"] < 0.1


def test_a_cycle_keeps_its_peak() -> None:
    """OneCycleLR pays no heed to the optimizer's own rate."""
    cycle = lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.5, total_steps=STEPS + 1, cycle_momentum=False)  # noqa: E731
    plain, bare = changed(lambda: script(net(), sgd, batches(STEPS), schedule=cycle), None)
    _, tenth = changed(lambda: script(net(), sgd, batches(STEPS), schedule=cycle), "lr(x0.1)")
    assert max(bare.strands[0].rates) > 0.4
    assert tenth.strands[0].rates == pytest.approx([r / 10 for r in bare.strands[0].rates])
    assert plain.losses


def test_a_rate_of_zero_has_no_multiple() -> None:
    with pytest.raises(NotApplicable, match="zero"):
        changed(lambda: script(net(), lambda p: torch.optim.SGD(p, lr=0.0), batches(STEPS)), "sgd(lr=0.1)")


def two_groups(model_parameters: Any) -> torch.optim.Optimizer:
    every = list(model_parameters)
    return torch.optim.SGD([{"params": every[:2], "lr": 0.01}, {"params": every[2:], "weight_decay": 0.1}], lr=0.1)


@pytest.mark.parametrize("remedy", ["relu", "lr(x10)", "lr(0.05)", "clip(0.01)", "adam", "init(he)"])
def test_several_groups(remedy: str) -> None:
    compare(remedy, make=two_groups)


def test_new_parameters_reach_the_optimizer() -> None:
    trained, watcher = changed(lambda: script(net(), two_groups, batches(STEPS)), "batchnorm")
    (model,), (optimizer,) = trained.models, trained.optimizers
    assert isinstance(model, nn.Module)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert all(id(p) in held for p in model.parameters())
    last = watcher.strands[0].traces[-1]
    added = [p for p in last.parameters if p.name.startswith("unstick_added")]
    assert added
    assert all(p.held and p.gradient is not None and p.step > 0 for p in added)


# -- closures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remedy", ["relu", "clip(0.01)", "lr(x10)", "adam", "batchnorm"])
def test_loops_with_closures(remedy: str) -> None:
    """Clipping acts where the closure has computed the gradients."""
    compare(remedy, make=sgd, closures=True)


@pytest.mark.parametrize("remedy", ["adam", "sgd(lr=0.05)"])
def test_something_else_than_lbfgs(remedy: str) -> None:
    lbfgs = lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3)  # noqa: E731
    compare(remedy, make=lbfgs, closures=True)


def test_new_parameters_in_lbfgs() -> None:
    lbfgs = lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3)  # noqa: E731
    trained, _ = changed(lambda: script(net(), lbfgs, batches(STEPS), closures=True), "batchnorm")
    (model,) = trained.models
    assert isinstance(model, nn.Module)
    gates = [p for name, p in model.named_parameters() if name.startswith("unstick_added")]
    assert any(bool((p != p.round()).any()) for p in gates)  # they began as ones and zeros


# -- what goes on around -----------------------------------------------------------------------------------------------


def test_evaluation_in_between_is_of_the_changed_network() -> None:
    """And leaves its training as it is."""
    x = torch.randn(20, FEATURES, generator=torch.Generator().manual_seed(0))
    seen = []

    def evaluate(model: nn.Module) -> None:
        model.eval()
        with torch.no_grad():
            seen.append(model(x))
        model.train()

    compare("relu", between=evaluate)
    torch.manual_seed(1)
    model, data = net(), batches(STEPS)
    reference, _ = by_hand(model, adam, data, "relu", F.cross_entropy)
    expected = nn.Sequential(*(nn.ReLU() if isinstance(m, nn.Sigmoid) else m for m in reference))
    torch.testing.assert_close(seen[-1], expected(x).detach(), rtol=1e-4, atol=1e-6)


def test_activations_that_the_script_itself_calls() -> None:
    """Its layers lie in no common module."""
    torch.manual_seed(1)
    first, last = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)
    weights = [p.detach().clone() for p in (*first.parameters(), *last.parameters())]
    data = batches(STEPS)

    def loop() -> Trained:
        optimizer, losses = sgd([*first.parameters(), *last.parameters()]), []
        for x, y in data:
            optimizer.zero_grad()
            loss = F.cross_entropy(last(torch.sigmoid(first(x))), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return Trained([first, last], [optimizer], losses)

    changed(loop, "relu")
    w, b, v, c = (t.requires_grad_() for t in weights)
    optimizer = sgd([w, b, v, c])
    for x, y in data[ANATOMY_BATCHES:]:
        optimizer.zero_grad()
        F.cross_entropy(F.linear(F.linear(x, w, b).relu(), v, c), y).backward()
        optimizer.step()
    torch.testing.assert_close(first.weight, w, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(last.weight, v, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("remedy", ["standardize", "rescale-output"])
def test_what_changes_the_models_ends_needs_a_model_that_is_run(remedy: str) -> None:
    def loop() -> Trained:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(FEATURES, 16), nn.Sigmoid(), nn.Linear(16, 1))
        data = [(torch.randn(BATCH, FEATURES), 50 * torch.randn(BATCH, 1)) for _ in range(STEPS)]
        return script(model, sgd, data, lambda m, x, y: F.mse_loss(m[2](m[1](m[0](x))), y))  # type: ignore[index]

    with pytest.raises(NotApplicable):
        changed(loop, remedy)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_is_refused(reentrant: bool) -> None:
    before = vars(CheckpointFunction)["forward"]
    with pytest.raises(NotApplicable, match="no hidden activation" if reentrant else "recomputes"):
        changed(lambda: script(Checkpointed(reentrant), adam, batches(STEPS)), "relu")
    assert vars(CheckpointFunction)["forward"] is before
    trained, _ = changed(lambda: script(Checkpointed(reentrant), adam, batches(STEPS)), "lr(x2)")
    assert len(trained.losses) == STEPS  # what does not reach into the forward pass is no matter


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_of_a_part_is_refused(reentrant: bool) -> None:
    """Where other activations are there to be changed."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.rest = net(2), Checkpointed(reentrant)
            self.between = nn.Linear(CLASSES, FEATURES)

        def forward(self, x: Tensor) -> Any:
            return self.rest(self.between(self.first(x)))

    with pytest.raises(NotApplicable, match="recomputes"):
        changed(lambda: script(Net(), adam, batches(STEPS)), "relu")


def test_two_optimizers_are_refused() -> None:
    with pytest.raises(NotApplicable, match="2 optimizers"):
        changed(loops.gan, "relu")


def test_compiled_models_are_changed_as_well() -> None:
    torch.manual_seed(1)
    model, data = net(2), batches(STEPS)
    reference, losses = by_hand(copy.deepcopy(model), adam, data, "relu", F.cross_entropy)
    compiled = torch.compile(model, backend="eager")
    trained, _ = changed(lambda: script(compiled, adam, data), "relu")  # type: ignore[arg-type]
    torch.compiler.reset()
    assert trained.losses[ANATOMY_BATCHES:] == pytest.approx(losses, rel=1e-4)
    assert_same(model, reference)


# -- without a remedy --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [adam, sgd, lambda p: torch.optim.Adagrad(p), two_groups])
def test_the_unchanged_trial_is_the_script_from_the_same_batch_on(make: Make) -> None:
    data = batches(STEPS)

    def loop(given: list[Any]) -> Callable[[], Trained]:
        return lambda: script(
            nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, CLASSES)), make, given
        )

    trained, watcher = changed(loop(data), None)
    plain = run(loop(data[ANATOMY_BATCHES:]))
    assert trained.losses[ANATOMY_BATCHES:] == plain.losses
    assert watcher.strands[0].numbers() == plain.losses
    for one, other in zip(trained.models, plain.models, strict=True):
        assert isinstance(one, nn.Module)
        assert isinstance(other, nn.Module)
        assert all(
            torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        )


def test_what_is_concluded_is_of_the_changed_network() -> None:
    trained, watcher = changed(lambda: script(net(), adam, batches(3 * STEPS)), "relu")
    (strand,) = watcher.strands
    strand.settle()
    seen = conclude(strand, "script", change=watcher.change)
    assert seen.remedy == "relu"
    assert seen.changes
    assert not seen.uncovered
    assert seen.learning.constant_loss is not None
    assert any(op.name == "relu" for op in seen.traces[0].operations)
    assert trained.losses
