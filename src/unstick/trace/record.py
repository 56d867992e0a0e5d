"""One instrumented forward and backward pass: hooks on, run, hooks off, numbers out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from ..setup import Setup
from . import statistics
from .attribution import trunk
from .kinds import ACTIVATIONS, NORMALISATIONS, OPAQUE, PRODUCTS, SHAPE_ONLY, WEIGHTED, is_inplace
from .sites import SiteCounter
from .source import caller, of_module
from .statistics import Out
from .types import Forward, Kind, Operation, Site, Trace

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
    return Recorder(setup.model).record(setup, batch, step)


@dataclass(slots=True, eq=False)
class _Call:
    """What is known of an operation before its numbers are."""

    module: str | None
    name: str
    kind: Kind
    source: str | None
    shape: tuple[int, ...]
    unit_axis: int
    parents: tuple[int, ...]
    parameter: str | None
    site: Site | None


class Recorder(TorchFunctionMode):
    """Sees every torch function that is called while it is active, and the modules that are running.

    Calls are seen by a function mode rather than by module hooks, so `torch.sigmoid(x)` counts like `nn.Sigmoid`.
    Gradients come from hooks on the nodes of the autograd graph: full backward hooks of modules break on in-place
    operations. One recorder can record many passes of one model.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._parameters = list(model.named_parameters())
        self._own_names = {id(p): name for name, p in self._parameters}
        self._fixed = [*(p for _, p in self._parameters), *model.buffers()]
        self._sites = SiteCounter(model)

    def record(self, setup: Setup, batch: Any, step: int) -> Trace:
        """See `record`."""
        self._reset()
        with self._watching():
            loss = setup.forward(batch)
        loss.backward()
        try:
            return self._trace(loss, step)
        finally:
            self._reset()  # tensors and graph are not kept

    def _reset(self) -> None:
        self._sites.reset()
        self._running: list[tuple[str | None, nn.Module]] = []
        # Tensors that do not depend on the data: parameters, buffers, and what was computed from nothing else.
        self._static: dict[int, Tensor] = {id(t): t for t in self._fixed}
        self._calls: list[_Call] = []
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
    def _watching(self) -> Iterator[None]:
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
        name = raw if raw.endswith("__") else raw.rstrip("_")
        site = self._sites.see(name, args, kwargs)
        if raw in SILENT:
            out = func(*args, **kwargs)
            if isinstance(out, Tensor):  # weight.T, x.grad
                self._follow(name, _tensors(args, kwargs), (out,))
            return out
        if is_inplace(raw, args, kwargs):
            self._forwards.flush()
        inputs = _tensors(args, kwargs)
        for t in inputs:
            if t.grad_fn is not None and t.grad_fn not in self._visible and name not in SHAPE_ONLY:
                what = f"{t.grad_fn.name()}: made by code that torch's function calls do not pass through"
                self._uncovered[what] = None
        out = func(*args, **kwargs)
        value = args[0] if raw == "__setitem__" else out
        outputs = (value,) if isinstance(value, Tensor) else tuple(_tensors((value,), {}))
        if outputs and self._follow(name, inputs, outputs) and name not in SHAPE_ONLY:
            self._add(name, inputs, outputs[0], site)
        return out

    def _follow(self, name: str, inputs: list[Tensor], outputs: tuple[Tensor, ...]) -> bool:
        """Keep track of where outputs come from; whether they carry the signal and get a gradient."""
        self._visible.update(t.grad_fn for t in outputs if t.grad_fn is not None)
        self._touched.update(self._own_names[id(t)] for t in inputs if id(t) in self._own_names)
        if all(id(t) in self._static for t in inputs) if inputs else name in CONSTANTS:
            self._static.update((id(t), t) for t in outputs)
            return False
        value = outputs[0]
        self._static.pop(id(value), None)
        node = value.grad_fn
        # A node that is known already: a function gave back what it was given.
        return node is not None and node not in self._nodes and value.is_floating_point()

    def _add(self, name: str, inputs: list[Tensor], value: Tensor, site: Site | None) -> None:
        index = len(self._calls)
        path, module = self._running[-1] if self._running else (None, None)
        own = [self._own_names[id(t)] for t in inputs if id(t) in self._own_names]
        node = value.grad_fn
        parents = self._behind(node)
        kind = self._kind(name, inputs)
        units = self._unit_axis(name, value, parents)
        source = (of_module(module) if module is not None else None) or caller()
        parameter = own[0] if own else self._sites.parameter if kind == "weights" else None
        shape = tuple(value.shape)
        self._calls.append(_Call(path, name, kind, source, shape, units, parents, parameter, site))
        self._nodes[node] = index
        if name in OPAQUE:
            self._uncovered[f"{path or name}: the steps inside {name} are not seen one by one"] = None
        if shape:
            self._measure(index, name, inputs, value, units)
        node.register_prehook(partial(self._came_back, index, value.output_nr))
        if kind == "weights" and not parents:
            self._entered(index, name, inputs)

    def _measure(self, index: int, name: str, inputs: list[Tensor], value: Tensor, units: int) -> None:
        flat = ACTIVATIONS.get(name)
        if flat is not None and flat.by_input and inputs[0] is value:
            flat = None  # overwritten
        self._forwards.add(index, Out(value, units, flat, inputs[0] if flat is not None and flat.by_input else None))

    def _entered(self, index: int, name: str, inputs: list[Tensor]) -> None:
        """Data comes in here."""
        data = next((t for t in inputs if id(t) not in self._static and t.is_floating_point() and t.dim() > 1), None)
        if data is not None:
            self._inputs.add(index, (data, 1 if name.startswith("conv") else data.dim() - 1))
            self._input_shapes[index] = tuple(data.shape)

    def _came_back(self, index: int, output: int, gradients: tuple[Tensor | None, ...]) -> None:
        gradient = gradients[output]
        if gradient is not None:
            self._backwards.add(index, gradient)

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

    def _unit_axis(self, name: str, value: Tensor, parents: tuple[int, ...]) -> int:
        """Along which axis units lie: channels of a convolution and what follows it, features of anything else."""
        last = max(0, value.dim() - 1)
        if name.startswith("conv"):
            return min(1, last)
        if name in WEIGHTED or name in PRODUCTS or name == "layer_norm":
            return last
        inherited = (self._calls[p].unit_axis for p in parents if len(self._calls[p].shape) == value.dim())
        return next(inherited, 1 if value.dim() >= 4 else last)

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

    def _trace(self, loss: Tensor, step: int) -> Trace:
        """Everything that was seen, as numbers. After the backward pass."""
        forwards, backwards = self._forwards.numbers(), self._backwards.numbers()
        operations = tuple(
            Operation(
                index=i,
                module=call.module,
                name=call.name,
                kind=call.kind,
                source=call.source,
                shape=call.shape,
                unit_axis=call.unit_axis,
                parents=call.parents,
                parameter=call.parameter,
                site=call.site,
                forward=statistics.forward(forwards[i]) if i in forwards else UNMEASURED,
                backward=statistics.backward(backwards[i]) if i in backwards else None,
            )
            for i, call in enumerate(self._calls)
        )
        node = loss.grad_fn
        ends = (self._nodes[node],) if node in self._nodes else self._behind(node)
        inputs = [statistics.input_signal(self._input_shapes[i], row) for i, row in self._inputs.numbers().items()]
        for name, parameter in self._parameters:
            if parameter.grad is not None and name not in self._touched:
                self._uncovered[f"{name}: got a gradient through a call that was not seen"] = None
        return Trace(
            step=step,
            loss=loss.item(),
            operations=operations,
            path=trunk(operations, ends),
            inputs=tuple(inputs),
            parameters=(),
            uncovered=tuple(self._uncovered),
        )


def _tensors(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The tensors among the arguments of a call, one level into lists and tuples (cat, stack, gru)."""
    found: list[Tensor] = []
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [item for item in value if isinstance(item, Tensor)]
    return found
