"""Scripts as users write them: run to be observed, patched by git, and imported again."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from unstick.case import Case
from unstick.observation import Loop, Observation, Optimizer
from unstick.observe import observe
from unstick.patch import Patch, express
from unstick.remedies import parse

COUNT = itertools.count()

LOOP = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        for layer in self.hidden:
            x = torch.sigmoid(layer(x))
        return self.last(x)
"""
"""A forward that loops over its layers."""


@dataclass
class Script:
    """A file in the working directory with a function or class `Net` that makes the model.

    model, optimizer: the first line that holds this text made the model and the optimizer.
    """

    folder: Path
    text: str
    inputs: tuple[int, ...] = (4,)
    outputs: int = 2
    name: str = "train.py"
    encoding: str = "utf-8"
    model: str | None = None
    optimizer: str | None = None
    rate: float = 0.1

    def __post_init__(self) -> None:
        self.path = self.folder / self.name
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(self.text.encode(self.encoding))

    def module(self) -> ModuleType:
        """The file as it is now, imported."""
        spec = importlib.util.spec_from_file_location(f"script_{next(COUNT)}", self.path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        self.path.parent.joinpath("__pycache__").exists() and _forget(self.path)
        spec.loader.exec_module(module)
        return module

    def net(self) -> nn.Module:
        torch.manual_seed(0)
        made = self.module().Net()
        assert isinstance(made, nn.Module)
        return made

    def seen(self) -> Observation:
        seen = observe(self._case(), steps=1)
        name = None if self.optimizer is None else self.optimizer.partition("(")[0].rpartition(".")[2]
        optimizer = None if name is None else Optimizer(name, self.rate, 0.0, None, self._line(self.optimizer))
        loop = None if self.model is None else _loop(self._line(self.model))
        return replace(seen, optimizer=optimizer, loop=loop)

    def _case(self) -> Case:
        inputs = torch.randn(16, *self.inputs, generator=torch.Generator().manual_seed(0))
        return Case(self.module().Net, [(inputs, torch.arange(16) % self.outputs)] * 2, _cross_entropy)

    def _line(self, text: str | None) -> str:
        lines = self.text.splitlines()
        return f"{self.name}:{next(i for i, line in enumerate(lines, 1) if text is not None and text in line)}"

    def express(self, remedy: str) -> Patch:
        return express(parse(remedy), self.seen(), self.folder)

    def patched(self, remedy: str) -> str:
        """The text after a complete patch, applied by git."""
        patch = self.express(remedy)
        assert patch.complete, patch.missing
        self.apply(patch)
        return self.read()

    def read(self) -> str:
        return self.path.read_bytes().decode(self.encoding)

    def apply(self, patch: Patch, folder: Path | None = None) -> None:
        done = subprocess.run(
            ["git", "apply", "--verbose", "-"], input=patch.content, cwd=folder or self.folder, capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()

    def remedied(self, remedy: str) -> Callable[[Tensor], Tensor]:
        """What the unchanged network computes while the remedy is put into it at run time."""
        from unstick.setup import Anatomy
        from unstick.trace.record import record

        case = self._case()
        setup = case.fresh(0)
        batch = next(case.stream(0))
        anatomy = Anatomy(record(setup, batch), (batch,))
        parse(remedy).apply(setup, anatomy)

        def forward(x: Tensor) -> Tensor:
            with setup.active():
                out: Tensor = setup.model(x)
            return out

        return forward

    def weights(self) -> dict[str, Tensor]:
        """Those that `remedied` begins with."""
        return self._case().fresh(0).model.state_dict()


def _forget(path: Path) -> None:
    """Python tells by time and length whether a compiled file is current; a patch may change neither."""
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        compiled.unlink()


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs.flatten(1), targets)


def _loop(model: str) -> Loop:
    return Loop(model, None, 1.0, None, (True,), (), (0.1,), False, 16, 16, True)


def kinds(model: nn.Module) -> list[str]:
    return [type(module).__name__ for module in model.modules() if not any(True for _ in module.children())]


def git(folder: Path, *arguments: str) -> Any:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """Lines that are only in the one, and only in the other."""
    import difflib

    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return [x[2:] for x in lines if x.startswith("- ")], [x[2:] for x in lines if x.startswith("+ ")]
