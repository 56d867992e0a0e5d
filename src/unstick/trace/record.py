"""One instrumented forward and backward pass: hooks on, run, hooks off, numbers out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from ..setup import Setup
from . import statistics
from .attribution import trunk
from .kinds import (
    ACTIVATIONS,
    NEEDS_INPUT,
    NORMALISATIONS,
    OPAQUE,
    PRODUCTS,
    SHAPE_ONLY,
    WEIGHTED,
    is_inplace,
)
from .sites import SiteCounter
from .source import caller, of_module
from .types import Forward, Kind, Operation, Trace

# Asked of tensors all the time, and never part of the signal.
SILENT = frozenset("__get__ __set__ dim size numel is_contiguous stride item tolist __len__ register_hook".split())
# What these make is the same for every batch; other tensors that appear from nowhere are taken for data.
CONSTANTS = frozenset("zeros ones full empty arange linspace logspace eye".split())
UNMEASURED = Forward(float("nan"), float("nan"), float("nan"), float("nan"))


def record(setup: Setup, batch: Any, step: int = 0) -> Trace:
    """Run one forward and backward pass of `setup` on `batch` and return what was measured.

    Gradients are left on the model's parameters (they must be clear before); no optimizer step is taken, and
    `parameters` of the trace is empty. Compiled modules run in eager mode meanwhile, since what they run is not
    visible otherwise. Raises whatever the user's code raises.
    """
    recorder = Recorder(setup.model)
    with recorder.watching():
        loss = setup.forward(batch)
    loss.backward()
    return recorder.trace(loss, step)


class Recorder(TorchFunctionMode):
    """Sees every torch function that is called while it is active, and the modules that are running.

    Calls are seen by a function mode rather than by module hooks, so `torch.sigmoid(x)` counts like `nn.Sigmoid`.
    Gradients come from hooks on the output tensors: those of full backward hooks break on in-place operations.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model
        self._paths = {id(module): path for path, module in model.named_modules(remove_duplicate=True)}
        self._parameter_names = {id(p): name for name, p in model.named_parameters()}
        self._sites = SiteCounter(model)
        self._running: list[tuple[str | None, nn.Module]] = []
        # Tensors that do not depend on the data: parameters, buffers, and what was computed from nothing else.
        self._static: dict[int, Tensor] = {id(t): t for t in (*model.parameters(), *model.buffers())}
        self._operations: list[Operation] = []
        self._nodes: dict[Any, int] = {}  # node of the autograd graph -> operation that made it
        self._visible: set[Any] = set()  # every node that a call we saw has made
        self._touched: set[str] = set()
        self._uncovered: dict[str, None] = {}  # as an ordered set
        self._forwards = statistics.forward_collector()
        self._backwards = statistics.backward_collector()
        self._inputs = statistics.input_collector()
        self._input_shapes: dict[int, tuple[int, ...]] = {}

    # -- seeing ------------------------------------------------------------------------------------------------------

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Active for one forward pass."""
        handles = []
        try:
            handles.append(register_module_forward_pre_hook(self._enter))
            handles.append(register_module_forward_hook(self._leave, always_call=True))
            with torch.compiler.set_stance("force_eager"), self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, module: nn.Module, _: Any) -> None:
        self._running.append((self._paths.get(id(module)), module))

    def _leave(self, *_: Any) -> None:
        self._running.pop()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        raw = getattr(func, "__name__", "")
        if raw in SILENT:
            return func(*args, **kwargs)
        if is_inplace(raw, args, kwargs):
            self._forwards.flush()
        name = raw if raw.endswith("__") else raw.rstrip("_")
        site = self._sites.see(name, args, kwargs)
        parents = [t for t in _tensors(args, kwargs) if t.requires_grad]
        foreign = [t.grad_fn for t in parents if t.grad_fn is not None and t.grad_fn not in self._visible]
        out = func(*args, **kwargs)
        value = args[0] if raw == "__setitem__" else out
        outputs = (value,) if isinstance(value, Tensor) else tuple(_tensors((value,), {}))
        if outputs:
            self._saw(name, args, kwargs, outputs, site, foreign)
        return out

    def _saw(
        self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], outputs: tuple[Tensor, ...], site: Any,
        foreign: list[Any],
    ) -> None:  # fmt: skip
        inputs = list(_tensors(args, kwargs))
        own = [self._parameter_names[id(t)] for t in inputs if id(t) in self._parameter_names]
        self._touched.update(own)
        self._visible.update(t.grad_fn for t in outputs if t.grad_fn is not None)
        if all(id(t) in self._static for t in inputs) if inputs else name in CONSTANTS:
            self._static.update((id(t), t) for t in outputs)
            return
        value = outputs[0]
        self._static.pop(id(value), None)
        if name in SHAPE_ONLY or not value.requires_grad or not value.is_floating_point():
            return
        if value.grad_fn is None or value.grad_fn in self._nodes:
            return  # a leaf, or a function that gave back what it was given
        for node in foreign:
            self._uncovered[f"{node.name()}: made by code that torch's function calls do not pass through"] = None
        self._add(name, inputs, own, value, site)

    def _add(self, name: str, inputs: list[Tensor], own: list[str], value: Tensor, site: Any) -> None:
        index = len(self._operations)
        path, module = self._running[-1] if self._running else (None, None)
        parents = self._behind(value.grad_fn)
        kind = self._kind(name, inputs)
        units = _unit_axis(name, value, [self._operations[p] for p in parents])
        source = (of_module(module) if module is not None else None) or caller()
        parameter = own[0] if own else self._sites.parameter if kind == "weights" else None
        self._operations.append(
            Operation(
                index, path, name, kind, source, tuple(value.shape), units, parents, parameter, site, UNMEASURED, None
            )
        )
        self._nodes[value.grad_fn] = index
        if name in OPAQUE:
            self._uncovered[f"{path or name}: the steps inside {name} are not seen one by one"] = None
        if value.dim():
            slope = name if kind == "activation" and not (self._overwrote(inputs, value) and name in NEEDS_INPUT) else None
            x = inputs[0].detach() if slope in NEEDS_INPUT else None
            self._forwards.add(index, (value.detach(), slope, units, x))
        value.register_hook(partial(self._came_back, index))
        if kind == "weights" and not parents:
            self._entered(index, name, inputs)

    @staticmethod
    def _overwrote(inputs: list[Tensor], value: Tensor) -> bool:
        return bool(inputs) and inputs[0] is value

    def _entered(self, index: int, name: str, inputs: list[Tensor]) -> None:
        data = next((t for t in inputs if id(t) not in self._static and t.is_floating_point() and t.dim() > 1), None)
        if data is not None:
            self._inputs.add(index, (data.detach(), 1 if name.startswith("conv") else data.dim() - 1))
            self._input_shapes[index] = tuple(data.shape)

    def _came_back(self, index: int, gradient: Tensor) -> None:
        self._backwards.add(index, gradient.detach())

    def _kind(self, name: str, inputs: list[Tensor]) -> Kind:
        if name in ACTIVATIONS:
            return "activation"
        if name in NORMALISATIONS:
            return "normalisation"
        if name in WEIGHTED:
            return "weights"
        if name in PRODUCTS and any(id(t) in self._static and t.requires_grad for t in inputs):
            return "weights"
        return "other"

    def _behind(self, node: Any) -> tuple[int, ...]:
        """The nearest recorded operations behind a node of the autograd graph."""
        found: dict[int, None] = {}
        seen = {node}
        todo = [node]
        while todo:
            for following, _ in todo.pop().next_functions:
                if following is None or following in seen:
                    continue
                seen.add(following)
                if following in self._nodes:
                    found[self._nodes[following]] = None
                else:
                    todo.append(following)
        return tuple(found)

    # -- numbers -----------------------------------------------------------------------------------------------------

    def trace(self, loss: Tensor, step: int) -> Trace:
        """Everything that was seen, as numbers. Call after the backward pass."""
        forwards, backwards = self._forwards.numbers(), self._backwards.numbers()
        operations = [
            replace(
                op,
                forward=statistics.forward(forwards[i]) if i in forwards else UNMEASURED,
                backward=statistics.backward(backwards[i]) if i in backwards else None,
            )
            for i, op in enumerate(self._operations)
        ]
        node = loss.grad_fn
        ends = (self._nodes[node],) if node in self._nodes else self._behind(node)
        inputs = [statistics.input_signal(self._input_shapes[i], row) for i, row in self._inputs.numbers().items()]
        for name, parameter in self._model.named_parameters():
            if parameter.grad is not None and name not in self._touched:
                self._uncovered[f"{name}: got a gradient through a call that was not seen"] = None
        return Trace(
            step=step,
            loss=loss.item(),
            operations=tuple(operations),
            path=trunk(operations, ends),
            inputs=tuple(inputs),
            parameters=(),
            uncovered=tuple(self._uncovered),
        )


def _tensors(args: Iterable[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """The tensors among the arguments of a call, one level into lists and tuples (cat, stack, gru)."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from (item for item in value if isinstance(item, Tensor))


def _unit_axis(name: str, value: Tensor, parents: list[Operation]) -> int:
    """Along which axis units lie: channels of a convolution and what follows it, features of anything else."""
    if value.dim() < 2:
        return max(0, value.dim() - 1)
    if name.startswith("conv"):
        return 1
    if name not in WEIGHTED:
        for op in parents:
            if len(op.shape) == value.dim():
                return op.unit_axis
    return 1 if value.dim() >= 4 and name not in WEIGHTED and name not in PRODUCTS and name != "layer_norm" else value.dim() - 1
