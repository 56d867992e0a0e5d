"""What all tests of watched loops share."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _few_objects() -> Iterator[None]:
    """A watcher finds the model among all objects that are alive: half a million, where the tests of everything else
    have run before. What is there already can be no model of this test's, and is left out."""
    gc.freeze()
    yield
    gc.unfreeze()
