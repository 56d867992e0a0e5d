"""Mean-field theory of wide networks at initialisation: mathematics only, no modules and no tensors.

`docs/theory.md` has the formulas, their sources, and where they fail.
"""

from __future__ import annotations

from .chain import (
    Activation,
    BatchNorm,
    Dropout,
    LayerNorm,
    Operation,
    Residual,
    State,
    Step,
    Weights,
    propagate,
    total_decades,
    total_gain,
)
from .critical import Edge, edge_of_chaos, edge_of_chaos_at
from .functions import FUNCTIONS, Activatable, Function, function
from .initial import INITIALISATIONS, initialisation
from .meanfield import MeanField, chi, correlation_map, mean_field, variance_map
from .uniform import Reach, Uniform

__all__ = [  # noqa: RUF022 - grouped: an activation alone, plain networks, chains of operations, uniform networks
    "Activatable",
    "FUNCTIONS",
    "Function",
    "function",
    "MeanField",
    "mean_field",
    "variance_map",
    "chi",
    "correlation_map",
    "Edge",
    "edge_of_chaos",
    "edge_of_chaos_at",
    "INITIALISATIONS",
    "initialisation",
    "State",
    "Step",
    "Operation",
    "Weights",
    "Activation",
    "BatchNorm",
    "LayerNorm",
    "Dropout",
    "Residual",
    "propagate",
    "total_gain",
    "total_decades",
    "Reach",
    "Uniform",
]
