"""The networks of several runs as one: weights stacked along a new first axis, and one training step for all of them.

The forward pass is one run's, under `torch.func.vmap` over weights, buffers and batch. The backward pass is autograd's
ordinary one, from the losses of all runs at once: none of them depends on another's weights. The optimizer takes its
step on the stacked weights, so it has to be one that treats each number by itself.

None of this changes what is computed, only how many calls it takes. On a CPU the products of stacked matrices are made
one matrix after the other, by the routine that a single product is made with, so that most networks get the same
numbers to the last bit.
"""

from __future__ import annotations

import itertools
import random
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from .batches import joined
from .learning import buffers_kept
from .observe import Run
from .setup import Setup

ELEMENTWISE = frozenset(
    [
        torch.optim.SGD,
        torch.optim.Adam,
        torch.optim.AdamW,
        torch.optim.NAdam,
        torch.optim.RAdam,
        torch.optim.Adamax,
        torch.optim.Adagrad,
        torch.optim.Adadelta,
        torch.optim.RMSprop,
        torch.optim.Rprop,
        torch.optim.ASGD,
    ]
)
"""Optimizers in whose step no number depends on another's. Types are compared: a subclass may do anything."""

COUNTERS = frozenset(["step", "mu_product", "eta", "mu"])
"""What they remember for a parameter as a whole: it depends on the number of steps alone."""

PIECE = 1 << 16
"""Numbers that the optimizer is given at once: with its gradient and two moments 1 MB, what the second level of a cache
holds. A step of Adam reads and writes each of them a dozen times; from memory that takes four times as long."""

TOLERANCE = 1e-4
"""Of losses and gradients, relative. Rounding differences are around 1e-6 in float32 and grow with cancellation."""


class Apart(Exception):
    """These runs cannot be trained as one; the text says why."""


class Stack:
    """Several runs as one, from the moment when it is made until `give_back`. Raises Apart, and anything else."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        self._whole = _Whole(runs[0].setup)
        optimizers = [run.optimizer for run in runs]
        names = [_names(run) for run in runs]
        if any(n != names[0] for n in names):
            raise Apart("their optimizers hold different parameters")
        groups = zip(*(optimizer.param_groups for optimizer in optimizers), strict=True)
        self._groups = [_Group(optimizers, settings) for settings in groups]
        self._leaves = {name: leaf for group, own in zip(self._groups, names[0], strict=True)
                        for name, leaf in zip(own, group.leaves, strict=True)}  # fmt: skip
        self._fixed = _fixed(runs, self._leaves)
        self._optimizer = type(optimizers[0])([group.settings for group in self._groups])  # type: ignore[call-arg]
        for group in self._groups:
            group.remember(self._optimizer)

    def losses_and_gradients(self, batches: Sequence[Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """(k,), and for each parameter by name (k, *its shape): those of each run on its own batch."""
        whole = self._whole

        def loss(leaves: Mapping[str, Tensor], fixed: Mapping[str, Tensor], batch: Any) -> Tensor:
            made: Tensor = functional_call(whole, {**leaves, **fixed}, (batch,))
            return made.reshape(())

        batch = joined(batches, torch.stack)
        losses: Tensor = vmap(loss, randomness="error")(self._leaves, self._fixed, batch)
        gradients = torch.autograd.grad(losses, list(self._leaves.values()), torch.ones_like(losses))
        return losses.detach().float(), dict(zip(self._leaves, gradients, strict=True))

    def step(self, batches: Sequence[Any]) -> None:
        """One training step of all. Where it raises, it has changed nothing."""
        losses, gradients = self.losses_and_gradients(batches)
        rows = iter(gradients.values())
        for group in self._groups:
            group.take(list(itertools.islice(rows, len(group.leaves))))
        self._optimizer.step()
        for run, loss in zip(self._runs, losses.unbind(), strict=True):
            run.stepped(loss)

    def give_back(self) -> None:
        """Weights, and what the optimizers remember of them, to the runs."""
        for group in self._groups:
            group.give_back(self._optimizer)


class _Whole(nn.Module):
    """A forward pass from batch to loss as a module, in which `functional_call` finds all parameters: those, too, that
    the modules of remedies hold beside the model."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.model, self.added = setup.model, nn.ModuleList(setup.added)
        self._forward = setup.forward

    def forward(self, batch: Any) -> Tensor:
        return self._forward(batch)


class _Group:
    """One group of parameters of the runs' optimizers, in one piece of memory: parameter by parameter, run by run.

    leaves: views of it, (k, *shape) for each parameter, which gradients are computed for. settings: the group as one of
    an optimizer of the stacked weights.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer], groups: Sequence[dict[str, Any]]) -> None:
        settings = [{key: value for key, value in group.items() if key != "params"} for group in groups]
        if any(s != settings[0] for s in settings):
            raise Apart("their optimizers are set differently")
        self._optimizers = optimizers
        self._rows = list(zip(*(_trainable(group) for group in groups), strict=True))  # by parameter, then by run
        if len({p.dtype for row in self._rows for p in row}) > 1:
            raise Apart("parameters of one group have different dtypes")
        self._weights = self._laid_out([[p.detach() for p in row] for row in self._rows])
        self._gradient = torch.empty_like(self._weights)
        self.leaves = [view.requires_grad_() for view in self._views(self._weights)]
        self._pieces = [nn.Parameter(piece) for piece in self._weights.split(PIECE)]
        for piece, gradient in zip(self._pieces, self._gradient.split(PIECE), strict=True):
            piece.grad = gradient
        self.settings = {**settings[0], "params": self._pieces}

    def take(self, gradients: Sequence[Tensor]) -> None:
        """These are the leaves' gradients."""
        torch.cat([g.reshape(-1) for g in gradients], out=self._gradient)

    def remember(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimizer of the stacked weights know what the runs' own remember."""
        known = [[o.state[p] for o, p in zip(self._optimizers, row, strict=True)] for row in self._rows]
        states = [state for row in known for state in row]
        if any(state.keys() != states[0].keys() for state in states):
            raise Apart("their optimizers remember different things")
        for key in states[0] if states else ():
            if key in COUNTERS or states[0][key] is None:
                if len({_number(state[key]) for state in states}) > 1:
                    raise Apart("their optimizers have made different numbers of steps")
                parts: Sequence[Any] = [_copied(states[0][key]) for _ in self._pieces]
            else:
                parts = self._laid_out([[state[key] for state in row] for row in known]).split(PIECE)
            for piece, part in zip(self._pieces, parts, strict=True):
                optimizer.state[piece][key] = part

    @torch.no_grad()
    def give_back(self, optimizer: torch.optim.Optimizer) -> None:
        for row, views in zip(self._rows, self._views(self._weights), strict=True):
            for p, view in zip(row, views, strict=True):
                p.copy_(view)
        for key, first in optimizer.state[self._pieces[0]].items() if self._pieces else ():
            if key in COUNTERS or first is None:
                rows = [[first] * len(self._optimizers)] * len(self._rows)
            else:
                whole = torch.cat([optimizer.state[piece][key] for piece in self._pieces])
                rows = [list(views) for views in self._views(whole)]
            for row, values in zip(self._rows, rows, strict=True):
                for own, p, value in zip(self._optimizers, row, values, strict=True):
                    own.state[p][key] = _copied(value)

    def _laid_out(self, rows: Sequence[Sequence[Tensor]]) -> Tensor:
        return torch.cat([value.reshape(-1) for row in rows for value in row])

    def _views(self, whole: Tensor) -> list[Tensor]:
        """Of memory that is laid out in this way, (k, *shape) for each parameter."""
        k = len(self._optimizers)
        parts = whole.split([k * row[0].numel() for row in self._rows])
        return [part.view(k, *row[0].shape) for part, row in zip(parts, self._rows, strict=True)]


def _trainable(group: Mapping[str, Any]) -> list[nn.Parameter]:
    return [p for p in group["params"] if p.requires_grad]


def _names(run: Run) -> list[list[str]]:
    """Of the parameters that the optimizer trains, by group, as `_Whole` calls them."""
    names = {id(p): f"model.{name}" for name, p in run.parameters.items()}
    return [[names[id(p)] for p in _trainable(group)] for group in run.optimizer.param_groups]


def _fixed(runs: Sequence[Run], leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters that are not trained, and buffers, stacked."""
    values = [{**run.parameters, **dict(run.setup.model.named_buffers())} for run in runs]
    return {
        f"model.{name}": torch.stack([own[name].detach() for own in values])
        for name in values[0]
        if f"model.{name}" not in leaves
    }


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


# -- whether it is the same --------------------------------------------------------------------------------------------


def check(runs: Sequence[Run]) -> None:
    """Compare losses and gradients of the runs as one with those of each alone, on batches that are not trained on.

    Raises Apart where they differ, and where a forward pass changes anything else than what it returns; whatever
    `vmap` raises about random draws and about control flow that depends on numbers. Then the runs may have been changed
    in what is not a tensor.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "There is a performance drop")  # a function that is called once for each run
        _check(runs)


def _check(runs: Sequence[Run]) -> None:
    if len({run.usual_steps for run in runs}) > 1:
        raise Apart("they are usually trained for different numbers of steps")
    batches = [run.sample for run in runs]
    model = runs[0].setup.model
    before = _surroundings(model)
    if any(_plain_attributes(run.setup.model) != before[0] for run in runs):
        raise Apart("they differ in more than their weights")
    with buffers_kept(model):
        alone = _alone(runs[0], batches[0])
        if not _same(before, _surroundings(model)):
            raise Apart("a forward pass leaves something behind, or draws at random")
    stack = Stack(runs)
    losses, gradients = stack.losses_and_gradients(batches)
    for i, run in enumerate(runs):
        loss, own = alone if i == 0 else _alone(run, batches[i])
        if not _close(losses[i], loss):
            raise Apart("together they have other losses than alone")
        if not all(_close(gradients[name][i], g) for name, g in own.items() if name in gradients):
            raise Apart("together they have other gradients than alone")


def _alone(run: Run, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
    loss = run.loss_and_gradients(batch)
    return loss, {f"model.{name}": p.grad for name, p in run.parameters.items() if p.grad is not None}


def _close(one: Tensor, other: Tensor) -> bool:
    if torch.equal(one, other):
        return True
    one, other = one.double(), other.double()
    return bool((one - other).norm() <= TOLERANCE * other.norm())


def _surroundings(model: nn.Module) -> tuple[Any, ...]:
    numpy = sys.modules.get("numpy")
    drawn = numpy.random.get_state()[1:] if numpy else ()
    buffers = [b.clone() for b in model.buffers()]
    return _plain_attributes(model), random.getstate(), torch.get_rng_state(), *drawn, *buffers


def _same(before: Sequence[Any], after: Sequence[Any]) -> bool:
    return len(before) == len(after) and all(
        bool((a == b).all()) if hasattr(a, "shape") else a == b for a, b in zip(before, after, strict=True)
    )


def _plain_attributes(model: nn.Module) -> list[Any]:
    """What modules keep as numbers and words, such as a count of their calls."""
    plain = int, float, str, bool, type(None)
    return [(type(m).__qualname__, {k: v for k, v in vars(m).items() if isinstance(v, plain)}) for m in model.modules()]
