"""One instrumented forward and backward pass: hooks on, run, hooks off, numbers out."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from ..setup import Setup
from . import signals
from .attribution import trunk
from .calls import Function, called, is_inplace
from .kinds import OPAQUE, Flat
from .operations import Call, norms_of, operations
from .signals import Slopes
from .sites import SiteCounter, tensors_in
from .source import caller, of_module
from .statistics import fetch
from .types import Site, Trace
from .workspace import Workspace

# What these make is the same for every batch; other tensors that appear from nowhere are taken for data.
CONSTANTS = frozenset(["zeros", "ones", "full", "empty", "arange", "linspace", "logspace", "eye"])
Place = tuple[str | None, str | None, nn.Module | None]  # path and source of a module, and the module to keep its id
OUTSIDE: Place = (None, None, None)


def record(setup: Setup, batch: Any, step: int = 0) -> Trace:
    """Run one forward and backward pass of `setup` on `batch` and return what was measured.

    Gradients are left on the model's parameters (they must be clear before); no optimizer step is taken, and
    `parameters` of the trace is empty. Compiled modules run in eager mode meanwhile, since what they run is not
    visible otherwise. Raises whatever the user's code raises.
    """
    return Recorder(setup.model).record(setup, batch, step)


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
        self._fixed = [*(p for _, p in self._parameters), *model.buffers()]
        self._sites = SiteCounter(model)
        self._norms = norms_of(model)
        self.workspace = Workspace(sum(p.numel() for _, p in self._parameters))
        self.reset()

    def record(self, setup: Setup, batch: Any, step: int) -> Trace:
        """See `record`."""
        self.reset()
        with self.listening(), self:
            loss = setup.forward(batch)
        loss.backward()
        try:
            return self.trace(loss, step)
        finally:
            self.reset()  # tensors and graph are not kept

    def reset(self) -> None:
        """Forget what was seen."""
        self._sites.reset()
        self._running: list[Place] = []
        self._places: dict[int, Place] = {}
        # Tensors that do not depend on the data: parameters, buffers, and what was computed from nothing else.
        self._static: dict[int, Tensor] = {id(t): t for t in self._fixed}
        # Of parameters, and of what was computed from nothing but them (a transpose, a copy in another dtype).
        self._names = {id(p): name for name, p in self._parameters}
        self._calls: list[Call] = []
        self._nodes: dict[Any, int] = {}  # node of the autograd graph -> operation that made it
        self._visible: set[Any] = set()  # every node that a call we saw has made
        self._touched: set[str] = set()
        # Tensors that trainable parameters have made, but through which no gradient goes back to them.
        self._cut: dict[int, Tensor] = {}
        self._uncovered: dict[str, None] = {}  # as an ordered set
        self._forwards = signals.forward_collector(self.workspace)
        self._flats = signals.flat_collector(self.workspace)
        self._backwards = signals.backward_collector(self.workspace)
        self._inputs = signals.input_collector()
        self._input_shapes: dict[int, tuple[int, ...]] = {}

    # -- seeing ------------------------------------------------------------------------------------------------------

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Know which modules are running. Calls are seen while the recorder itself is entered, too."""
        handles = []
        try:
            handles.append(register_module_forward_pre_hook(self.enter))
            handles.append(register_module_forward_hook(self._leave, always_call=True))
            with torch.compiler.set_stance("force_eager"):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def enter(self, module: nn.Module, _: Any = None) -> None:
        """A module begins to run. Called by a hook, or for one that had begun before we listened."""
        place = self._places.get(id(module))
        if place is None:
            place = self._places[id(module)] = (self._paths.get(id(module)), of_module(module), module)
        self._running.append(place)

    def _leave(self, *_: Any) -> None:
        if self._running:  # it may have been entered before we listened
            self._running.pop()

    # What follows runs once for each torch function call, between operations of the network that fill the cache with
    # other things, so it is written for speed: facts that depend on a name alone are looked up, inputs walked once.

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        seen = called(getattr(func, "__name__", ""), args, kwargs)
        inputs = tensors_in(args, kwargs)
        site = self._sites.see(seen.name, inputs)
        if (kwargs or seen.maybe_inplace) and is_inplace(seen.raw, args, kwargs):
            self._forwards.flush()
            self._flats.flush()
        # Before the call, since one in place gives its input another node of the graph.
        signal, parents, own = self._look(seen, inputs)
        out = func(*args, **kwargs)
        value = args[0] if seen.raw == "__setitem__" else out
        outputs = (value,) if isinstance(value, Tensor) else () if seen.silent else tuple(tensors_in((value,), {}))
        if outputs:
            node = self._made(seen, outputs, signal, own)
            severed = signal and self._severs(inputs, outputs)
            if node is not None and not seen.hidden:
                self._add(seen, inputs, outputs[0], node, parents, own, site, severed)
        return out

    def _look(self, seen: Function, inputs: list[Tensor]) -> tuple[bool, tuple[int, ...], str | None]:
        """Whether what is made from these inputs depends on the data, the recorded operations that made them, and the
        name of the first parameter that is, or has made, one of them."""
        signal = not inputs and seen.name not in CONSTANTS
        first_own = None
        parents: dict[int, None] = {}  # as an ordered set
        for t in inputs:
            if id(t) in self._static:
                if (own := self._names.get(id(t))) is not None:
                    if not seen.silent:  # reading its shape is not using it
                        self._touched.add(own)
                    first_own = first_own or own
                continue
            signal = True
            if seen.hidden or (node := t.grad_fn) is None:
                continue
            if (made_by := self._nodes.get(node)) is not None:
                parents[made_by] = None
            else:
                parents.update(dict.fromkeys(self._behind(node)))
                if node not in self._visible:
                    what = f"{node.name()}: made by code that torch's function calls do not pass through"
                    self._uncovered[what] = None
        return signal, tuple(parents), first_own

    def _made(self, seen: Function, outputs: tuple[Tensor, ...], signal: bool, own: str | None) -> Any:
        """Keep track of where outputs come from; the node of the first if it carries the signal and gets a gradient."""
        node = None
        for t in reversed(outputs):  # so that it ends with the node of the first
            if (node := t.grad_fn) is not None:
                self._visible.add(node)
            if not signal:
                self._static[id(t)] = t
                if own is not None:
                    self._names[id(t)] = own
        if not signal:
            return None
        value = outputs[0]
        if self._static.pop(id(value), None) is not None:  # the signal has been written into it
            self._names.pop(id(value), None)
        if node is None or node in self._nodes:  # known already: a function gave back what it was given
            return None
        if value.is_floating_point():
            return node
        if value.is_complex() and not seen.hidden:
            self._uncovered[f"{seen.name}: complex numbers are not measured"] = None
        return None

    def _severs(self, inputs: list[Tensor], outputs: tuple[Tensor, ...]) -> bool:
        """Whether an input is cut off from the parameters that made it; so is an output that carries no gradient."""
        severed = bool(self._cut) and any(id(t) in self._cut for t in inputs)
        if severed or any(t.requires_grad for t in inputs):
            self._cut.update({id(t): t for t in outputs if not t.requires_grad})
        return severed

    def _add(
        self,
        seen: Function,
        inputs: list[Tensor],
        value: Tensor,
        node: Any,
        parents: tuple[int, ...],
        own: str | None,
        site: Site | None,
        severed: bool,
    ) -> None:
        index, name = len(self._calls), seen.name
        path, source, _ = self._running[-1] if self._running else OUTSIDE
        kind = "weights" if seen.product and own is not None else seen.kind
        shape = tuple(value.shape)
        units = self._unit_axis(seen, len(shape), parents)
        parameter = self._sites.parameter if own is None and kind == "weights" else own
        source = source or caller()
        dtype = _name_of(value.dtype)
        self._calls.append(Call(path, name, kind, source, shape, units, parents, parameter, site, dtype, severed))
        self._nodes[node] = index
        if name in OPAQUE:
            self._uncovered[f"{path or name}: the steps inside {name} are not seen one by one"] = None
        if shape:
            self._measure(index, seen.flat, inputs, value, units)
        node.register_prehook(functools.partial(self._came_back, index, value.output_nr))
        if kind == "weights" and not parents:
            self._entered(index, name, inputs)

    def _measure(self, index: int, flat: Flat | None, inputs: list[Tensor], value: Tensor, units: int) -> None:
        self._forwards.add(index, value)
        if flat is None:
            return
        if not flat.by_input:
            self._flats.add(index, Slopes(value, units, flat))
        elif inputs[0] is not value:  # else it has been overwritten
            self._flats.add(index, Slopes(inputs[0], units, flat))

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

    def _unit_axis(self, seen: Function, dimensions: int, parents: tuple[int, ...]) -> int:
        """Along which axis units lie: channels of a convolution and what follows it, features of anything else."""
        if seen.units is not None:
            return max(0, min(seen.units, dimensions - 1))
        for p in parents:
            if len(self._calls[p].shape) == dimensions:
                return self._calls[p].unit_axis
        return 1 if dimensions >= 4 else max(0, dimensions - 1)

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
        """Everything that was seen since the `reset`, as numbers. After the backward pass from `loss`."""
        collectors = (self._forwards, self._flats, self._backwards, self._inputs)
        end = [([0], loss.detach().reshape(1, 1))]
        ends, forwards, flats, backwards, data = fetch(end, *(c.measured() for c in collectors))
        found = operations(self._calls, self._norms, forwards, flats, backwards)
        node = loss.grad_fn
        last = (self._nodes[node],) if node in self._nodes else () if node is None else self._behind(node)
        inputs = [signals.input_signal(self._input_shapes[i], row) for i, row in data.items()]
        for name, parameter in self._parameters:
            if parameter.grad is not None and name not in self._touched:
                self._uncovered[f"{name}: got a gradient through a call that was not seen"] = None
        return Trace(
            step=step,
            loss=ends[0][0],
            operations=found,
            path=trunk(found, last),
            inputs=tuple(inputs),
            parameters=(),
            uncovered=tuple(self._uncovered),
            used=frozenset(self._touched),
        )


@functools.cache
def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
