"""What a script's training step computes between its data and its loss, call by call, so that it can be computed again
with other weights, on a copy, without the script.

Recorded are the calls of the model (as one each, whatever goes on inside), and the torch functions that the script
calls on what came of them. What these read from elsewhere (inputs, targets, masks) are the leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _global_forward_hooks_with_kwargs, register_module_forward_hook
from torch.overrides import TorchFunctionMode

from ..batches import map_tensors, tensors
from .gates import Calls


class Made(NamedTuple):
    """The `output`-th tensor of what a step of the tape gave."""

    step: int
    output: int


class Leaf(NamedTuple):
    """The `place`-th tensor that came from elsewhere."""

    place: int


class Own(NamedTuple):
    """A parameter or buffer of the model."""

    name: str


Source = Made | Leaf | Own


@dataclass(frozen=True)
class Step:
    """One call. call: the path of a module of the model, another module (a loss), or a function. arguments: (args,
    kwargs) as they were, without their tensors. sources: where those come from, in order. casting: the device and dtype
    of automatic mixed precision, if it was on."""

    call: str | nn.Module | Callable[..., Any]
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    sources: tuple[Source, ...]
    casting: tuple[str, torch.dtype] | None

    @property
    def of_model(self) -> bool:
        return isinstance(self.call, str)

    def run(self, model: nn.Module | None, given: Sequence[Tensor]) -> Any:
        """The call, with these tensors in the places of its own."""
        rest = iter(given)
        args, kwargs = map_tensors(self.arguments, lambda _: next(rest))
        call = self.call
        if isinstance(call, str):
            assert model is not None
            call = model.get_submodule(call)
        with _cast(self.casting):
            out = call(*args, **kwargs)
        return args[0] if call is Tensor.__setitem__ else out


def _cast(casting: tuple[str, torch.dtype] | None) -> AbstractContextManager[Any]:
    return nullcontext() if casting is None else torch.autocast(casting[0], dtype=casting[1])


@dataclass(frozen=True)
class Program:
    """The steps from leaves to loss, in order. loss: where the loss is."""

    steps: tuple[Step, ...]
    loss: Made

    @property
    def signature(self) -> tuple[Any, ...]:
        """Equal for two programs of which one does what the other does, with other tensors in the place of its own.

        Whole numbers (lengths, sizes) count, and so does which object it is that a call is given; weights of a part of
        the loss, which are no whole numbers, may differ.
        """
        return tuple(
            (
                s.call if isinstance(s.call, str) else getattr(s.call, "__name__", type(s.call)),
                s.sources,
                _fixed(s.arguments),
            )
            for s in self.steps
        )

    @property
    def differentiates(self) -> bool:
        """Whether there are gradients in the loss (a penalty on them), so that it cannot be computed without."""
        return any(step.call is torch.autograd.grad for step in self.steps)

    def run(
        self,
        model: nn.Module | None,
        leaves: Sequence[Tensor],
        given: Mapping[Made, Tensor] | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> dict[Made, Tensor]:
        """What steps `start` to `stop` make of `leaves`, and of what is `given` of the steps before. model: None where
        these steps do without."""
        made = dict(given or {})
        state = {} if model is None else state_of(model)
        with torch.enable_grad() if self.differentiates else nullcontext():
            for number, step in enumerate(self.steps[start:stop], start):
                found = [
                    made[s] if isinstance(s, Made) else leaves[s.place] if isinstance(s, Leaf) else state[s.name]
                    for s in step.sources
                ]
                for output, value in enumerate(tensors(step.run(model, found))):
                    made[Made(number, output)] = value
        return made

    def loss_of(self, model: nn.Module, leaves: Sequence[Tensor]) -> Tensor:
        return self.run(model, leaves)[self.loss]


def _fixed(value: Any) -> Any:
    """What of the arguments of a call is the same whatever the batch, to be compared."""
    if isinstance(value, Tensor | float):
        return type(value)
    if isinstance(value, Mapping):
        return tuple((key, _fixed(v)) for key, v in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_fixed, value))
    if isinstance(value, slice):
        return value.start, value.stop, value.step
    return value if isinstance(value, _PLAIN) else id(value)


_PLAIN = (int, str, bytes, type(None), type(...), torch.dtype, torch.device, torch.memory_format, type)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


class Tape(TorchFunctionMode):
    """Records one step. paths: of the model's modules (and of what wraps them) by id."""

    def __init__(self, model: nn.Module, paths: Mapping[int, str], calls: Calls) -> None:
        super().__init__()
        self._paths, self._calls = paths, calls
        self._own = {id(t): name for name, t in state_of(model).items()}
        self.reset()

    def reset(self) -> None:
        self._steps: list[Step] = []
        self._made: dict[int, Made] = {}
        self._leaves: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no id is given twice
        self.leaves: list[Tensor] = []

    def listen(self, stack: ExitStack) -> None:
        """Hear of modules that have run until `stack` ends. After `Calls.listen`."""
        handle = register_module_forward_hook(self._ran, with_kwargs=True)
        stack.callback(_global_forward_hooks_with_kwargs.pop, handle.id, None)  # which `remove` leaves there
        stack.callback(handle.remove)

    def _ran(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        # The hook that counts has run before this one: at depth 0 this module was the outermost.
        if self._calls.depth or self._calls.asleep or not torch.is_grad_enabled():
            return
        path = self._paths.get(id(module))
        self._add(module if path is None else path, args, kwargs, output, whole=path is not None)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not self._calls.depth and func not in _GRADIENT:
            self._add(func, args, kwargs or {}, out, whole=False)
        return out

    def _add(self, call: Any, args: Any, kwargs: Mapping[str, Any], output: Any, whole: bool) -> None:
        """A call counts where it is the model's, or reads the model's parameters or what came of either.

        Whatever goes wrong here must not go wrong in the script: then nothing is recorded.
        """
        try:
            with torch._C.DisableTorchFunction():  # the script's modes are to see its own calls only
                self._recorded(call, args, kwargs, output, whole)
        except Exception:
            self.reset()

    def _recorded(self, call: Any, args: Any, kwargs: Mapping[str, Any], output: Any, whole: bool) -> None:
        given = tensors((args, dict(kwargs)))
        if not (whole or any(id(t) in self._made or id(t) in self._own for t in given)):
            return
        outputs = tensors((args[0] if call is Tensor.__setitem__ else output,))
        if not outputs:
            return
        sources = tuple(self._source(t) for t in given)
        arguments = map_tensors((tuple(args), dict(kwargs)), lambda t: _HERE)
        number = len(self._steps)
        self._steps.append(Step(call, arguments, sources, _casting(given)))
        for place, t in enumerate(outputs):
            self._made[id(t)] = Made(number, place)
        self._kept.append((given, outputs))

    def _source(self, t: Tensor) -> Source:
        if (made := self._made.get(id(t))) is not None:
            return made
        if (name := self._own.get(id(t))) is not None:
            return Own(name)
        index = self._leaves.get(id(t))
        if index is None:
            index = self._leaves[id(t)] = len(self.leaves)
            self.leaves.append(t)
        return Leaf(index)

    def program(self, loss: Tensor) -> tuple[Program, list[Tensor]] | None:
        """What leads to `loss`, and the leaves that it reads; None where it did not come of recorded calls."""
        end = self._made.get(id(loss))
        if end is None:
            return None
        needed = {end.step}
        for number in range(end.step, -1, -1):
            if number in needed:
                needed |= {s.step for s in self._steps[number].sources if isinstance(s, Made)}
        place = {old: new for new, old in enumerate(sorted(needed))}
        read = sorted({s.place for n in needed for s in self._steps[n].sources if isinstance(s, Leaf)})
        seat = {old: new for new, old in enumerate(read)}

        def moved(source: Source) -> Source:
            if isinstance(source, Made):
                return Made(place[source.step], source.output)
            return Leaf(seat[source.place]) if isinstance(source, Leaf) else source

        steps = tuple(
            Step(s.call, s.arguments, tuple(map(moved, s.sources)), s.casting)
            for s in (self._steps[n] for n in sorted(needed))
        )
        return Program(steps, Made(place[end.step], end.output)), [self.leaves[i] for i in read]


_GRADIENT = frozenset(getattr(Tensor.grad, name) for name in ("__get__", "__set__"))
"""Read and written by optimizers, for each parameter, with nothing in it that leads to the loss."""

_HERE = torch.empty(0)
"""Stands for a tensor in the arguments of a step."""


def _casting(given: Sequence[Tensor]) -> tuple[str, torch.dtype] | None:
    device = given[0].device.type if given else "cpu"
    if not torch.is_autocast_enabled(device):
        return None
    return device, torch.get_autocast_dtype(device)
