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
from ..remedies.residual import Residual, ReZero
from ..remedies.values import Times
from . import Patch
from .activations import express_activation
from .diff import root_of, unified
from .initialisation import express_init
from .normalisation import express_normalisation
from .optimizer import express_optimizer
from .outputs import express_match_shape, express_output
from .script import Script
from .source import Sources

Express = Callable[[Remedy, Script], Iterator[str]]
"""Plans edits to the script's files, and yields what it leaves out."""


def _by_hand(remedy: Remedy, script: Script) -> Iterator[str]:
    reason, *lines = next(said for family, said in BY_HAND.items() if isinstance(remedy, family))
    yield script.missing(remedy, reason, lines)


ROUND = "between which lines it should lead is not told by the text alone"
BY_HAND: Mapping[type[Any], tuple[str, ...]] = {
    ReZero: (
        ROUND,
        "self.alpha = torch.nn.Parameter(torch.zeros(()))  # in __init__, one for each layer",
        "h = h + self.alpha * torch.relu(self.layer(h))  # in forward, with your own activation",
    ),
    Residual: (ROUND, "h = h + torch.relu(self.layer(h))  # in forward, with your own activation"),
    Standardize: (
        "its numbers have to come from all of your training inputs",
        "mean, std = inputs.mean(0), inputs.std(0)  # of the training inputs, once",
        "inputs = (inputs - mean) / std.clamp_min(1e-8)  # wherever the model is given any",
    ),
    RescaleOutput: (
        "its numbers have to come from all of your training targets",
        "mean, std = targets.mean(0), targets.std(0)  # of the training targets, once",
        "targets = (targets - mean) / std  # and outputs * std + mean wherever they are used",
    ),
}
"""What is left to the user: why, and the lines that do it."""

EXPRESSIONS: Mapping[type[Any], Express] = {
    Activation: express_activation,
    Normalisation: express_normalisation,
    Init: express_init,
    NewOptimizer: express_optimizer,
    Wrapped: express_optimizer,
    Residual: _by_hand,
    ReZero: _by_hand,
    Standardize: _by_hand,
    Output: express_output,
    RescaleOutput: _by_hand,
    MatchShape: express_match_shape,
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
    contents = {file.path: file.after for file in files}
    return Patch(diff, tuple(file.name for file in files), contents, tuple(missing))


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
