"""Which modules of a running program are the ones that are trained."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence

import torch
from torch import nn

WRAPPERS = {"DistributedDataParallel": "module", "DataParallel": "module", "OptimizedModule": "_orig_mod"}
"""Modules that hold another one and run it as it is."""


class Together(nn.Module):
    """Several models that are trained together, such as a generator and a discriminator."""


def outermost(parameters: Iterable[nn.Parameter], modules: Sequence[nn.Module]) -> list[nn.Module]:
    """Those of the modules that hold some of these parameters and are part of no other; wrappers are looked through."""
    wanted = {id(p) for p in parameters}
    holders = [m for m in modules if not isinstance(m, torch.jit.ScriptModule | Together) and _holds(m, wanted)]
    inner = {id(part) for m in holders for part in m.modules() if part is not m}
    return _in_order([unwrapped(m) for m in holders if id(m) not in inner])


def alive() -> list[nn.Module]:
    """All modules that there are: nobody is told which of them are trained. Each kind of object is looked at once, of
    which there are far fewer than objects."""
    objects = gc.get_objects()
    # Not isinstance, for which some objects in other people's programs run code.
    kinds = {kind for kind in set(map(type, objects)) if issubclass(kind, nn.Module)}
    return [o for o in objects if type(o) in kinds]


def _holds(module: nn.Module, wanted: set[int]) -> bool:
    try:
        return any(id(p) in wanted for p in module.parameters())
    except (AttributeError, RuntimeError):  # a module whose constructor has not run, or not to its end
        return False


def unwrapped(module: nn.Module) -> nn.Module:
    while (name := WRAPPERS.get(type(module).__name__)) is not None:
        module = getattr(module, name)
    return module


def _in_order(modules: Sequence[nn.Module]) -> list[nn.Module]:
    return list({id(m): m for m in modules}.values())


def together(roots: Sequence[nn.Module]) -> nn.Module:
    """One module that holds them all: the only one itself, or one with a child for each, named after its class."""
    if len(roots) == 1:
        return roots[0]
    holder = Together()
    for root in roots:
        name = type(root).__name__.lower()
        same = sum(child.partition("_")[0] == name for child, _ in holder.named_children())
        holder.add_module(f"{name}_{same + 1}" if same else name, root)
    return holder


def paths_of(model: nn.Module, modules: Sequence[nn.Module]) -> dict[int, str]:
    """Where each module is in `model`, by id; of the other `modules`, those that wrap one of them are where it is."""
    paths = {id(m): path for path, m in model.named_modules()}
    for wrapper in [m for m in modules if type(m).__name__ in WRAPPERS]:
        if (path := paths.get(id(unwrapped(wrapper)))) is not None:
            paths[id(wrapper)] = path
    return paths
