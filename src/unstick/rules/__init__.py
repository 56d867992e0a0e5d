"""What is wrong with a network, told from an observation. To add a rule: a class in a file here, and a line below."""

from __future__ import annotations

from collections.abc import Iterable

from ..observation import Observation
from .answers import LossInputMismatch, OutputRangeMismatch
from .base import Finding, Rule, Severity
from .gradient import ExplodingGradient, VanishingGradient
from .inputs import UnscaledInputs
from .loop import EvalMode, GradientsNotCleared, LearningRateDecayed, SameBatch
from .outcome import NonFinite, NotLearning, UnlearnableTargets
from .parameters import FrozenParameters, NoGradient, NotInOptimizer
from .precision import BelowEpsilon, GradientUnderflow
from .regularisation import OverRegularised
from .signal import CollapsedSignal, DeadUnits, SaturatedActivation
from .steps import LearningRateTooHigh, LearningRateTooLow
from .structure import BatchNormSmallBatch, MissingNonlinearity, UnboundedActivation
from .targets import TargetShapeMismatch, UnscaledTargets
from .weights import SymmetricWeights, WeightsTooLarge, WeightsTooSmall

# Causes before their symptoms: a rule may point at what those before it found.
RULES: tuple[Rule, ...] = (
    TargetShapeMismatch(),
    LossInputMismatch(),
    OutputRangeMismatch(),
    SymmetricWeights(),
    NoGradient(),
    NotInOptimizer(),
    GradientsNotCleared(),
    EvalMode(),
    UnscaledInputs(),
    UnscaledTargets(),
    BatchNormSmallBatch(),
    OverRegularised(),
    GradientUnderflow(),
    WeightsTooSmall(),
    WeightsTooLarge(),
    LearningRateDecayed(),
    LearningRateTooLow(),
    UnboundedActivation(),
    LearningRateTooHigh(),
    SaturatedActivation(),
    VanishingGradient(),
    BelowEpsilon(),
    ExplodingGradient(),
    DeadUnits(),
    CollapsedSignal(),
    MissingNonlinearity(),
    NonFinite(),
    UnlearnableTargets(),
    FrozenParameters(),
    SameBatch(),
    NotLearning(),
)


def find(seen: Observation) -> tuple[Finding, ...]:
    """All findings: errors before warnings before notes, and among them causes before their symptoms."""
    found: list[Finding] = []
    for rule in RULES:
        found += rule.check(seen, tuple(found))
    return in_order(found)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The gravest first, and those of one severity as they came."""
    return tuple(sorted(findings, key=lambda finding: finding.severity.rank))


__all__ = ["RULES", "Finding", "Rule", "Severity", "find", "in_order"]
