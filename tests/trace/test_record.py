"""What the recorder sees, against plain autograd on networks written by hand."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tracing import X, Y, traced
from unstick import CaseError
from unstick.state import preserved
from unstick.trace.attribution import attenuation
from unstick.trace.calls import facts


class Called(nn.Module):
    """Three layers whose activation is called in one of many ways."""

    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.call(self.b(self.call(self.a(x)))))


SIGMOIDS: dict[str, Callable[[Tensor], Tensor]] = {
    "module, used twice": nn.Sigmoid(),
    "function": torch.sigmoid,
    "functional": F.sigmoid,
    "method": lambda x: x.sigmoid(),
    "in place": torch.sigmoid_,
    "method in place": lambda x: x.sigmoid_(),
}


@pytest.mark.parametrize("call", SIGMOIDS.values(), ids=SIGMOIDS.keys())
def test_every_way_to_call_is_seen_alike(call: Callable[[Tensor], Tensor]) -> None:
    reference, trace = traced(lambda: Called(torch.sigmoid)), traced(lambda: Called(call))
    assert [op.name for op in trace.operations] == ["linear", "sigmoid"] * 2 + ["linear", "cross_entropy"]
    assert [op.forward for op in trace.operations[:5]] == [op.forward for op in reference.operations[:5]]
    assert [op.backward for op in trace.operations] == [op.backward for op in reference.operations]
    assert [op.site for op in trace.hidden if op.kind == "activation"] == [("a.weight", 0), ("b.weight", 0)]


def test_numbers_are_those_of_plain_autograd() -> None:
    trace = traced(lambda: Called(torch.tanh))
    with preserved(threads=1):
        torch.manual_seed(0)
        model = Called(torch.tanh).double()
    h = [model.a(X.double())]
    for layer in (torch.tanh, model.b, torch.tanh, model.c):
        h.append(layer(h[-1]))
    gradients = torch.autograd.grad(F.cross_entropy(h[-1], Y), h)
    for op, value, gradient in zip(trace.operations, h, gradients, strict=False):
        assert op.backward is not None
        assert op.forward.rms == pytest.approx(value.square().mean().sqrt().item(), rel=1e-5)
        assert op.forward.mean == pytest.approx(value.mean().item(), rel=1e-4, abs=1e-6)
        assert op.forward.peak == pytest.approx(value.abs().max().item(), rel=1e-5)
        apart = (value - value.mean(0)).square().mean() / value.square().mean()
        assert op.forward.between == pytest.approx(apart.item(), rel=1e-4)
        assert op.backward.norm == pytest.approx(gradient.norm().item(), rel=1e-4)


@pytest.mark.parametrize("scale", [1e-12, 1e-20, 1e12])
def test_gradients_whose_squares_leave_float32(scale: float) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.tanh(self.a(x)) * scale)

    trace = traced(Scaled)
    first, last = trace.hidden[0], trace.hidden[-1]
    assert first.backward is not None
    assert last.backward is not None
    assert first.backward.norm > 0
    assert first.backward.norm / last.backward.norm == pytest.approx(scale, rel=1)


@settings(max_examples=25, derandomize=True)
@given(
    depth=st.integers(2, 8),
    activation=st.sampled_from([nn.Sigmoid, nn.Tanh, nn.ReLU, nn.GELU, nn.ELU]),
    norm=st.sampled_from([None, nn.BatchNorm1d, nn.LayerNorm]),
    residual=st.booleans(),
    scale=st.sampled_from([0.01, 1.0, 3.0]),
    seed=st.integers(0, 100),
)
def test_the_parts_sum_to_the_whole(
    depth: int, activation: type[nn.Module], norm: type[nn.Module] | None, residual: bool, scale: float, seed: int
) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(seed)
            self.first, self.head = nn.Linear(5, 7), nn.Linear(7, 3)
            self.layers = nn.ModuleList(nn.Linear(7, 7) for _ in range(depth))
            self.norms = nn.ModuleList(norm(7) if norm else nn.Identity() for _ in range(depth))
            self.activation = activation()
            for layer in self.layers:
                nn.init.normal_(layer.weight, std=scale)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            for layer, normed in zip(self.layers, self.norms, strict=True):
                y = self.activation(normed(layer(x)))
                x = x + y if residual else y
            return self.head(x)

    trace = traced(Net)
    lost = attenuation(trace)
    if lost is None:
        assert trace.hidden[-1].backward is None or trace.hidden[-1].backward.norm == 0
        return
    assert sum(lost.parts.values()) == pytest.approx(lost.decades, abs=1e-9)
    if lost.truncated is None:
        first, last = trace.hidden[0].backward, trace.hidden[-1].backward
        assert first is not None
        assert last is not None
        assert lost.decades == pytest.approx(math.log10(last.norm / first.norm), abs=1e-9)
    if norm is None:
        assert lost.parts["normalisation"] == 0


def test_a_gradient_that_underflows_is_a_lower_bound() -> None:
    def build() -> nn.Module:
        layers = [part for _ in range(60) for part in (nn.Linear(5, 5), nn.Sigmoid())]
        return nn.Sequential(*layers, nn.Linear(5, 3))

    lost = attenuation(traced(build))
    assert lost is not None
    assert lost.truncated == "underflow"
    assert lost.decades > 25


def test_the_trunk_goes_through_skips_and_joins() -> None:
    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.d = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(10, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.a(x)
            h = h + torch.relu(self.b(h))
            return self.d(torch.cat([h, torch.tanh(self.c(h))], 1))

    trace = traced(Skips)
    assert [op.name for op in trace.hidden] == ["linear", "add", "cat"]


def test_convolutions_and_their_units() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 3))

    trace = traced(build, torch.randn(16, 1, 4, 4))
    assert [(op.name, op.kind, op.unit_axis) for op in trace.operations[:3]] == [
        ("conv2d", "weights", 1), ("relu", "activation", 1), ("linear", "weights", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("make", "name"), [(nn.GRU, "gru"), (nn.LSTM, "lstm"), (nn.RNN, "rnn_tanh")])
def test_fused_recurrence_is_listed_as_not_covered(make: type[nn.Module], name: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = make(5, 4, batch_first=True), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.cell(x)[0][:, -1])

    trace = traced(Net, torch.randn(16, 3, 5))
    assert [op.name for op in trace.hidden] == [name]
    assert any(f"inside {name}" in place for place in trace.uncovered)


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        return 2 * x

    @staticmethod
    def backward(ctx, g):  # type: ignore[no-untyped-def]
        return 2 * g


def test_a_custom_function_is_listed_and_walked_through() -> None:
    trace = traced(lambda: Called(lambda x: Double.apply(x)))
    assert any("Double" in place for place in trace.uncovered)
    assert [op.name for op in trace.hidden] == ["linear", "linear"]


def test_a_complex_signal_is_listed_and_walked_through() -> None:
    trace = traced(lambda: Called(lambda x: torch.fft.irfft(torch.fft.rfft(x), x.shape[-1])))
    assert trace.uncovered == ("fft_rfft: complex numbers are not measured",)
    assert [op.name for op in trace.hidden] == ["linear", "fft_irfft", "linear", "fft_irfft"]


def test_a_line_of_source_is_named_for_modules_and_calls() -> None:
    trace = traced(lambda: Called(torch.tanh))
    linear, tanh = trace.operations[:2]
    assert linear.source is not None
    assert tanh.source is not None
    assert linear.source.split(":")[0].endswith("test_record.py")
    assert int(tanh.source.split(":")[1]) - int(linear.source.split(":")[1]) == 4


def test_hooks_are_off_after_an_exception() -> None:
    from torch.nn.modules import module

    def fail(x: Tensor) -> Tensor:
        raise KeyError("in the middle")

    before = len(module._global_forward_hooks), len(module._global_forward_pre_hooks)
    with pytest.raises(CaseError, match="in the middle"):
        traced(lambda: Called(fail))
    assert (len(module._global_forward_hooks), len(module._global_forward_pre_hooks)) == before


@pytest.mark.parametrize("cut", [Tensor.detach, lambda x: F.one_hot(x.argmax(1), 8).float(), lambda x: (x > 0).float()])
def test_what_reads_something_cut_off_from_its_parameters_is_marked(cut: Callable[[Tensor], Tensor]) -> None:
    """The layer behind the cut, and no layer before it or where there is none."""
    model = lambda: nn.Sequential(nn.Linear(5, 8), Function(cut), nn.Linear(8, 3))  # noqa: E731
    severed = [op.module for op in traced(model).operations if op.severed]
    assert severed == ["2"]


def test_the_line_that_cut_something_off_is_known() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.a(x)
            with torch.no_grad():
                h = self.b(h)
            h = h * 2
            return self.c(h)

    lines, start = inspect.getsourcelines(Net.forward)
    cut = start + next(i for i, line in enumerate(lines) if "self.b(h)" in line)
    found = traced(Net)
    assert [op.cut for op in found.operations if op.severed] == [f"tests/trace/test_record.py:{cut}"]
    assert {op.cut for op in found.operations if not op.severed} == {None}


def test_nothing_is_severed_where_the_gradient_passes() -> None:
    assert not any(op.severed for op in traced(lambda: Called(torch.tanh)).operations)


class Function(nn.Module):
    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


def test_the_dtype_of_an_output_is_noted() -> None:
    trace = traced(lambda: Called(lambda x: torch.tanh(x.bfloat16()).float()))
    assert next(op for op in trace.operations if op.name == "tanh").dtype == "bfloat16"
    assert trace.hidden[0].dtype == "float32"


@pytest.mark.parametrize(("training", "name"), [(True, "batch_norm"), (False, "batch_norm_eval")])
def test_batch_normalisation_by_running_averages_has_its_own_name(training: bool, name: str) -> None:
    def build() -> nn.Module:
        model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
        model[1].train(training)
        return model

    assert [op.name for op in traced(build).hidden] == ["linear", name]


CUTS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "clamp_min": (lambda x: x.clamp_min(0), "relu"),
    "clamp, in place": (lambda x: x.clamp_(min=0.0), "relu"),
    "ReLU6": (nn.ReLU6(), "relu6"),
    "clip": (lambda x: torch.clip(x, -1, 1), "hardtanh"),
    "Hardtanh": (nn.Hardtanh(), "hardtanh"),
}


@pytest.mark.parametrize(("call", "name"), CUTS.values(), ids=CUTS.keys())
def test_a_clamp_that_is_an_activation_is_recorded_as_one(call: Callable[[Tensor], Tensor], name: str) -> None:
    usual = {"relu": nn.ReLU(), "relu6": F.relu6, "hardtanh": F.hardtanh}[name]
    op, reference = (next(o for o in traced(lambda f=f: Called(f)).operations[1:]) for f in (call, usual))
    assert (op.name, op.kind, op.site) == (name, "activation", ("a.weight", 0))
    assert op.forward == reference.forward


@pytest.mark.parametrize("bounds", [(-6.0, 2.0), (1e-8, None), (None, 1.0)])
def test_a_clamp_that_guards_is_no_activation(bounds: tuple[float | None, float | None]) -> None:
    assert traced(lambda: Called(lambda x: x.clamp(*bounds))).operations[1].kind == "other"
    limits = torch.zeros(()), torch.ones(())
    assert traced(lambda: Called(lambda x: x.clamp(*limits))).operations[1].kind == "other"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("call", [nn.Hardtanh(-0.3, 0.7), lambda x: F.hardtanh(x, min_val=-0.3, max_val=0.7)])
def test_hardtanh_is_flat_where_its_arguments_say(call: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    given: list[Tensor] = []

    def cut(x: Tensor) -> Tensor:
        given.append(x.detach().to(dtype))
        return call(x.to(dtype)).float()

    (op, *_) = (o for o in traced(lambda: Called(cut)).operations if o.name == "hardtanh")
    outside = (given[0] <= -0.3) | (given[0] >= 0.7)
    assert 0 < outside.float().mean() < 1
    assert op.forward.saturated == pytest.approx(outside.float().mean().item(), abs=1e-6)


@pytest.mark.parametrize(
    ("call", "name"),
    [(torch.atan, "atan"), (torch.arctan, "atan"), (torch.sin, "sin"), (Tensor.cos_, "cos"),
     (nn.LogSigmoid(), "logsigmoid"), (torch.special.expit, "sigmoid"), (nn.Threshold(0.1, 0.0), "threshold")],
)  # fmt: skip
def test_activations_under_their_other_names(call: Callable[[Tensor], Tensor], name: str) -> None:
    op = traced(lambda: Called(call)).operations[1]
    assert (op.name, op.kind) == (name, "activation")


@pytest.mark.parametrize("call", [torch.erf, lambda x: F.glu(x.repeat(1, 2))])
def test_parts_of_other_functions_are_no_activations(call: Callable[[Tensor], Tensor]) -> None:
    assert not any(op.kind == "activation" for op in traced(lambda: Called(call)).operations)


class Product(nn.Module):
    """A weight that is multiplied by hand, between two layers."""

    def __init__(self, multiply: Callable[[Tensor, Tensor], Tensor], *shape: int, frozen: bool = False) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 6), nn.Linear(6, 3)
        self.matrix = nn.Parameter(torch.randn(shape), requires_grad=not frozen)
        self.multiply = multiply

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.multiply(self.first(x), self.matrix))


PRODUCTS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], tuple[int, ...]]] = {
    "addmm": (lambda x, w: torch.addmm(torch.zeros(6), x, w), (6, 6)),
    "attribute": (lambda x, w: x @ w.T, (6, 6)),
    "another dtype": (lambda x, w: (x.double() @ w.double()).float(), (6, 6)),
    "experts": (lambda x, w: torch.bmm(x.view(2, 8, 6), w).reshape(16, 6), (2, 6, 6)),
}


@pytest.mark.parametrize("frozen", [False, True], ids=["trained", "frozen"])
@pytest.mark.parametrize(("multiply", "shape"), PRODUCTS.values(), ids=PRODUCTS.keys())
def test_products_with_a_parameter_are_weights(
    multiply: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...], frozen: bool
) -> None:
    trace = traced(lambda: Product(multiply, *shape, frozen=frozen))
    weights = [op for op in trace.operations if op.kind == "weights"]
    assert [op.parameter for op in weights] == ["first.weight", "matrix", "last.weight"]
    assert "matrix" in trace.used
    assert not trace.uncovered


def test_grouped_products_are_weights() -> None:
    """The experts of a mixture as transformers' models call them; the operation itself wants aligned shapes."""
    assert facts("_grouped_mm").product
    assert facts("grouped_mm").product


def test_a_product_of_two_signals_is_none() -> None:
    trace = traced(lambda: Called(lambda x: (x @ x.T) @ x))
    assert [op.kind for op in trace.operations if op.name == "matmul"] == ["other"] * 4


def test_a_memory_that_the_signal_was_written_to_is_no_weight() -> None:
    def multiply(x: Tensor, w: Tensor) -> Tensor:
        memory = w.clone()
        memory[0] = x.mean(0)
        return x @ memory

    trace = traced(lambda: Product(multiply, 6, 6))
    assert next(op for op in trace.operations if op.name == "matmul").kind == "other"


@pytest.mark.parametrize(
    "change",
    [lambda x: x.flip(0).flip(0), lambda x: x.reshape_as(x), lambda x: x.type(torch.float32), lambda x: x.roll(1)],
)
def test_what_only_moves_entries_is_walked_through(change: Callable[[Tensor], Tensor]) -> None:
    trace = traced(lambda: Called(change))
    assert [op.name for op in trace.operations] == ["linear"] * 3 + ["cross_entropy"]
    assert not trace.uncovered


def test_a_parameter_whose_dtype_is_asked_for_is_not_used() -> None:
    class Asked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.other = nn.Linear(5, 3), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x.to(self.other.weight.dtype))

    assert traced(Asked).used == {"head.weight", "head.bias"}
