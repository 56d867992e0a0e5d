"""Which function expresses which remedy, and how its parts become one patch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..observation import Observation
from ..remedies import REMEDIES
from ..remedies.activations import Activation
from ..remedies.base import Compose, Remedy
from ..remedies.data import Standardize
from ..remedies.initialisations import Init
from ..remedies.normalisation import Normalisation
from ..remedies.optimizer import Adam, LearningRate, NewOptimizer, Sgd, Wrapped
from ..remedies.outputs import MatchShape, Output, RescaleOutput
from ..remedies.residual import Connection, ReZero
from ..remedies.values import Times
from . import Patch
from .activations import express_activation
from .diff import root_of, unified
from .initialisation import express_init
from .normalisation import express_normalisation
from .optimizer import express_optimizer
from .script import Script
from .source import Sources

Express = Callable[[Remedy, Script], Iterator[str]]
"""Plans edits to the script's files, and yields what it leaves out."""


def _by_hand(remedy: Remedy, script: Script) -> Iterator[str]:
    yield script.missing(
        remedy, "it changes how the network is put together, which only its author can write", _lines(remedy)
    )


def _lines(remedy: Remedy) -> list[str]:
    if isinstance(remedy, ReZero):
        return [
            "self.alpha = torch.nn.Parameter(torch.zeros(()))  # in __init__, one for each layer",
            "h = h + self.alpha * torch.relu(self.layer(h))  # in forward, with your own activation",
        ]
    if isinstance(remedy, Connection):
        return ["h = h + torch.relu(self.layer(h))  # in forward, with your own activation"]
    if isinstance(remedy, Standardize):
        return ["mean, std = x.mean(0), x.std(0).clamp_min(1e-8)  # of the training inputs", "x = (x - mean) / std"]
    if isinstance(remedy, MatchShape):
        return ["outputs = model(inputs).reshape(targets.shape)"]
    if isinstance(remedy, RescaleOutput):
        return [
            "mean, std = targets.mean(0), targets.std(0)  # of the training targets",
            "targets = (targets - mean) / std",
        ]
    assert isinstance(remedy, Output)
    calls = {
        "sigmoid": "torch.sigmoid(out)",
        "softmax": "torch.softmax(out, 1)",
        "log-softmax": "torch.log_softmax(out, 1)",
    }
    return [f"return {calls.get(remedy.function, 'out')}  # out: of the last layer, before any activation"]


EXPRESSIONS: Mapping[type[Any], Express] = {
    Activation: express_activation,
    Normalisation: express_normalisation,
    Init: express_init,
    NewOptimizer: express_optimizer,
    Wrapped: express_optimizer,
    Connection: _by_hand,
    Standardize: _by_hand,
    Output: _by_hand,
    RescaleOutput: _by_hand,
    MatchShape: _by_hand,
}
"""By the family of a remedy."""
assert all(issubclass(remedy, tuple(EXPRESSIONS)) for remedy in REMEDIES)


def expressed(remedy: Remedy, seen: Observation, folder: Path) -> Patch:
    root = root_of(folder.resolve())
    script = Script(seen, Sources(folder, root))
    missing: list[str] = []
    for part in _merged(remedy.parts if isinstance(remedy, Compose) else (remedy,)):
        express = next(function for family, function in EXPRESSIONS.items() if isinstance(part, family))
        missing += express(part, script)
        script = replace(script, earlier=(*script.earlier, part))
    files = script.sources.changed
    diff = "".join(unified(file.name, file.before, file.after) for file in files)
    return Patch(diff, tuple(file.name for file in files), tuple(missing))


def _merged(parts: tuple[Remedy, ...]) -> list[Remedy]:
    """An optimizer and a rate for it are one call."""
    merged: list[Remedy] = []
    for part in parts:
        before = merged[-1] if merged else None
        if isinstance(part, LearningRate) and isinstance(before, Adam | Sgd) and not isinstance(part.value, str):
            own = 1e-3 if before.lr is None else before.lr
            rate = own * part.value.factor if isinstance(part.value, Times) else part.value
            merged[-1] = replace(before, lr=float(f"{rate:.12g}"))
        else:
            merged.append(part)
    return merged
