"""One instrumented forward and backward pass: hooks on, run, hooks off, numbers out."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

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


class Cut(NamedTuple):
    """A tensor through which no gradient goes back to the `parameters` that made it, as far as these are not known
    already. line: of the user's source, where that is so since."""

    tensor: Tensor
    line: str | None
    parameters: tuple[str, ...] = ()


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
        self._cut: dict[int, Cut] = {}
        self._without: tuple[int, str | None] | None = None  # depth and line of the module that began without gradients
        self._uncovered: dict[tuple[Any, str], None] = {}  # (node of the graph, what is to be said of it), in order
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
        if self._without is None and not torch.is_grad_enabled():
            self._without = len(self._running), caller()

    def _leave(self, module: nn.Module, _: Any, output: Any) -> None:
        if self._without is not None and self._without[0] == len(self._running):
            self._cut_off(module, output, self._without[1])
            self._without = None
        if self._running:  # it may have been entered before we listened
            self._running.pop()

    def _cut_off(self, module: nn.Module, output: Any, line: str | None) -> None:
        """What a module has made without gradients, be it out of our sight."""
        with torch._C.DisableTorchFunction():  # this is no call of the program's
            own = tuple(name for p in module.parameters() if p.requires_grad and (name := self._names.get(id(p))))
            if own:
                self._cut.update({id(t): Cut(t, line, own) for t in tensors_in((output,), {}) if not t.requires_grad})

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
            severed = self._severed(inputs, outputs) if signal else None
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
                    self._uncovered[node, what] = None
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
            self._uncovered[node, f"{seen.name}: complex numbers are not measured"] = None
        return None

    def _severed(self, inputs: list[Tensor], outputs: tuple[Tensor, ...]) -> Cut | None:
        """The first input that is cut off from the parameters that made it; an output that carries no gradient is cut
        off, too, where that input was, or here."""
        severed = None
        if self._cut:
            read = (self._cut.get(id(t)) for t in inputs if not t.requires_grad)
            if (severed := next(filter(None, read), None)) is not None:
                self._touched.update(severed.parameters)
        if severed is not None or any(t.requires_grad for t in inputs):
            for t in outputs:
                if not t.requires_grad:
                    self._cut[id(t)] = Cut(t, *(severed or Cut(t, self._line_of_cut()))[1:])
        return severed

    def _line_of_cut(self) -> str | None:
        return caller() if self._without is None else self._without[1]

    def _add(
        self,
        seen: Function,
        inputs: list[Tensor],
        value: Tensor,
        node: Any,
        parents: tuple[int, ...],
        own: str | None,
        site: Site | None,
        severed: Cut | None,
    ) -> None:
        index, name = len(self._calls), seen.name
        path, source, _ = self._running[-1] if self._running else OUTSIDE
        kind = "weights" if seen.product and own is not None else seen.kind
        shape = tuple(value.shape)
        units = self._unit_axis(seen, len(shape), parents)
        parameter = self._sites.parameter if own is None and kind == "weights" else own
        source = source or caller()
        dtype = _name_of(value.dtype)
        cut = severed.line if severed else None
        self._calls.append(
            Call(path, name, kind, source, shape, units, parents, parameter, site, dtype, severed is not None, cut)
        )
        self._nodes[node] = index
        if name in OPAQUE:
            self._uncovered[node, f"{path or name}: the steps inside {name} are not seen one by one"] = None
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

    def trace(self, loss: Tensor, step: int, only: bool = False) -> Trace:
        """Everything that was seen since the `reset`, as numbers. After the backward pass from `loss`.

        only: of what was seen, only what this loss was made of; there are others, which are not its matter.
        """
        collectors = (self._forwards, self._flats, self._backwards, self._inputs)
        end = [([0], loss.detach().reshape(1, 1))]
        ends, *seen = fetch(end, *(c.measured() for c in collectors))
        node = loss.grad_fn
        last = (self._nodes[node],) if node in self._nodes else () if node is None else self._behind(node)
        calls = self._calls
        if only:
            kept = self._leading_to(last)
            calls = [replace(calls[i], parents=tuple(kept[p] for p in calls[i].parents)) for i in kept]
            last = tuple(kept[i] for i in last)
            seen = [{kept[i]: row for i, row in numbers.items() if i in kept} for numbers in seen]
        forwards, flats, backwards, data = seen
        found = operations(calls, self._norms, forwards, flats, backwards)
        shapes = self._input_shapes if not only else {kept[i]: s for i, s in self._input_shapes.items() if i in kept}
        inputs = [signals.input_signal(shapes[i], row) for i, row in data.items()]
        return Trace(
            step=step,
            loss=ends[0][0],
            operations=found,
            path=trunk(found, last),
            inputs=tuple(inputs),
            parameters=(),
            uncovered=tuple(self._unseen(node)),
            used=frozenset(self._touched),
            cut=cut.line if (cut := self._cut.get(id(loss))) else None,
        )

    def _leading_to(self, last: tuple[int, ...]) -> dict[int, int]:
        """The operations behind these, and where each is among them."""
        found, todo = set(last), list(last)
        while todo:
            fresh = set(self._calls[todo.pop()].parents) - found
            found |= fresh
            todo += fresh
        return {index: place for place, index in enumerate(sorted(found))}

    def _unseen(self, end: Any) -> dict[str, None]:
        """What is to be said of nodes that lead to this one, as an ordered set."""
        strange = {
            id(p): f"{name}: got a gradient through a call that was not seen"
            for name, p in self._parameters
            if p.grad is not None and name not in self._touched
        }
        if not strange and not self._uncovered:
            return {}
        behind = _behind_all(end)
        read = {id(node.variable) for node in behind if hasattr(node, "variable")}
        said = [what for node, what in self._uncovered if node in behind]
        return dict.fromkeys([*said, *(what for p, what in strange.items() if p in read)])


def _behind_all(end: Any) -> set[Any]:
    """All nodes of the autograd graph from which something leads to `end`, and that itself."""
    found, todo = {end} - {None}, [end] if end is not None else []
    while todo:
        fresh = {following for following, _ in todo.pop().next_functions if following is not None} - found
        found |= fresh
        todo += fresh
    return found


@functools.cache
def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
