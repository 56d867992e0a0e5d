"""What an animal of the zoo is, and how a file of them is written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unstick import Case


@dataclass(frozen=True)
class Architecture:
    """A healthy network on data that it can learn. build: a fresh case. about: one line for the table."""

    name: str
    about: str
    build: Callable[[], Case]


class Collection:
    """The architectures of one file, by name."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.members: dict[str, Architecture] = {}

    def put(self, name: str, about: str, build: Callable[[], Case]) -> None:
        if name in self.members:
            raise ValueError(f"two architectures are called {name}")
        self.members[name] = Architecture(name, about, build)

    def add(self, build: Callable[[], Case]) -> Callable[[], Case]:
        """As a decorator: the function's name is the architecture's, its docstring says what it is."""
        self.put(build.__name__.replace("_", "-"), (build.__doc__ or "").strip().splitlines()[0].rstrip("."), build)
        return build
