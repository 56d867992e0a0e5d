"""A function that is put in another's place wherever that one is known."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

# What `os` and `io` are made of stays as it is: imports go through it, and so does what takes the functions' place.
_LOWEST = ("posix", "_io")


def replace_everywhere(functions: Mapping[Callable[..., Any], Callable[..., Any]]) -> None:
    """Wherever a loaded module has a key of `functions`, under any name, put the value there, until the process ends.

    `from os import remove` is found that way, `torch.random.manual_seed`, which is `torch.manual_seed`, and the static
    methods of classes (`pathlib` lists folders by one). What is imported later finds the value where it looks for the
    key.
    """
    new = {id(old): function for old, function in functions.items()}
    for module_name, module in list(sys.modules.items()):
        if module_name not in _LOWEST:
            for name, value in list(getattr(module, "__dict__", {}).items()):
                if id(value) in new:
                    setattr(module, name, new[id(value)])
                elif issubclass(type(value), type) and value.__module__ == module_name:  # isinstance wakes lazy objects
                    _replace_methods(value, new)


def _replace_methods(owner: type, new: Mapping[int, Callable[..., Any]]) -> None:
    for name, value in list(vars(owner).items()):
        if isinstance(value, staticmethod) and id(value.__func__) in new:
            setattr(owner, name, staticmethod(new[id(value.__func__)]))
