"""One traced pass of a small network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case, Trace
from unstick.state import preserved
from unstick.trace.record import record

X, Y = torch.randn(16, 5, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 3


def traced(build: Callable[[], nn.Module], x: Tensor = X, y: Tensor = Y) -> Trace:
    with preserved(threads=1):
        case = Case(build, (x, y), F.cross_entropy, batch_size=len(y))
        setup = case.fresh(0)
        return record(setup, (x.clone(), y))
