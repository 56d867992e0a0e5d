"""What one instrumented forward and backward pass measured: numbers only, no modules, no tensors.

The values here travel between rooms and between processes, so they are frozen and picklable. Nothing in this file
imports torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Literal

Kind = Literal["activation", "weights", "normalisation", "other"]
KINDS: tuple[Kind, ...] = ("activation", "weights", "normalisation", "other")

Site = tuple[str, int]
"""Where in the network a call happens: the last parameter touched before it (or by it), and how many activation calls
have been made since. It survives what a module path does not: functional calls, one module called in several places,
and a recurrent cell unrolled over time (the same parameter, so the same site at every time step)."""


@dataclass(frozen=True, slots=True)
class Forward:
    """The signal h that an operation sends forward; h has samples along its first axis.

    rms, mean, peak: root mean square, mean and largest magnitude of all entries of h, in h's own unit.
    between: the share of the second moment of h that differs between samples, 0 to 1. At rounding error, what comes
        out no longer depends on the sample that went in. NaN where there is one sample only.
    saturated: share of entries at which |f'| is below 1 % of its maximum; None where f is not a known activation.
    dead: share of units at which |f'| is below 1 % of its maximum for every sample; None as above.
    """

    rms: float
    mean: float
    peak: float
    between: float
    saturated: float | None = None
    dead: float | None = None

    @property
    def finite(self) -> bool:
        return math.isfinite(self.peak)


@dataclass(frozen=True, slots=True)
class Backward:
    """The signal dL/dh that comes back to the same place.

    norm: Euclidean norm over the whole batch (exact below the float32 underflow of its square). zeros: share of
    entries that are exactly zero.
    """

    norm: float
    zeros: float

    @property
    def finite(self) -> bool:
        return math.isfinite(self.norm)


@dataclass(frozen=True, slots=True)
class Operation:
    """One call that the signal passed through.

    module: path of the innermost module that was running, "" for the model itself, None outside of it (the loss).
    name: the function's name without a trailing underscore: "linear", "sigmoid", "batch_norm", "add" ...
    source: "file.py:12", the line of the user's source that made the module or called the function, or None.
    shape: of the output, with the samples first. unit_axis: the axis of `shape` along which units (channels) lie.
    parents: indices of the operations whose outputs it read. parameter: name of the first parameter that it used.
    site: see `Site`; None where no parameter was touched before it. dtype: of the output, "float32". severed: it read
    something that trainable parameters have made, but through which no gradient goes back to them (`detach`, `no_grad`,
    `argmax`), and cut, where that is known, the line that cut it off.
    """

    index: int
    module: str | None
    name: str
    kind: Kind
    source: str | None
    shape: tuple[int, ...]
    unit_axis: int
    parents: tuple[int, ...]
    parameter: str | None
    site: Site | None
    forward: Forward
    backward: Backward | None
    dtype: str = "float32"
    severed: bool = False
    cut: str | None = None

    @property
    def label(self) -> str:
        """How people would call this place: `net.3 (Sigmoid)`-like, without knowing the class."""
        return f"{self.module} ({self.name})" if self.module else self.name


@dataclass(frozen=True, slots=True)
class Input:
    """What enters the network from the data: the tensor that the first weighted operation read.

    rms, mean: over all entries. spread: standard deviation between samples, root mean square over features.
    largest, smallest: largest and smallest standard deviation of a feature that varies at all. These are NaN where
    there is one sample only. shape: samples first.
    """

    shape: tuple[int, ...]
    rms: float
    mean: float
    spread: float
    largest: float
    smallest: float


@dataclass(frozen=True, slots=True)
class ParameterStep:
    """One parameter before and after one optimizer step.

    norm: ‖w‖ before the step. gradient: ‖dL/dw‖, None where the parameter got none. step: ‖Δw‖, the step really
    taken, as seen in the stored weights, where rounding has had its share. resolution: the machine epsilon of the
    parameter's dtype; a smaller relative step still moves entries that are small or zero. symmetric: the units of a
    weight matrix are all alike and get the same gradient, so they will stay alike. trainable: requires_grad. held: the
    optimizer has it. began_alike: its units were all alike before the first step.
    """

    name: str
    shape: tuple[int, ...]
    norm: float
    gradient: float | None
    step: float
    resolution: float
    symmetric: bool
    trainable: bool
    held: bool = True
    began_alike: bool = False

    @property
    def relative(self) -> float:
        """‖Δw‖ / ‖w‖; infinite for a parameter that moved away from exactly zero, 0 for one that did not move."""
        if self.step == 0.0:
            return 0.0
        return self.step / self.norm if self.norm else math.inf


@dataclass(frozen=True, slots=True)
class Trace:
    """One traced training step.

    step: steps taken before it. loss: of the batch, before the step. path: indices of the operations along the trunk
    from the first weighted operation to the one before the last weighted operation, in forward order (see
    `attribution.trunk`). change, predicted: by how much the loss of the same batch changed through the step, and the
    first-order prediction g·Δw; None where they were not measured (see `observation.doubtful`). used: names of the
    parameters that the forward pass read. cut: the line at which the loss was cut off from what made it, if it was.
    """

    step: int
    loss: float
    operations: tuple[Operation, ...]
    path: tuple[int, ...]
    inputs: tuple[Input, ...]
    parameters: tuple[ParameterStep, ...]
    uncovered: tuple[str, ...]
    change: float | None = None
    predicted: float | None = None
    used: frozenset[str] = frozenset()
    cut: str | None = None

    @property
    def hidden(self) -> tuple[Operation, ...]:
        """The operations on the path, first to last."""
        return tuple(self.operations[i] for i in self.path)

    @property
    def predictions(self) -> float:
        """How many predictions the batch asks for: the samples, or their positions, that the last weights are applied
        to.

        One text is as many samples as it has words to predict. Infinite where no weighted operation was seen.
        """
        shapes = [(op.shape, op.unit_axis) for op in self.operations if op.kind == "weights" and op.shape]
        if not shapes:
            return math.inf
        shape, axis = shapes[-1]
        return math.prod(shape) / shape[axis] if len(shape) > 1 else shape[0]

    @property
    def typical_step(self) -> float | None:
        """Median relative step over all weight matrices that get a gradient."""
        steps = [p.relative for p in self.parameters if p.gradient is not None and len(p.shape) > 1]
        finite = [s for s in steps if math.isfinite(s)]
        return median(finite) if finite else None


@dataclass(frozen=True, slots=True)
class Attenuation:
    """How many decades (factors of ten) the gradient loses from the last to the first hidden operation.

    decades: log10(‖δ_last‖ / ‖δ_first‖); negative where the gradient grows. parts: the same number, split by the kind
    of operation that lost it; the parts sum to the whole. terms: (index of an operation on the trunk, the kind that its
    share is given to, decades), first to last, which sum to it, too. truncated: the gradient became exactly zero
    ("underflow") or infinite ("overflow") before the first operation was reached, so that the whole is a lower bound on
    its size.
    """

    decades: float
    parts: dict[Kind, float]
    terms: tuple[tuple[int, Kind, float], ...]
    truncated: Literal["underflow", "overflow"] | None = None
