"""AUTOTRAINER's models on toy data, and its demonstrations (Zhang, Zhai, Ma and Shen, ICSE 2021).

Sources: shiningrain/AUTOTRAINER; the model zoo as text in DeepDiagnosis/ICSE2022, "AUTOTRAINER Model Code". The
training settings of single zoo models are not published as text; these are the defaults beside them.
"""

from __future__ import annotations

from dataclasses import replace

from .keras import FLATTEN, conv, dense, pool
from .program import Fault, Program
from .training import adam, sgd

SOURCE = "DeepDiagnosis/ICSE2022: AUTOTRAINER Model Code/Models_{}.py"
NORMAL = "DeepDiagnosis/ICSE2022: difference threshold/{}"
HE = "he_uniform"
SIZES = {"Circle": (1, "circles", "binary_crossentropy", 128), "Blob": (3, "blobs", "categorical_crossentropy", 256)}

LABELS = {
    "exponential": ("exploding_gradient", "nan_loss", "hidden_activation_unbounded"),
    "sigmoid": ("vanishing_gradient", "hidden_activation_saturating"),
    "relu": ("dying_relu",),
}
# AUTOTRAINER's own menu of repairs.
MENU = {
    "exponential": ("selu", "relu", "tanh", "batchnorm"),
    "sigmoid": ("selu", "relu", "batchnorm"),
    "relu": ("selu", "batchnorm", "leaky-relu", "elu"),
}
FAILS, SOME = "fails for all of 3 seeds", "fails for 1 of 3 seeds"

# (data, model, hidden activation, hidden layers, what re-runs found)
ZOO = (
    ("Circle", "0ae2cd88", "exponential", 8, FAILS),
    ("Circle", "205c07d5", "exponential", 8, FAILS),
    ("Circle", "8e28bdef", "relu", 16, SOME),
    ("Circle", "46edb7df", "relu", 15, SOME),
    ("Blob", "661b4e86", "exponential", 10, FAILS),
    ("Circle", "5ab0aeda", "sigmoid", 11, FAILS),
    ("Circle", "ebc164bf", "sigmoid", 11, FAILS),
    ("Circle", "9e7361d4", "exponential", 9, FAILS),
    ("Circle", "01bb8f27", "exponential", 10, FAILS),
    ("Circle", "169a3fa1", "exponential", 10, FAILS),
    ("Blob", "84c77206", "relu", 15, SOME),
    ("Blob", "0b6f114d", "exponential", 9, FAILS),
    ("Blob", "9b8bdaab", "exponential", 9, FAILS),
    ("Circle", "dd8c879b", "sigmoid", 13, FAILS),
    ("Circle", "c632dcbd", "sigmoid", 12, FAILS),
    ("Circle", "f476c610", "sigmoid", 12, FAILS),
)


def toy(data: str, activation: str, depth: int, last: str = HE, bias: str = "zeros") -> Program:
    """`depth` hidden layers of five units, and a sigmoid at the end."""
    units, name, loss, batch = SIZES[data]
    layers = dense(5, activation, HE) * depth + dense(units, "sigmoid", last, bias)
    return Program(name, layers, loss, adam(), batch, 300)


def _zoo(data: str, model: str, activation: str, depth: int, outcome: str) -> Fault:
    return Fault(
        f"AT-{data}-{model}",
        "AUTOTRAINER zoo",
        SOURCE.format(data),
        "C",
        LABELS[activation],
        toy(data, activation, depth),
        fix=toy(data, "tanh", depth),
        remedies=MENU[activation],
        outcome=outcome,
        note="The twin is AUTOTRAINER's healthy network of the same depth, with tanh.",
    )


def _control(id: str, source: str, program: Program, grade: str = "B", outcome: str = "healthy") -> Fault:
    return Fault(id, "AUTOTRAINER controls", source, grade, ("healthy",), program, outcome=outcome)


CONTROLS = (
    _control("CTRL-Circle-41e9f616", NORMAL.format("Circle"), toy("Circle", "tanh", 17), outcome=""),
    _control("CTRL-Circle-0db8c740", NORMAL.format("Circle"), toy("Circle", "tanh", 11)),
    _control(
        "CTRL-Blob-953b07b0",
        NORMAL.format("Blob_normal"),
        # Keras' VarianceScaling(1, fan_avg) of a bias of three: a standard deviation of the root of 1/3.
        toy("Blob", "tanh", 17, last="lecun_normal", bias="lecun_normal"),
    ),
    _control("CTRL-Blob-mi_al_10", SOURCE.format("Blob"), toy("Blob", "tanh", 8, last="zeros"), "C"),
    _control("CTRL-Blob-simplednn", SOURCE.format("Blob"), toy("Blob", "tanh", 5), "C"),
)

_OSCILLATING = Program(
    "blobs", dense(50, "relu", HE) + dense(3, "softmax"), "categorical_crossentropy", sgd(0.01, 0.9), 1, 200
)
_IMPROPER = Program(
    "blobs", dense(50, "relu", HE) * 4 + dense(3, "relu"), "categorical_crossentropy", adam(0.0001), 256, 300
)

DEMOS = (
    Fault(
        "AT-demo-OscillatingLoss",
        "AUTOTRAINER demos",
        "shiningrain/AUTOTRAINER: AutoTrainer/demo_case/Oscillating_Loss_Case",
        "B",
        ("oscillating_loss", "lr_high_for_batch1", "batch_size_too_small"),
        _OSCILLATING,
        fix=replace(_OSCILLATING, optimizer=adam()),
        remedies=("adam", "lr(x0.1)"),
    ),
    Fault(
        "AT-demo-ImproperActivation",
        "AUTOTRAINER demos",
        "shiningrain/AUTOTRAINER: AutoTrainer/demo_case/Improper_Activation_case",
        "B",
        ("output_activation_loss_mismatch",),
        _IMPROPER,
        fix=replace(_IMPROPER, layers=dense(50, "relu", HE) * 4 + dense(3, "softmax")),
    ),
)


def _lenet(activation: str, depth: int) -> Program:
    """As published but for images of 16 x 16 instead of 28 x 28."""
    layers = (
        conv(6, 5, activation, HE)
        + pool()
        + conv(16, 5, activation, HE)
        + pool()
        + FLATTEN
        + dense(120, activation, "he_normal")
        + dense(84, activation, "he_normal") * depth
        + dense(10, "softmax", "he_normal")
    )
    return Program("digit images of 16", layers, "categorical_crossentropy", adam(), 256)


def _mnist(model: str, depth: int) -> Fault:
    return Fault(
        f"AT-MNIST-{model}",
        "AUTOTRAINER zoo",
        SOURCE.format("MNIST"),
        "C",
        LABELS["sigmoid"],
        _lenet("sigmoid", depth),
        fix=_lenet("relu", depth),
        remedies=MENU["sigmoid"],
        substitute="digits, doubled to 16 x 16, for MNIST",
    )


_TWENTY = Program("digits", dense(128, "relu") * 20 + dense(10, "softmax"), "categorical_crossentropy", adam(), 32, 50)

CASES: tuple[Fault, ...] = (
    *(_zoo(*row) for row in ZOO),
    *(_mnist(*row) for row in (("ac055404", 9), ("2af630c4", 8), ("70e5f698", 8))),
    *DEMOS,
    Fault(
        "AT-motiv-Oscillating20",
        "AUTOTRAINER demos",
        "shiningrain/AUTOTRAINER: Motivation/OscillatingLoss",
        "B",
        ("oscillating_loss",),
        _TWENTY,
        remedies=("lr(x0.1)", "batchnorm"),
        substitute="digits for MNIST",
        note="As published it oscillates in half of the runs, and never in 29 %.",
    ),
    *CONTROLS,
)
