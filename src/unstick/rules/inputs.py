"""What the data brings in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..observation import Observation
from .base import Finding, Rule, Severity
from .measures import SEVERAL, frozen, trouble

LARGE_RMS = 10.0
SMALL_SPREAD = 0.01
UNEVEN = 100.0


class UnscaledInputs(Rule):
    """Inputs whose size is far from one. Every usual initialisation assumes a second moment of about one.

    Large inputs saturate the first activations or blow up the first steps; inputs that hardly differ between samples
    drown in the bias; features of very different spread give a loss surface of as different curvatures. Only where
    the network fails: many networks learn from raw pixels.

    What enters behind frozen layers is theirs, and not the data's: layers that no gradient goes through are not seen.

    LeCun, Bottou, Orr and Müller 1998, section 4.3.
    """

    id = "unscaled-inputs"
    title = "the inputs are far from zero mean and unit variance"
    reading = "LeCun, Bottou, Orr and Müller 1998, Efficient BackProp, section 4.3"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        trace, severity = seen.traces[0], trouble(seen)
        inputs, known = trace.inputs, {op.parameter for op in trace.operations}
        if severity is None or not inputs or any(p.name not in known for p in frozen(trace)):
            return
        signal = max(inputs, key=lambda i: i.rms)
        if signal.rms >= LARGE_RMS:
            what = f"have a root mean square of {signal.rms:.3g}"
        elif signal.spread <= SMALL_SPREAD and signal.rms > 0:
            what = f"differ between samples by only {signal.spread:.2g}"
        elif signal.shape[0] >= SEVERAL and signal.smallest > 0 and signal.largest / signal.smallest >= UNEVEN:
            what = f"have features with standard deviations from {signal.smallest:.2g} to {signal.largest:.2g}"
        else:
            return
        yield Finding(
            self.id,
            severity if signal.rms >= LARGE_RMS or signal.spread <= SMALL_SPREAD else Severity.WARNING,
            f"The inputs are not scaled: they {what}, where initialisations expect about 1.",
            evidence={
                "rms": signal.rms,
                "mean": signal.mean,
                "spread": signal.spread,
                "largest_deviation": signal.largest,
                "smallest_deviation": signal.smallest,
            },
            remedies=("standardize", "batchnorm"),
            since=0,
            reading=self.reading,
        )
