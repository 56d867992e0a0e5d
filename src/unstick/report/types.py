"""What every result of the library can do: become a dictionary, JSON, HTML, text."""

from __future__ import annotations

import json
import math
import platform
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .terminal import Rendering


class Report(ABC):
    """A result. Frozen dataclasses (with `repr=False`) inherit from it and say what they hold in `to_dict`; the rest
    follows from that."""

    __slots__ = ()

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The documented JSON document; "schema" names its shape."""

    def to_json(self) -> str:
        """`to_dict` as strict JSON: numbers that JSON does not have (nan, inf) are null."""
        return json.dumps(jsonable(self.to_dict()), indent=2, ensure_ascii=False, allow_nan=False)

    def to_html(self) -> str:
        """A page that needs nothing from elsewhere."""
        from .page import page

        return page(self.to_dict())

    def __rich__(self) -> Rendering:
        from .terminal import render

        return render(self.to_dict())

    def _repr_html_(self) -> str:
        from .page import fragment

        return fragment(self.to_dict())

    def __repr__(self) -> str:
        """The report in words: what a console shows of the value, and a notebook keeps beside the HTML."""
        from .terminal import plain

        return plain(self.to_dict())


def jsonable(value: Any) -> Any:
    """The same value in JSON's own types: tuples become lists, nan and inf become None, keys become strings; half
    characters, which names of files that are not UTF-8 have in Python, become question marks."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {jsonable(str(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def versions() -> dict[str, str]:
    """What a result was measured with. Reads torch's version without importing torch."""
    from .. import __version__

    return {"unstick": __version__, "python": platform.python_version(), "torch": metadata.version("torch")}
