"""What a remedy is: a change to a fresh instance of a case."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from ..errors import RemedyError
from ..observation import Observation
from ..setup import Anatomy, Setup
from .values import Value


class Remedy(ABC):
    """One change, or several joined by `+`. Immutable; `apply` changes the setup it is given, nothing else.

    names: how users call it ("relu", or "adam"), the canonical name first. title: one line for `unstick remedies`.
    reading: paper, year, identifier. examples: strings that parse to such a remedy. `str(remedy)` is the canonical
    string and parses back to an equal remedy.

    A remedy is a frozen dataclass; its fields are the arguments that users may write, in this order, and its
    `__post_init__` raises RemedyError on a value that makes no sense.
    """

    names: ClassVar[tuple[str, ...]]
    title: ClassVar[str]
    reading: ClassVar[str]
    examples: ClassVar[tuple[str, ...]]

    @abstractmethod
    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        """Change `setup` in place. Raises NotApplicable, before changing anything, where the case does not allow it."""

    def lines(self, seen: Observation) -> tuple[str | None, ...]:
        """The lines of the user's source that the change is about, by a run of the unchanged network; None for one that
        is not known."""
        return ()

    @abstractmethod
    def __str__(self) -> str: ...

    @classmethod
    def build(cls, *positional: Value, **named: Value) -> Self:
        """The remedy that a string such as `name(positional, name=value)` asks for. Raises RemedyError."""
        try:
            inspect.signature(cls).bind(*positional, **named)
        except TypeError as error:
            raise RemedyError(f"{cls.names[0]}: {error}; {cls.usage()}") from None
        return cls(*positional, **named)

    @classmethod
    def usage(cls) -> str:
        """The end of an error message: what may be written instead."""
        allowed = ", ".join(inspect.signature(cls).parameters)
        examples = " or ".join(cls.examples)
        return f"it takes {allowed}, for example {examples}" if allowed else f"it takes no arguments, write {examples}"


@dataclass(frozen=True)
class Compose(Remedy):
    """Several remedies, applied from left to right.

    Where one of them is not applicable, those before it have already changed the setup: it is to be dropped then.
    """

    names = ()
    title = "several remedies at once, from left to right"
    reading = ""
    examples = ("relu+init(he)", "batchnorm+residual+lr(x0.1)")

    parts: tuple[Remedy, ...]

    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        for part in self.parts:
            part.apply(setup, anatomy)

    def lines(self, seen: Observation) -> tuple[str | None, ...]:
        return tuple(line for part in self.parts for line in part.lines(seen))

    def __str__(self) -> str:
        return "+".join(map(str, self.parts))
