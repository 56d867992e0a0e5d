"""Remedies for what comes out of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..ends import last_shaping, shapes
from ..errors import NotApplicable, RemedyError
from ..learning import buffers_kept
from ..observation import Observation
from ..setup import Anatomy, Setup
from ..state import preserved
from ..trace.calls import called, is_inplace
from .base import Remedy

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "sigmoid": torch.sigmoid,
    "softmax": lambda x: torch.softmax(x, _classes(x)),
    "log-softmax": lambda x: torch.log_softmax(x, _classes(x)),
}


def _classes(x: Tensor) -> int:
    """The axis of the classes, as torch's own losses have it."""
    return min(1, x.dim() - 1)


@dataclass(frozen=True)
class Output(Remedy):
    """Replaces the activation that the model ends in, if it ends in one, and leaves everything before it as it is."""

    names = ("output",)
    title = "another function at the output, or none: output(linear), (sigmoid), (softmax), (log-softmax)"
    reading = "Bishop 2006, Pattern Recognition and Machine Learning, section 5.2"
    examples = ("output(linear)", "output(sigmoid)", "output(softmax)", "output(log-softmax)")

    function: str

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise RemedyError(f"output takes one of {', '.join(FUNCTIONS)}, not {self.function!r}")

    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        _outputs(setup, anatomy)
        last = last_shaping(anatomy.trace)
        before = "linear" if last is None else last.name.replace("_", "-")
        if last is None and self.function == "linear":
            raise NotApplicable("the output is linear already: no activation comes after the last weights")
        unshaped = Unshaped()
        setup.contexts.append(unshaped)
        function = FUNCTIONS[self.function]
        setup.model.register_forward_hook(lambda _m, _args, out: function(unshaped.before(out)))
        setup.changes.append(f"output: {before} -> {self.function}")

    def lines(self, seen: Observation) -> tuple[str | None, ...]:
        last = last_shaping(seen.traces[0])
        return () if last is None else (last.source,)

    def __str__(self) -> str:
        return f"{self.names[0]}({self.function})"


class Unshaped(TorchFunctionMode):
    """Remembers what the latest activation was given, so that it can be left out once it turns out to be the last.

    Changes of shape after it (`squeeze`, `flatten`) are made on what is remembered as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self._before: dict[int, tuple[Tensor, Tensor]] = {}  # id of an output -> (it, what it would be)

    def __call__(self) -> Self:
        return self

    def before(self, out: Tensor) -> Tensor:
        """`out` as it would be without the last activation; itself, where none came last."""
        return self._before.get(id(out), (out, out))[1]

    def forget(self) -> None:
        """The pass is over; what is remembered would keep its graph alive."""
        self._before.clear()

    def __exit__(self, *error: Any) -> None:
        self.forget()
        super().__exit__(*error)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        raw = getattr(func, "__name__", "")
        function = called(raw, args, kwargs)
        given = args[0] if args else kwargs.get("input")
        if shapes(function.name) and isinstance(given, Tensor):
            kept = given.clone() if is_inplace(raw, args, kwargs) else given
            out = func(*args, **kwargs)
            self._before = {id(out): (out, kept)}
            return out
        out = func(*args, **kwargs)
        if function.hidden and isinstance(out, Tensor) and id(given) in self._before and out is not given:
            self._before[id(out)] = (out, func(self._before[id(given)][1], *args[1:], **kwargs))
        return out


@dataclass(frozen=True)
class RescaleOutput(Remedy):
    """Multiplies the output by the targets' standard deviation and adds their mean, feature by feature.

    The network then has to give numbers of mean 0 and variance 1, as if the targets were standardised, while the loss
    keeps its unit. The gradient is that of the loss in standardised units: for the squared error it would otherwise
    grow by the variance, and a step of plain gradient descent with it. By how much is measured, as the ratio of the
    losses of the mean answer in both units.
    """

    names = ("rescale-output", "standardize-targets", "standardise-targets")
    title = "the output times the targets' deviation plus their mean: as if the targets were standardised"
    reading = "LeCun, Bottou, Orr and Müller 1998, Efficient BackProp, doi:10.1007/3-540-49430-8_2"
    examples = ("rescale-output",)

    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        pairs = _outputs(setup, anatomy)
        if not all(isinstance(t, Tensor) and t.is_floating_point() and t.shape == o.shape for o, t in pairs):
            raise NotApplicable("the targets are not numbers of the same shape as the outputs")
        mean, deviation = _spread([target for _, target in pairs])
        factor = _ratio(setup, pairs[0][1], mean, deviation)

        def rescale(_m: nn.Module, _args: Any, out: Tensor) -> Tensor:
            if out.requires_grad:
                out = out * 1.0  # a hook on a tensor of our own
                out.register_hook(lambda gradient: gradient * factor)
            return out * deviation.to(out) + mean.to(out)

        setup.model.register_forward_hook(rescale)
        setup.changes.append(f"output times {deviation.mean().item():.3g} plus {mean.mean().item():.3g}")

    def __str__(self) -> str:
        return self.names[0]


def _spread(targets: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature: the second axis of images, the last axis of anything else."""
    dims = targets[0].dim()
    axis = 0 if dims < 2 else 1 if dims >= 4 else dims - 1
    rows = torch.cat([t.movedim(axis, -1).reshape(-1, t.shape[axis] if dims > 1 else 1) for t in targets]).double()
    shape = [-1 if i == axis and dims > 1 else 1 for i in range(dims)]
    mean, deviation = rows.mean(0), rows.std(0, correction=0)
    varies = deviation > torch.finfo(targets[0].dtype).eps * mean.abs()
    return mean.reshape(shape), torch.where(varies, deviation, 1.0).reshape(shape)


def _ratio(setup: Setup, target: Tensor, mean: Tensor, deviation: Tensor) -> float:
    """The loss of the mean answer in standardised units, as a multiple of that in the targets' own."""
    assert setup.criterion is not None
    standard = (target - mean.to(target)) / deviation.to(target)
    with torch.no_grad(), setup.active():
        own = setup.criterion(mean.to(target).expand_as(target).contiguous(), target).item()
        other = setup.criterion(torch.zeros_like(target), standard).item()
    return other / own if own > 0 and other > 0 else 1.0


@dataclass(frozen=True)
class MatchShape(Remedy):
    """Gives each sample's output the shape of its target: (n, 1) becomes (n,), where the targets are (n,)."""

    names = ("match-shape",)
    title = "outputs in the shape of the targets, so that each meets its own target only"
    reading = "PyTorch 2024, Broadcasting semantics, pytorch.org/docs/stable/notes/broadcasting.html"
    examples = ("match-shape",)

    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        out, target = _outputs(setup, anatomy)[0]
        if not isinstance(target, Tensor) or out.numel() != target.numel() or out.shape == target.shape:
            raise NotApplicable("outputs and targets have the same shape, or not the same number of entries")
        each = tuple(target.shape[1:])
        setup.model.register_forward_hook(lambda _m, _args, out: out.reshape(len(out), *each))
        setup.changes.append(f"output: {_shape(out)} -> {_shape(target)}")

    def __str__(self) -> str:
        return self.names[0]


def _shape(t: Tensor) -> str:
    return str(("n", *t.shape[1:])).replace("'", "")


def _outputs(setup: Setup, anatomy: Anatomy) -> list[tuple[Tensor, Any]]:
    """The model's outputs on the batches, with their targets. Raises NotApplicable where they are no tensors."""
    if setup.predict is None:
        raise NotApplicable("the case computes its own loss, so the outputs cannot be reached")
    with preserved(), buffers_kept(setup.model), torch.no_grad(), setup.active():
        pairs = [setup.predict(setup.model, batch) for batch in anatomy.batches]
    if not all(isinstance(out, Tensor) and out.dim() for out, _ in pairs):
        raise NotApplicable("the model's output is not one tensor with the samples first")
    return pairs
