"""Watching changes nothing, and what is measured is what a slow observer would have noted down."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as hooks
from torch.optim import optimizer as optimizers
from torch.overrides import _get_current_function_mode_stack
from torch.utils.data import DataLoader, TensorDataset

from script import loops
from script.loops import BATCH, CLASSES, FEATURES, LOOPS, Loop, entropy, fit, mlp, run, sgd
from unstick.script.strand import Strand
from unstick.script.watch import Enough, Watcher


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


def watched(loop: Loop, steps: int = 3, **options: Any) -> tuple[loops.Trained, Watcher]:
    watcher = Watcher(steps=steps, keep_going=True, **options)
    with watcher.watching():
        trained = run(loop)
    return trained, watcher


def only(watcher: Watcher) -> Strand:
    (strand,) = watcher.strands
    return strand


def surroundings() -> list[Any]:
    """All that is torch's own and that a watcher reaches into."""
    return [
        torch.autograd.backward, torch.optim.Optimizer.__init__, nn.Module.__init__, torch.amp.GradScaler.scale,
        DataLoader.__iter__, *_get_current_function_mode_stack(),
        *(list(each) for each in (
            hooks._global_forward_hooks, hooks._global_forward_pre_hooks, hooks._global_backward_hooks,
            hooks._global_backward_pre_hooks, hooks._global_forward_hooks_always_called,
            hooks._global_forward_hooks_with_kwargs,
            optimizers._global_optimizer_pre_hooks, optimizers._global_optimizer_post_hooks,
        )),
    ]  # fmt: skip


# -- nothing is changed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOOPS)
def test_the_loop_computes_the_same_bit_for_bit(name: str) -> None:
    bare = run(LOOPS[name]).fingerprint()
    before = surroundings()
    trained, watcher = watched(LOOPS[name])
    assert trained.fingerprint() == bare
    assert surroundings() == before
    assert not [note for strand in watcher.strands for note in strand.notes]


@pytest.mark.parametrize("name", ["plain", "dropout", "gan", "closure", "mixed_precision", "loader", "default_device"])
def test_also_where_the_watcher_has_seen_enough_in_the_middle(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "STEPS", 9)
    monkeypatch.setattr("unstick.script.strand.EVALUATION_BATCHES", 2)
    monkeypatch.setattr("unstick.script.strand.EVALUATION_SAMPLES", 1)
    bare = run(LOOPS[name]).fingerprint()
    before = surroundings()
    trained, watcher = watched(LOOPS[name])
    assert watcher.done
    assert trained.fingerprint() == bare
    assert surroundings() == before


@pytest.mark.parametrize("at", [0, 2])
def test_nothing_is_left_where_the_loop_raises(at: int) -> None:
    before = surroundings()

    def fails() -> loops.Trained:
        def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            nonlocal at
            at -= 1
            out = m(x)
            if at < 0:
                raise KeyError("from the loop")
            return F.cross_entropy(out, y)

        return fit(mlp(nn.Tanh()), loss)

    with pytest.raises(KeyError, match="from the loop"):
        watched(fails)
    assert surroundings() == before


def test_it_ends_the_script_as_sys_exit_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unstick.script.strand.EVALUATION_BATCHES", 1)
    monkeypatch.setattr("unstick.script.strand.EVALUATION_SAMPLES", 1)
    before = surroundings()
    watcher = Watcher(steps=2)
    with pytest.raises(Enough), watcher.watching():
        run(loops.plain)
    assert only(watcher).count == 3
    assert surroundings() == before


def test_what_goes_wrong_in_looking_does_not_go_wrong_in_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    bare, before = run(loops.plain).fingerprint(), surroundings()

    def fails(*_: Any) -> None:
        raise ValueError("a kind of tensor that nobody knew")

    monkeypatch.setattr(Strand, "_compare_batches", fails)
    trained, watcher = watched(loops.plain)
    assert trained.fingerprint() == bare
    assert surroundings() == before
    (note,) = only(watcher).notes
    assert "could not be watched" in note
    assert "nobody knew" in note


def test_hooks_of_the_script_see_the_script_only() -> None:
    """And not what is computed on copies."""
    seen: list[tuple[str, int]] = []

    def loop() -> loops.Trained:
        seen.clear()
        model = mlp(nn.Tanh())
        model[1].register_forward_hook(lambda *_: seen.append(("own", 1)))
        handle = nn.modules.module.register_module_forward_hook(lambda *_: seen.append(("all", 1)))
        try:
            return fit(model)
        finally:
            handle.remove()

    bare = run(loop), list(seen)
    trained, watcher = watched(loop)
    assert trained.fingerprint() == bare[0].fingerprint()
    assert seen == bare[1]
    assert only(watcher).twin.sound


def test_a_forward_of_the_originals_never_gets_its_weights_a_second_gradient() -> None:
    """An instance's own `forward` goes on to the original when the model is copied."""

    def loop() -> loops.Trained:
        model = mlp(nn.Tanh())
        original = model.forward
        model.forward = lambda x: original(x) * 2  # type: ignore[method-assign]
        return fit(model)

    bare = run(loop).fingerprint()
    trained, watcher = watched(loop)
    assert trained.fingerprint() == bare
    twin = only(watcher).twin
    assert twin.sound is False
    assert "weights of the original" in (twin.fault or "")


# -- what is measured --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(LOOPS) - {
    "gan", "gan_again", "gan_of_one_graph", "no_module", "sparse", "two_optimizers_on_one_loss", "optimizer_made_again",
}))  # fmt: skip
def test_losses_are_those_of_the_script(name: str) -> None:
    trained, watcher = watched(LOOPS[name])
    strand = only(watcher)
    assert strand.numbers() == pytest.approx(list(trained.losses), rel=1e-6)
    assert [trace.step for trace in strand.traces] == [0, 1, 2]
    assert strand.broken is False


def test_each_of_two_optimizers_on_one_loss_sees_it() -> None:
    for loop in (loops.two_optimizers_on_one_loss, loops.sparse):
        trained, watcher = watched(loop)
        for strand in watcher.strands:
            assert strand.numbers() == pytest.approx(list(trained.losses), rel=1e-6)
        one, other = watcher.strands
        assert not one.rivals(other)
        assert set(one.parameters).isdisjoint(other.parameters)


@pytest.mark.parametrize("make", [
    lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9),
    lambda m: torch.optim.AdamW(m.parameters(), lr=1e-2, fused=True),
    lambda m: torch.optim.Adam([{"params": m[0].parameters(), "lr": 1e-3}, {"params": m[2].parameters()}], lr=1e-2),
])  # fmt: skip
def test_steps_are_those_that_a_slow_observer_measures(make: Callable[[Any], torch.optim.Optimizer]) -> None:
    """Relative steps, and norms of gradients, against copies of all weights before and after each step."""
    noted: list[dict[str, tuple[float, float]]] = []

    def loop() -> loops.Trained:
        model, losses = mlp(nn.Tanh()), []
        optimizer = make(model)
        for x, y in loops.batches():
            optimizer.zero_grad()
            loss = entropy(model, x, y)
            loss.backward()
            before = {n: p.detach().clone() for n, p in model.named_parameters()}
            gradients = {n: p.grad.norm().item() for n, p in model.named_parameters()}  # type: ignore[union-attr]
            optimizer.step()
            steps = {n: ((p - before[n]).norm() / before[n].norm()).item() for n, p in model.named_parameters()}
            noted.append({n: (gradients[n], steps[n]) for n in steps})
            losses.append(loss.item())
        return loops.Trained([model], [optimizer], losses)

    _, watcher = watched(loop)
    for trace, slow in zip(only(watcher).traces, noted, strict=False):
        assert {p.name: (p.gradient, p.relative) for p in trace.parameters} == {
            name: (pytest.approx(g, rel=1e-5), pytest.approx(s, rel=1e-4)) for name, (g, s) in slow.items()
        }


@pytest.mark.parametrize("fused", [False, True])
def test_mixed_precision_is_measured_without_its_factor(fused: bool) -> None:
    """As the same loop without a scaler; fused optimizers take the factor away themselves."""

    def loop(scaled: bool) -> Loop:
        def train() -> loops.Trained:
            model = mlp(nn.Tanh())
            optimizer = torch.optim.Adam(model.parameters(), fused=fused)
            scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14, enabled=scaled)
            losses = []
            for x, y in loops.batches():
                optimizer.zero_grad()
                loss = entropy(model, x, y)
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
                losses.append(loss.item())
            return loops.Trained([model], [optimizer], losses)

        return train

    (_, bare), (_, scaled) = watched(loop(False)), watched(loop(True))
    for one, other in zip(only(bare).traces, only(scaled).traces, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=1e-5)
        assert [p.gradient for p in other.parameters] == pytest.approx([p.gradient for p in one.parameters], rel=1e-4)
        norms = [[op.backward.norm for op in t.operations if op.backward][:4] for t in (one, other)]
        assert norms[1] == pytest.approx(norms[0], rel=1e-4)


def test_two_scaled_losses_at_once_are_told_apart() -> None:
    def loop() -> loops.Trained:
        models = [mlp(nn.Tanh()), mlp(nn.Tanh())]
        optimizer = torch.optim.SGD([p for m in models for p in m.parameters()], lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
        losses = []
        for x, y in loops.batches():
            optimizer.zero_grad()
            both = [entropy(m, x, y) for m in models]
            scaled = [scaler.scale(loss) for loss in both]
            for loss in scaled:
                loss.backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(sum(both).item())  # type: ignore[union-attr]
        return loops.Trained(models, [optimizer], losses)

    trained, watcher = watched(loop)
    assert only(watcher).numbers() == pytest.approx(list(trained.losses), rel=1e-6)


def test_a_loss_of_zero_under_mixed_precision() -> None:
    def loop() -> loops.Trained:
        model = mlp(nn.Tanh())
        optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=512.0)
        for x, _ in loops.batches():
            optimizer.zero_grad()
            scaler.scale((model(x) * 0).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        return loops.Trained([model], [optimizer], [0.0] * loops.STEPS)

    trained, watcher = watched(loop)
    assert only(watcher).numbers() == list(trained.losses)


@pytest.mark.parametrize("start", ["vector", "several", "weighted"])
def test_a_backward_pass_from_something_else_than_one_number(start: str) -> None:
    def loop() -> loops.Trained:
        model = mlp(nn.Tanh())
        optimizer, losses = sgd(model), []
        for x, y in loops.batches():
            optimizer.zero_grad()
            each = F.cross_entropy(model(x), y, reduction="none")
            if start == "vector":
                each.backward(torch.full_like(each, 1 / BATCH))
            elif start == "weighted":
                each.mean().backward(torch.tensor(1.0))
            else:
                torch.autograd.backward([each[:4].sum() / BATCH, each[4:].sum() / BATCH])
            optimizer.step()
            losses.append(each.mean().item())
        return loops.Trained([model], [optimizer], losses)

    bare = run(loop).fingerprint()
    trained, watcher = watched(loop)
    assert trained.fingerprint() == bare
    assert only(watcher).numbers() == pytest.approx(list(trained.losses), rel=1e-6)
    assert only(watcher).twin.sound is None  # its loss is none that the script has computed
    assert len(only(watcher).traces[0].hidden) == 2


def test_a_backward_pass_from_an_edge_of_the_graph() -> None:
    def loop() -> loops.Trained:
        model = mlp(nn.Tanh())
        optimizer = sgd(model)
        for x, y in loops.batches():
            optimizer.zero_grad()
            loss = entropy(model, x, y)
            torch.autograd.backward(torch.autograd.graph.get_gradient_edge(loss))
            optimizer.step()
        return loops.Trained([model], [optimizer], [])

    bare = run(loop).fingerprint()
    trained, _ = watched(loop)
    assert trained.fingerprint() == bare


# -- the loop ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "backwards"), [
    ("plain", 1), ("accumulation", 3), ("several_backwards", 2), ("closure", 1), ("lbfgs", 1), ("mixed_precision", 1),
])  # fmt: skip
def test_backward_passes_of_a_step(name: str, backwards: int) -> None:
    assert only(watched(LOOPS[name])[1]).loop().backwards == backwards


@pytest.mark.parametrize("name", [
    "plain", "accumulation", "several_backwards", "zeros_instead_of_none", "cleared_by_the_model", "closure", "lbfgs",
    "mixed_precision", "mixed_precision_clipped", "sparse", "frozen_part",
])  # fmt: skip
def test_gradients_that_are_cleared(name: str) -> None:
    for strand in watched(LOOPS[name])[1].strands:
        assert strand.loop().uncleared is None


def test_gradients_that_are_never_cleared() -> None:
    assert only(watched(loops.never_cleared)[1]).loop().uncleared == 1


def test_rates_of_a_schedule() -> None:
    noted = []

    def loop() -> loops.Trained:
        noted.clear()
        model = mlp(nn.Tanh())
        optimizer = torch.optim.SGD(
            [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[2].parameters()}], 0.1
        )
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        noted.extend(0.1 * 0.5**i for i in range(loops.STEPS))
        return fit(model, optimizer=optimizer, after=lambda _: schedule.step())

    assert only(watched(loop)[1]).loop().rates == pytest.approx(noted)


def test_lines_and_modes() -> None:
    strand = only(watched(loops.plain)[1])
    loop = strand.loop()
    assert "loops.py" in (loop.loss or "")
    assert "loops.py" in (loop.model or "")
    assert "loops.py" in (strand.settings.source or "")
    assert loop.training == (True, True, True)
    assert loop.attached


def test_one_batch_again_and_again() -> None:
    def loop(again: bool) -> Loop:
        def train() -> loops.Trained:
            data = TensorDataset(torch.randn(40, FEATURES), torch.randint(CLASSES, (40,)))
            loader = DataLoader(data, batch_size=BATCH)
            first = next(iter(loader))
            return fit(mlp(nn.Tanh()), data=[tuple(first)] * 5 if again else list(loader))  # type: ignore[list-item]

        return train

    same, other = (only(watched(loop(again))[1]).loop() for again in (True, False))
    assert (same.repeated, same.samples, same.available) == (True, BATCH, 40)
    assert (other.repeated, other.samples) == (False, BATCH)


def test_batches_that_are_parts_of_a_tensor() -> None:
    def loop() -> loops.Trained:
        x, y = torch.randn(40, FEATURES), torch.randint(CLASSES, (40,))
        return fit(mlp(nn.Tanh()), data=[(x[:BATCH], y[:BATCH])] * 5)

    found = only(watched(loop)[1]).loop()
    assert (found.repeated, found.samples, found.available) == (True, BATCH, 40)


class Batch:
    """Data in an object, as of a graph library."""

    def __init__(self, x: Tensor) -> None:
        self.x = x


def in_objects() -> loops.Trained:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(nn.Tanh())

        def forward(self, batch: Batch) -> Tensor:
            return self.net(batch.x)

    return fit(Net(), lambda m, x, y: m(Batch(x)).square().mean())


def test_batches_that_cannot_be_seen_are_not_called_the_same() -> None:
    assert only(watched(in_objects)[1]).loop().repeated is False


def test_a_loss_that_depends_on_no_parameter() -> None:
    def loop() -> loops.Trained:
        return fit(mlp(nn.Tanh()), lambda m, x, y: F.cross_entropy(m(x).detach().requires_grad_(), y))

    trained, watcher = watched(loop)
    strand = only(watcher)
    assert strand.loop().attached is False
    assert strand.numbers() == pytest.approx(list(trained.losses))


# -- evaluation mode ---------------------------------------------------------------------------------------------------


def resting(until: int | None, back: int | None = None) -> Any:
    """A validation behind step `until` leaves the model in evaluation mode, and `back` is when somebody notices."""

    def loop() -> loops.Trained:
        model = mlp(nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1))

        def after(step: int) -> None:
            if step == until:
                model.eval()
            if step == back:
                model.train()

        return fit(model, after=after, data=loops.batches(20))

    return only(watched(loop, steps=20)[1]).loop()


@pytest.mark.parametrize("until", [0, 4, 9])
def test_a_validation_that_leaves_the_model_in_evaluation_mode(until: int) -> None:
    found = resting(until)
    assert [path for path, _, _ in found.resting] == ["1", "3"]
    assert found.training[0]
    assert not found.training[-1]


@pytest.mark.parametrize(("until", "back"), [(None, None), (4, 5), (4, 18), (15, None)])
def test_a_model_that_rests_for_a_while_only(until: int | None, back: int | None) -> None:
    assert resting(until, back).resting == ()


def test_parts_that_always_rest() -> None:
    def loop() -> loops.Trained:
        model = mlp(nn.BatchNorm1d(16), nn.ReLU())
        model[1].eval()
        return fit(model)

    found = only(watched(loop)[1]).loop()
    assert [(path, name) for path, name, _ in found.resting] == [("1", "BatchNorm1d")]
    assert found.training == (True, True, True)


# -- which optimizers --------------------------------------------------------------------------------------------------


def test_parameters_that_are_added_later_are_held() -> None:
    first, *_, last = only(watched(loops.parameters_added_later)[1]).traces
    assert {p.name: (p.held, p.trainable) for p in first.parameters}["0.weight"] == (False, False)
    assert {p.name: (p.held, p.trainable) for p in last.parameters}["0.weight"] == (True, True)


def test_an_optimizer_that_takes_over_ends_what_came_before() -> None:
    trained, watcher = watched(loops.optimizer_made_again)
    first, second = watcher.strands
    assert (first.count, second.count) == (3, 5)
    assert first.numbers() == pytest.approx(list(trained.losses[:3]))
    assert first.final is not None
    initial = dict(second.twin.initial.named_parameters())  # type: ignore[union-attr]
    assert all(torch.equal(first.final[name], p) for name, p in initial.items())


def test_a_copy_of_an_optimizer_is_met_at_its_first_step() -> None:
    import copy

    def loop() -> loops.Trained:
        model = mlp(nn.Tanh())
        twin = copy.deepcopy({"model": model, "optimizer": sgd(model)})
        return fit(twin["model"], optimizer=twin["optimizer"])  # type: ignore[arg-type]

    bare = run(loop).fingerprint()
    trained, watcher = watched(loop)
    assert trained.fingerprint() == bare
    assert [s.count for s in watcher.strands] == [0, loops.STEPS - 1]


def test_an_optimizer_of_what_another_leaves_to_it_is_no_left_out_parameter() -> None:
    """The head has an optimizer of its own, which is made after the first steps."""

    def loop() -> loops.Trained:
        model = mlp(nn.Tanh())
        body, losses = torch.optim.SGD(model[0].parameters(), lr=0.1), []
        head: Any = None
        for step, (x, y) in enumerate(loops.batches()):
            model.zero_grad()
            loss = entropy(model, x, y)
            loss.backward()
            body.step()
            if head is not None:
                head.step()
            elif step == 1:
                head = torch.optim.SGD(model[2].parameters(), lr=0.1)
            losses.append(loss.item())
        return loops.Trained([model], [body, head], losses)

    _, watcher = watched(loop)
    assert not [p.name for p in watcher.strands[0].traces[-1].parameters if not p.held]


# -- two that are trained against each other ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gan", "gan_again", "gan_of_one_graph"])
def test_each_sees_its_own_loss(name: str) -> None:
    trained, watcher = watched(LOOPS[name])
    generator, critic = watcher.strands
    assert critic.numbers() == pytest.approx(list(trained.losses[::2]), rel=1e-6)
    assert generator.numbers() == pytest.approx(list(trained.losses[1::2]), rel=1e-6)
    for strand, own in ((critic, "sequential_2"), (generator, "sequential")):
        assert [t.loss for t in strand.traces] == pytest.approx(strand.numbers()[:3], rel=1e-6)
        assert not [note for t in strand.traces for note in t.uncovered]
        assert {p.name.partition(".")[0] for t in strand.traces for p in t.parameters} == {own}
        assert len(strand.training) == len(strand.traces)
        assert strand.twin.sound
    assert critic.rivals(generator)
    assert generator.rivals(critic)


def test_operations_of_the_others_loss_are_not_in_a_trace() -> None:
    """The generator's loss goes through both networks once; the discriminator, in between, ran on real data, too."""
    _, watcher = watched(loops.gan)
    generator, critic = watcher.strands
    for trace in generator.traces:
        assert [op.parameter for op in trace.operations if op.kind == "weights"] == [
            "sequential.0.weight", "sequential.2.weight", "sequential_2.0.weight", "sequential_2.2.weight",
        ]  # fmt: skip
        assert not any(op.severed for op in trace.operations)
        assert [op.index for op in trace.operations] == list(range(len(trace.operations)))
        assert trace.operations[trace.path[0]].parameter == "sequential.0.weight"
        assert all(math.isfinite(op.forward.rms) and op.backward is not None for op in trace.hidden)
    for trace in critic.traces:
        own = [op.parameter for op in trace.operations if op.kind == "weights"]
        assert own == ["sequential_2.0.weight", "sequential_2.2.weight"] * 2
        assert len(trace.inputs) == 2


def test_gradients_of_a_generator_are_those_of_its_own_loss() -> None:
    """Where the discriminator's loss has reached the generator's graph before."""
    (_, apart), (_, shared) = watched(loops.gan), watched(loops.gan_of_one_graph)
    for one, other in zip(apart.strands[0].traces[:1], shared.strands[0].traces[:1], strict=True):
        assert [op.backward.norm for op in other.hidden if op.backward] == pytest.approx(
            [op.backward.norm for op in one.hidden if op.backward], rel=1e-5
        )


# -- where the graph was cut -------------------------------------------------------------------------------------------


def cut_at(trace: Any) -> list[str]:
    return [op.cut or "" for op in trace.operations if op.severed]


def line_of(function: Callable[..., Any], text: str) -> int:
    import inspect

    lines, start = inspect.getsourcelines(function)
    return next(start + i for i, line in enumerate(lines) if text in line)


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x).tanh()
        h = h.detach()
        h = h * 2
        return self.head(h)


def test_the_line_of_a_cut_is_where_the_gradient_was_lost() -> None:
    trace = only(watched(lambda: fit(Detached()))[1]).traces[0]
    line = line_of(Detached.forward, "h.detach()")
    assert cut_at(trace)
    assert all(at.endswith(f"test_watch.py:{line}") for at in cut_at(trace))


def without_gradients() -> loops.Trained:
    body, head = nn.Sequential(nn.Linear(FEATURES, 16), nn.Tanh()), nn.Linear(16, CLASSES)
    optimizer, losses = torch.optim.Adam([*body.parameters(), *head.parameters()]), []
    for x, y in loops.batches():
        optimizer.zero_grad()
        with torch.no_grad():
            features = body(x)
        loss = F.cross_entropy(head(features), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return loops.Trained([body, head], [optimizer], losses)


def test_what_was_made_without_gradients_is_cut_off() -> None:
    """The body runs where nothing is recorded, and the loss depends on it all the same. (In the first step nobody
    listens yet: the first module that runs with gradients shows which model it is.)"""
    trace = only(watched(without_gradients)[1]).traces[-1]
    line = line_of(without_gradients, "body(x)")
    assert [at.rpartition(":")[2] for at in cut_at(trace)] == [str(line)]
    assert {"sequential.0.weight", "sequential.0.bias"} <= trace.used


@pytest.mark.parametrize("name", ["plain", "checkpointing_reentrant", "evaluation_in_between", "distillation", "lstm"])
def test_nothing_is_cut_in_a_loop_that_is_well(name: str) -> None:
    assert not [at for trace in only(watched(LOOPS[name])[1]).traces for at in cut_at(trace)]
