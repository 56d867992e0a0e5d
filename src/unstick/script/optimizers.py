"""A script's optimizer: put back as it was, made once more, and made into another one, in place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import NotApplicable
from ..setup import held_by, parameters_of
from .keras import KerasOptimizer


def kept(live: Any) -> Any:
    """What it remembers between steps, to be given to `restore`."""
    if isinstance(live, KerasOptimizer):
        return live.kept()
    return {
        p: {k: v.clone() if isinstance(v, Tensor) else v for k, v in state.items()} for p, state in live.state.items()
    }


def restore(live: Any, before: Any) -> None:
    if isinstance(live, KerasOptimizer):
        live.restore(before)
        return
    live.state.clear()
    live.state.update(before)


def at_rate(live: Any, rate: float | None, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Another one of the same kind, with the settings of the first group, at this learning rate. Raises
    NotApplicable."""
    if isinstance(live, KerasOptimizer):
        return live.like(parameters, rate)
    group = live.param_groups[0]
    settings = {name: group.get(name, default) for name, default in live.defaults.items()}
    if "lr" in settings and rate is not None:
        settings["lr"] = rate
    return _like(live, parameters, settings)


def again(live: Any, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """An optimizer like the script's, group by group, with the rates that its schedule starts from; what is new is
    added to the first group."""
    if isinstance(live, KerasOptimizer):
        return live.like(parameters, live.param_groups[0]["lr"])
    known = held_by(live)
    groups = [dict(group) for group in live.param_groups]
    groups[0]["params"] = [*groups[0]["params"], *(p for p in parameters if id(p) not in known and p.requires_grad)]
    for group in groups:
        if (rate := _own_rate(group)) is not None:
            group["lr"] = rate
    return _like(live, groups, live.defaults)


def _like(live: Any, parameters: Any, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Another optimizer of the same class. settings: of which it gets what its constructor takes. Raises
    NotApplicable."""
    wanted = inspect.signature(type(live)).parameters
    given = {name: value for name, value in settings.items() if name in wanted}
    try:
        made: torch.optim.Optimizer = type(live)(parameters, **given)
    except (TypeError, ValueError) as error:
        raise NotApplicable(f"another {type(live).__name__} cannot be made: {error}") from error
    return made


def _own_rate(group: Mapping[str, Any]) -> Any:
    """The learning rate that a group was given, whatever its schedule has made of it by now: of one that rises and
    falls, the peak."""
    return group.get("max_lr", group.get("initial_lr", group.get("lr")))


def adopt(live: Any, made: torch.optim.Optimizer) -> list[float]:
    """Make the script's optimizer one like `made`, in place, since the script and its scheduler hold on to it.

    Learning rates stay the scheduler's: what `made` has is applied as a factor, at each step. Returns the factors.
    Raises NotApplicable where a rate is zero, so that there is no factor.
    """
    if isinstance(live, KerasOptimizer):
        return live.adopt(made)
    known = held_by(live)
    live.param_groups[0]["params"].extend(p for p in parameters_of(made) if id(p) not in known and p.requires_grad)
    same = len(made.param_groups) == len(live.param_groups)
    others = made.param_groups if same else [made.param_groups[0]] * len(live.param_groups)
    factors = []
    for group, other in zip(live.param_groups, others, strict=True):
        factors.append(_factor(group, other))
        group.update({k: v for k, v in other.items() if k not in ("params", "lr", "initial_lr")})
    if type(made) is not type(live):
        _become(live, made)
    if isinstance(live, torch.optim.LBFGS):
        live._numel_cache = None  # how many numbers there are to be optimised
    for p, state in made.state.items():  # some make it in the beginning
        live.state.setdefault(p, state)
    if made._optimizer_step_pre_hooks:
        live.register_step_pre_hook(partial(_with_gradients, tuple(made._optimizer_step_pre_hooks.values())))
    if any(factor != 1.0 for factor in factors):
        _scaled_steps(live, factors)
    return factors


def _factor(group: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    if "lr" not in other or "lr" not in group:
        return 1.0
    mine, wanted = float(_own_rate(group)), float(other["lr"])
    if mine == wanted:
        return 1.0
    if mine == 0.0:
        raise NotApplicable("its learning rate is zero, and no multiple of that is another")
    return wanted / mine


def _with_gradients(hooks: Sequence[Callable[..., Any]], live: Any, args: Any, kwargs: Any) -> Any:
    """Call these hooks where the gradients are there: before the step, or whenever its closure has computed them."""
    closure = args[1] if len(args) > 1 else kwargs.get("closure")
    if closure is None:
        for hook in hooks:
            hook(live, args, kwargs)
        return None

    def closed() -> Any:
        loss = closure()
        for hook in hooks:
            hook(live, args, kwargs)
        return loss

    if len(args) > 1:
        return (args[0], closed, *args[2:]), kwargs
    return args, {**kwargs, "closure": closed}


def _become(live: Any, made: torch.optim.Optimizer) -> None:
    tracked = vars(live).pop("step", None)  # a scheduler's, which counts steps and calls the old class
    live.__class__ = type(made)
    live.defaults = made.defaults
    live.state.clear()
    for name, value in vars(made).items():
        vars(live).setdefault(name, value)
    if tracked is not None:
        step = live.step

        def counted(*args: Any, **kwargs: Any) -> Any:
            live._opt_called = True
            return step(*args, **kwargs)

        counted._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
        live.step = counted


def _scaled_steps(live: Any, factors: list[float]) -> None:
    rates: list[Any] = []

    def scale(*_: Any) -> None:
        rates[:] = [group["lr"] for group in live.param_groups]
        for group, factor in zip(live.param_groups, factors, strict=False):
            group["lr"] = group["lr"] * factor

    def restore(*_: Any) -> None:
        for group, rate in zip(live.param_groups, rates, strict=False):
            group["lr"] = rate

    live.register_step_pre_hook(scale)
    live.register_step_post_hook(restore)
