"""Named initialisations as the two variances of the theory."""

from __future__ import annotations

import difflib
import math

from ..errors import TheoryError
from .chain import Weights
from .critical import edge_of_chaos
from .functions import Activatable, function

INITIALISATIONS = {
    "default": "what torch.nn.Linear and Conv2d do: uniform weights of variance 1/(3 fan_in), biases likewise",
    "xavier": "variance 2 / (fan_in + fan_out), zero biases (Glorot and Bengio 2010)",
    "he": "variance 2 / fan_in, zero biases (He et al. 2015)",
    "lecun": "variance 1 / fan_in, zero biases (LeCun et al. 1998)",
    "orthogonal": "orthogonal weights, zero biases; treated as normal weights of variance 1 / fan_in",
    "normal": "a standard deviation of your own, zero biases",
    "critical": "on the edge of chaos of the activation",
}


def initialisation(
    name: str,
    fan_in: int | None = None,
    fan_out: int | None = None,
    *,
    std: float | None = None,
    activation: Activatable | None = None,
) -> Weights:
    """The weights that an initialisation gives a dense layer, or a convolution with fan_in = k² c.

    fan_in: None stands for a very wide layer, whose default biases vanish. fan_out: None for the same as fan_in; only
    `xavier` asks. std: of `normal`, which needs a fan_in. activation: for `critical`. All are treated as normal of the
    same variance, which is exact for wide layers, but for `orthogonal`: the mean-field averages agree, while the
    spread of singular values, which matters for very deep networks, does not (Pennington et al. 2017).

    Raises TheoryError for an unknown name and where something that it needs is missing.
    """
    if name not in INITIALISATIONS:
        near = difflib.get_close_matches(name, INITIALISATIONS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(INITIALISATIONS)}."
        raise TheoryError(f"there is no initialisation {name!r}; {hint}")
    for size in (fan_in, fan_out):
        if size is not None and size < 1:
            raise TheoryError(f"a layer has at least one input and one output; {size} is too few.")
    if name == "normal":
        return _normal(fan_in, std)
    if std is not None:
        raise TheoryError(f"a standard deviation goes with the initialisation 'normal', not with {name!r}.")
    if name == "critical":
        return _critical(activation)
    if name == "default":
        return Weights(1.0 / 3.0, 1.0 / (3.0 * fan_in) if fan_in else 0.0)
    if name == "xavier" and fan_in and fan_out:
        return Weights(2.0 * fan_in / (fan_in + fan_out))
    return Weights(2.0 if name == "he" else 1.0)


def _normal(fan_in: int | None, std: float | None) -> Weights:
    if std is None or fan_in is None:
        raise TheoryError(
            "the initialisation 'normal' needs a standard deviation (std) and the layer's fan-in (width)."
        )
    if not 0.0 <= std < math.inf:
        raise TheoryError(f"a standard deviation is a number from 0 up; {std} is not.")
    return Weights(fan_in * std * std)


def _critical(activation: Activatable | None) -> Weights:
    """With the smallest biases that are possible, mostly none."""
    if activation is None:
        raise TheoryError("the initialisation 'critical' needs an activation.")
    edge = edge_of_chaos(activation, None)
    if edge is None:
        raise TheoryError(f"{function(activation).name} has no edge of chaos: no weights are critical for it.")
    return Weights(edge.weight_variance, edge.bias_variance)
