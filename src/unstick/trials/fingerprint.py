"""What a case or a script is made of, as one short string: whether results that were kept still belong to it.

Looked at are the source files of whatever is the user's own, tensors of data, and weights. Nothing of it is called. So
what a function of the user's reads from elsewhere, or a script imports, can change unseen.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..case import Case
from ..script.spec import Script

INSTALLED = frozenset({"site-packages", "dist-packages"})


def fingerprint(case: Case | Script) -> str:
    """The same for the same code, weights and data, in another process and on another machine, too."""
    digest = hashlib.sha256()
    for part in _script(case) if isinstance(case, Script) else _case(case):
        digest.update(part)
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _script(script: Script) -> Iterator[bytes]:
    yield repr((script.path, script.arguments, script.module)).encode()
    folder = Path(script.folder or "")
    name = Path(*script.path.split("."))
    files = (name.with_suffix(".py"), name / "__main__.py") if script.module else (Path(script.path),)
    for file in files:
        if (folder / file).is_file():
            yield (folder / file).read_bytes()


def _case(case: Case) -> Iterator[bytes]:
    for field in fields(case):
        yield field.name.encode()
        yield from _parts(getattr(case, field.name))


def _parts(value: Any) -> Iterator[bytes]:
    if value is None or isinstance(value, bool | int | float | str):
        yield repr(value).encode()
    elif isinstance(value, Tensor):
        yield from _tensor(value)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _parts(item)
    elif isinstance(value, dict):
        yield from _parts(list(value.items()))
    elif isinstance(value, functools.partial):
        yield from _parts([value.func, value.args, value.keywords])
    else:
        yield from _object(value)


def _tensor(value: Tensor) -> Iterator[bytes]:
    yield f"{value.dtype} {tuple(value.shape)}".encode()
    plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    yield plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def _object(value: Any) -> Iterator[bytes]:
    """A function, a class, or something made from a class: by its name, and by the file that it was written in."""
    kind = value if hasattr(value, "__qualname__") else type(value)
    yield f"{kind.__module__}.{kind.__qualname__}".encode()
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if file is not None and not INSTALLED & set(Path(file).parts) and Path(file).is_file():
        yield Path(file).read_bytes()
    if isinstance(value, nn.Module):
        yield repr(value).encode()
        yield from _parts(value.state_dict())
    elif isinstance(value, DataLoader):
        yield from _parts([value.batch_size, value.dataset])
    elif isinstance(value, torch.optim.Optimizer):
        yield repr(value).encode()
    elif isinstance(tensors := getattr(value, "tensors", None), tuple):  # a TensorDataset
        yield from _parts(tensors)
