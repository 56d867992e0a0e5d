"""What was measured in programs of the `tune` half, beyond what the page shows by itself: facts that stay true whatever
the rules make of them. Programs of the `held` half are not looked into."""

from __future__ import annotations

_EXP = "The exponentials outgrow float32 in the very first forward pass, before any step."
_PLATEAU = (
    "The gradient loses 5.5 decades and more until step 100; then training leaves the plateau by itself, so that a run "
    "of 300 steps ends below the constant answer."
)

MEASURED: dict[str, str] = {
    "AT-Blob-661b4e86": _EXP,
    "AT-Blob-0b6f114d": _EXP,
    "AT-Blob-9b8bdaab": _EXP,
    "AT-Circle-9e7361d4": _EXP,
    "AT-Circle-01bb8f27": _EXP,
    "AT-Circle-169a3fa1": _EXP,
    "AT-MNIST-2af630c4": _PLATEAU,
    "AT-MNIST-70e5f698": _PLATEAU,
    "AT-demo-OscillatingLoss": "Half of the last hundred losses are above three times that of a constant answer; with "
    "one sample a batch, what is measured over a batch says nothing.",
    "SO-45337371": "Every gradient is exactly zero at every step: a softmax over one unit is always 1.",
    "DM-54738769": "Every gradient is exactly zero at every step: a softmax over one unit is always 1.",
    "SO-47352366": "Half of the outputs are exactly zero, so that the loss takes log 0, and sometimes divides 0 by 0.",
    "SO-51930566": "The inputs' mean is three times their spread, and the first layer's four units die of it; the "
    "published fix does not help this seed either.",
    "DM-58572274": "The one output unit is off for all four rows, and no gradient passes it.",
    "TDC-IPS_7": "The logarithm of negative outputs is NaN before any step.",
    "TDC-deepCNN-low_lr": "Each step changes the loss by what the gradient promises, to within 0.4 %, and a step a "
    "thousand times as long would still lower it.",
    "TC-pytorch-forum-84911": "Parameters that have a gradient, even a bias of exactly zero, do not move at all.",
}
