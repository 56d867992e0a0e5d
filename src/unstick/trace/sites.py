"""Where in a network a call happens, told in a way that comes out the same each time the network runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from .kinds import ACTIVATIONS
from .types import Site

ADDED = "unstick_added"
"""Parameters whose names start with this were added by a remedy. They are no landmarks: sites are those of the
unchanged network."""


class SiteCounter:
    """Finds the site of every activation call of one forward pass.

    A call that has a parameter among its arguments (directly, or inside a list or tuple) touches it; of several, the
    first counts. The site of an activation call is (name of the parameter touched last, number of activation calls
    since). It must be shown *every* torch function call of the pass, attribute reads (`weight.T` is `__get__`)
    included, in order: whoever skips some of them counts differently from everyone else.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._first: Tensor | None = None
        self.reset()

    def reset(self) -> None:
        """Start of a forward pass."""
        first = next(self._model.parameters(), None)
        if first is not self._first:  # while torch.func runs a model, other tensors stand in for its parameters
            self._first = first
            named = self._model.named_parameters()
            self._names = {id(p): name for name, p in named if not name.startswith(ADDED)}
        self.parameter: str | None = None  # the one touched last
        self._count = 0

    def see(self, name: str, inputs: Sequence[Tensor]) -> Site | None:
        """The site of this call where it is an activation; None for any other call.

        name: as `kinds.facts` gives it, the same in place and not. inputs: its `tensors_in`. None, too, for an
        activation before any parameter was touched. This runs once for each torch function call, so it is written for
        speed.
        """
        names = self._names
        for value in inputs:
            if (touched := names.get(id(value))) is not None:
                self.parameter = touched
                self._count = 0
                break
        if name not in ACTIVATIONS:
            return None
        if self.parameter is None:
            return None
        site = (self.parameter, self._count)
        self._count += 1
        return site


def tensors_in(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The tensors among the arguments of a call, one level into lists and tuples (cat, stack, gru)."""
    found: list[Tensor] = []
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [item for item in value if isinstance(item, Tensor)]
    return found
