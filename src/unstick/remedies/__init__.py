"""Changes that may get a network unstuck. A new one: a file (or a class in its family's), its test, a line below."""

from __future__ import annotations

from .activations import Elu, Gelu, LeakyRelu, Relu, Selu, Silu, TailoredRelu, Tanh
from .base import Compose, Remedy
from .data import Standardize
from .grammar import parse as _parse
from .initialisations import Init
from .normalisation import BatchNorm, LayerNorm
from .optimizer import Adam, Clip, LearningRate, Sgd
from .outputs import MatchShape, Output, RescaleOutput
from .residual import Residual, ReZero

REMEDIES: tuple[type[Remedy], ...] = (
    Tanh,
    Relu,
    LeakyRelu,
    Elu,
    Selu,
    Gelu,
    Silu,
    TailoredRelu,
    Init,
    BatchNorm,
    LayerNorm,
    Residual,
    ReZero,
    Standardize,
    Output,
    RescaleOutput,
    MatchShape,
    Adam,
    Sgd,
    LearningRate,
    Clip,
)


def parse(text: str) -> Remedy:
    """The remedy that a string such as `relu+init(he)` describes. Raises RemedyError, in one sentence."""
    return _parse(text, REMEDIES)


__all__ = ["REMEDIES", "Compose", "Remedy", "parse"]
