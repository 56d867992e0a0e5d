"""Programs that were asked about on Stack Overflow, as collected for deepmufl.

Source: ali-ghanbari/deepmufl-ase-2023 (Ghanbari et al., ASE 2023), which replaced the askers' data by generated ones.
Each id ends with the number of the question.
"""

from __future__ import annotations

from dataclasses import replace

from .keras import BATCHNORM, FLATTEN, Layers, conv, dense, dropout, lstm, pool
from .program import Fault, Program
from .training import Optimizer, adam, nesterov, rmsprop

BCE, CCE, MSE = "binary_crossentropy", "categorical_crossentropy", "mse"


def mufl(
    number: str, labels: tuple[str, ...], program: Program, fix: Program | None = None, grade: str = "D", **more: object
) -> Fault:
    source = f"ali-ghanbari/deepmufl-ase-2023: Dataset/all-bugs/{number}"
    return Fault(f"DM-{number}", "Stack Overflow (deepmufl)", source, grade, labels, program, fix, **more)  # type: ignore[arg-type]


def _images() -> Fault:
    def layers(init: str) -> Layers:
        convolutions = conv(6, 5, "relu") + pool() + conv(16, 5, "relu") + pool() + FLATTEN
        hidden = dense(128, "relu", init) + dropout(0.2) + (dense(64, "relu", init) + dropout(0.2)) * 3
        return convolutions + hidden + dense(2, "softmax")

    optimizer = adam(l2=0.01, l2_axes=(2,), l2_but_last=True)
    program = Program("hidden image classes", layers("uniform"), CCE, optimizer, 32, 25)
    return mufl(
        "61498304",
        ("wrong_init", "init_scale_small", "vanishing_gradient", "over_regularised"),
        program,
        replace(program, layers=layers("he_uniform")),
        grade="B",
        remedies=("init(he)", "init(xavier)"),
    )


def _many_features() -> Fault:
    def layers(output: str | None) -> Layers:
        return dense(32, "relu") + dense(3, output)

    program = Program("2000 features", layers("softmax"), MSE, nesterov(0.01), 32, 20)
    return mufl(
        "53749895",
        ("dying_relu", "output_activation_range_mismatch"),
        program,
        replace(program, data="2000 features, scaled targets", layers=layers(None)),
        grade="B",
        note="2000 of the published 179,776 features.",
    )


def _eighteen() -> Fault:
    def layers(output: str | None) -> Layers:
        hidden = dense(18, "tanh") + dense(36, "relu") + dense(72, "relu") * 2 + dense(32, "relu") + dense(16, "relu")
        return hidden + dense(1, output)

    program = Program("18 features", layers("softmax"), MSE, adam(), 35, 100)
    labels = ("softmax_on_single_output", "output_activation_range_mismatch")
    return mufl("54738769", labels, program, replace(program, layers=layers(None)))


def _four_rows() -> Fault:
    program = Program("equality", dense(2, "relu") * 2 + dense(1, "relu"), BCE, adam(), 32, 10)
    return mufl(
        "58572274",
        ("dying_relu", "output_activation_loss_mismatch", "undertrained"),
        program,
        replace(program, layers=dense(16, "relu") * 2 + dense(1, "sigmoid"), optimizer=adam(0.01), epochs=500),
        outcome="fails for all seeds, and a fix of ours works",
    )


def _one_epoch() -> Fault:
    sizes = (1000, 500, 250, 125, 64, 32, 9)
    layers = sum((dense(n, "tanh") for n in sizes), ()) + dense(3, "softmax")
    program = Program("iris, 105 rows", layers, CCE, adam(), 32, 1)
    return mufl(
        "61234347",
        ("undertrained", "oversized"),
        program,
        replace(program, epochs=50),
        outcome="fails for all seeds, and more epochs mend it",
    )


def _positive_only(
    number: str,
    labels: tuple[str, ...],
    data: str,
    hidden: Layers,
    out: tuple[str, str],
    units: int,
    optimizer: Optimizer,
    batch: int,
    epochs: int,
    fixed: Program | None = None,
    **more: object,
) -> Fault:
    """A regression whose output activation cannot give the targets; the fix is a linear output."""
    activation, loss = out
    program = Program(data, hidden + dense(units, activation), loss, optimizer, batch, epochs)
    fix = fixed or replace(program, layers=hidden + dense(units), loss=MSE)
    return mufl(number, labels, program, fix, **more)  # type: ignore[arg-type]


def _eight() -> Fault:
    def hidden(activation: str) -> Layers:
        return sum((dense(n, activation) + dropout(0.1) for n in (32, 20, 15)), ())

    optimizer = nesterov(0.01, 0.87)
    return _positive_only(
        "60766775",
        ("output_activation_range_mismatch", "hidden_activation_saturating", "unscaled_targets"),
        "8 features",
        hidden("sigmoid"),
        ("softmax", MSE),
        4,
        optimizer,
        1,
        100,
        Program("8 features, scaled targets", hidden("relu") + dense(4), MSE, nesterov(0.001, 0.87), 1, 100),
        outcome="fails; the published fix diverges in PyTorch",
        note="Its fix here has scaled targets and a tenth of the learning rate as well.",
    )


def _breast_cancer() -> Fault:
    def layers(output: str) -> Layers:
        return dense(30, "relu") + BATCHNORM + dense(60, "relu") + BATCHNORM + dense(1, output)

    program = Program("breast cancer", layers("softmax"), BCE, adam(), 32, 6)
    return mufl(
        "57397440",
        ("softmax_on_single_output",),
        program,
        replace(program, layers=layers("sigmoid")),
        outcome="fails for all seeds, and the fix works",
    )


def _sequences() -> Fault:
    def layers(activation: str) -> Layers:
        convolutions = conv(64, 3, activation, axes=1) + pool(3, axes=1) + conv(64, 2, activation, axes=1)
        return convolutions + lstm(8) + dense(2, "softmax")

    program = Program("sequences", layers("sigmoid"), CCE, adam(0.0001), 50, 100)
    return mufl(
        "58043002",
        ("hidden_activation_saturating", "lr_low"),
        program,
        replace(program, layers=layers("relu"), optimizer=adam(0.001)),
        remedies=("relu+lr(x10)", "lr(x10)"),
        note="Without Keras' masking layer, which masks nothing after a sigmoid.",
    )


def _narrow_sigmoids() -> Fault:
    def layers(activation: str) -> Layers:
        return sum((dense(n, activation) for n in (8, 16, 32, 64, 128)), ()) + dense(10, "softmax")

    program = Program("digits", layers("sigmoid"), CCE, adam(), 500, 1000)
    return mufl(
        "65777704",
        ("vanishing_gradient", "hidden_activation_saturating"),
        program,
        replace(program, layers=layers("relu")),
        remedies=("relu",),
        substitute="digits for CIFAR-10",
        outcome="worse than its fix for all seeds, but learns something",
    )


CASES: tuple[Fault, ...] = (
    _images(),
    _many_features(),
    _eighteen(),
    _four_rows(),
    _one_epoch(),
    _positive_only(
        "59758722",
        ("output_activation_range_mismatch", "dying_relu"),
        "4 features",
        dense(30, "relu") * 2,
        ("relu", MSE),
        1,
        rmsprop(),
        128,
        13,
        Program("4 features", dense(30, "relu") * 2 + dense(1), MSE, rmsprop(), 128, 300),
        outcome="fails for all seeds, and a fix of ours works",
    ),
    _eight(),
    _positive_only(
        "56774954",
        ("output_activation_range_mismatch", "wrong_loss"),
        "10 features",
        dense(100, "sigmoid") + dense(80, "sigmoid"),
        ("softmax", "poisson"),
        3,
        adam(),
        32,
        30,
        Program("10 features", dense(100, "relu") + dense(80, "relu") + dense(3), MSE, adam(), 32, 60),
        outcome="fails for all seeds, and a fix of ours works",
        note="Targets below zero: the Poisson loss is not theirs. Our fix has ReLU as well.",
    ),
    _breast_cancer(),
    _sequences(),
    _narrow_sigmoids(),
)
