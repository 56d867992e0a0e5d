"""Another optimizer of the same kind."""

from __future__ import annotations

import inspect
from typing import Any

import torch


def remade(live: Any, parameters: Any, settings: dict[str, Any]) -> torch.optim.Optimizer:
    """One of the same class over other parameters, or groups of them, with the same defaults but for `settings`.

    Raises TypeError where its class wants more than its defaults to be made.
    """
    known = inspect.signature(type(live)).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in known.values())
    # Some defaults are no arguments: AdamW has one to say that it is no Adam.
    given = {name: value for name, value in {**live.defaults, **settings}.items() if open_ended or name in known}
    made: torch.optim.Optimizer = type(live)(parameters, **given)
    return made
