"""Programs that were asked about on Stack Overflow, as collected by DeepLocalize and by deepmufl.

Sources: Wardat-ISU/DeepLocalize (Wardat, Le and Rajan, ICSE 2021), labels as revised in ArabelaTso/DeepFD (Cao et al.,
ICSE 2022); ali-ghanbari/deepmufl-ase-2023 (Ghanbari et al., ASE 2023), which replaced the askers' data by generated
ones. Each id ends with the number of the question.
"""

from __future__ import annotations

from dataclasses import replace

from .keras import BATCHNORM, FLATTEN, Layer, Layers, Optimizer, adam, conv, dense, dropout, lstm, pool, rmsprop, sgd
from .program import Fault, Program

NESTEROV = {"momentum": 0.9, "nesterov": True}
BCE, CCE, MSE = "binary_crossentropy", "categorical_crossentropy", "mse"


def localize(
    number: str, labels: tuple[str, ...], program: Program, fix: Program | None = None, **more: object
) -> Fault:
    source = f"Wardat-ISU/DeepLocalize: Benchmark/StackOverflow/{number}"
    return Fault(f"SO-{number}", "Stack Overflow (DeepLocalize)", source, "B", labels, program, fix, **more)  # type: ignore[arg-type]


def mufl(
    number: str, labels: tuple[str, ...], program: Program, fix: Program | None = None, grade: str = "D", **more: object
) -> Fault:
    source = f"ali-ghanbari/deepmufl-ase-2023: Dataset/all-bugs/{number}"
    return Fault(f"DM-{number}", "Stack Overflow (deepmufl)", source, grade, labels, program, fix, **more)  # type: ignore[arg-type]


def _letters() -> Fault:
    layers = dense(12, "relu", "uniform") + dense(3, "relu", "uniform") + dense(1, "sigmoid", "uniform")
    program = Program("letter codes", layers, BCE, adam(), 1, 150)
    return localize(
        "39525358",
        ("missing_input_norm",),
        program,
        replace(program, data="letter codes, scaled"),
        remedies=("standardize",),
        note="The rows are generated after the description of the published file.",
    )


def _squares() -> Fault:
    program = Program("two squares", dense(2, "sigmoid") + dense(2, "softmax"), CCE, adam(), 32, 5)
    return localize(
        "50306988",
        ("lr_low", "undertrained"),
        program,
        replace(program, optimizer=adam(0.01), epochs=100),
        remedies=("lr(x10)",),
        outcome="fails; the published fix was not reproduced",
    )


def _counties() -> Fault:
    def layers(output: str, normalise: Layers) -> Layers:
        hidden = dense(64, None, "uniform") + normalise + (Layer("tanh"),) + dropout(0.5)
        return hidden + hidden + dense(2, output, "uniform")

    program = Program("counties", layers("softmax", ()), MSE, sgd(0.1, **NESTEROV), 16, 20)  # type: ignore[arg-type]
    return localize(
        "34673164",
        ("missing_input_norm", "missing_batchnorm", "saturated_activation", "wrong_loss", "lr_high"),
        program,
        replace(program, layers=layers("sigmoid", BATCHNORM), loss=BCE),
        remedies=("standardize", "batchnorm"),
        outcome="weak ground truth: nine rows",
        note="The rows are generated after the description of the published file.",
    )


def _weighted_sum() -> Fault:
    def layers(output: str | None) -> Layers:
        hidden = dense(3, "tanh", "uniform") + dropout(0.5) + dense(2, "tanh", "uniform") + dropout(0.5)
        return hidden + dense(1, output, "uniform")

    program = Program("weighted sum", layers("softmax"), MSE, sgd(0.1, **NESTEROV), 32, 20)  # type: ignore[arg-type]
    return localize(
        "33969059",
        ("softmax_on_single_output", "missing_input_norm", "unscaled_targets", "saturated_activation", "lr_high"),
        program,
        replace(program, layers=layers(None)),
        outcome="fails; the published fix was not reproduced",
        note="The published fix, a linear output, does not make it learn.",
    )


def _fourth_power() -> Fault:
    layers = dense(50, "sigmoid") + dense(50, "elu") + dense(1)
    program = Program("fourth power", layers, MSE, adam(), 400, 1000)
    return localize(
        "52800582",
        ("missing_input_norm", "unscaled_targets", "saturated_activation"),
        program,
        replace(program, data="fourth power, scaled"),
        remedies=("standardize",),
        outcome="fails for all seeds, and the fix works",
    )


def _noise() -> Fault:
    def layers(output: str) -> Layers:
        return dense(60, "relu") + dense(50, "relu") + dense(1, output)

    program = Program("noise targets", layers("softmax"), BCE, adam(), 1, 5)
    return localize(
        "45337371",
        ("softmax_on_single_output", "zero_gradient"),
        program,
        replace(program, layers=layers("sigmoid")),
        note="The targets are random: the gradient can be repaired, but there is nothing to learn.",
    )


def _xor() -> Fault:
    def layers(output: str) -> Layers:
        return dense(2, "sigmoid", "uniform") + dense(3, "sigmoid", "uniform") + dense(1, output, "uniform")

    program = Program("xor", layers("softmax"), MSE, sgd(0.001, **NESTEROV), 32, 20)  # type: ignore[arg-type]
    return localize(
        "34311586",
        ("softmax_on_single_output", "lr_low", "wrong_init", "undertrained", "vanishing_gradient"),
        program,
        replace(program, layers=layers("sigmoid"), optimizer=sgd(0.1, **NESTEROV), epochs=10_000),  # type: ignore[arg-type]
        outcome="fails; the published fix was not reproduced",
    )


def _ones_and_zeros() -> Fault:
    def layers(output: str) -> Layers:
        return dense(50, "relu relu") + dropout(0.2) + dense(50, "relu") + dropout(0.2) + dense(1, output)

    program = Program("ones and zeros", layers("softmax"), BCE, rmsprop(), 1, 3)
    return localize(
        "31880720",
        ("softmax_on_single_output",),
        program,
        replace(program, layers=layers("sigmoid")),
        outcome="fails for all seeds, and the fix works",
    )


def _iris(number: str, data: str, scaled: str, epochs: int, labels: tuple[str, ...], units: int) -> Fault:
    program = Program(data, dense(4, "relu", "normal") + dense(3, "sigmoid", "normal"), CCE, adam(), 5, epochs)
    fix = replace(program, data=scaled, layers=dense(units, "relu", "normal") + dense(3, "softmax", "normal"))
    return localize(number, labels, program, fix, outcome="no gap between the program and its fix")


def _raw_digits() -> Fault:
    def layers(output: str) -> Layers:
        convolutions = conv(32, 3, "relu", bias="constant(0.1)", same=True) + pool()
        convolutions += conv(64, 3, "relu", bias="constant(0.1)", same=True) + pool()
        return convolutions + FLATTEN + dense(256, "relu", bias="constant(0.1)") + dropout(0.5) + dense(10, output)

    program = Program("digit images, raw", layers("relu"), CCE, adam(), 50, 5)
    return localize(
        "47352366",
        ("output_activation_loss_mismatch", "nan_loss", "dying_relu"),
        program,
        replace(program, layers=layers("softmax")),
        substitute="digits of 0 to 255 for MNIST, 3 x 3 kernels, 256 dense units for 1024",
    )


def _divided_labels() -> Fault:
    layers = conv(64, 3, same=True) + pool() + conv(32, 3, same=True) + pool() + FLATTEN
    layers += dense(128, "relu") + dense(10, "softmax")
    program = Program("digit images, labels / 255", layers, "whole_number_crossentropy", adam(), 32, 2)
    return localize(
        "59325381",
        ("label_corruption", "missing_nonlinearity"),
        program,
        replace(program, data="digit images, labels"),
        substitute="digits for MNIST",
        note="No change of the network repairs it: all labels have become 0.",
    )


def _linear_digits() -> Fault:
    def layers(hidden: str | None, output: str | None) -> Layers:
        return dense(30, hidden, "normal(1)", "normal(1)") + dense(10, output, "normal(1)", "normal(1)")

    program = Program("digits", layers(None, None), MSE, sgd(3.0), 10, 30)
    return localize(
        "48385830",
        ("missing_nonlinearity", "wrong_loss", "lr_high", "exploding_gradient", "nan_loss", "wrong_init"),
        program,
        replace(program, layers=layers("sigmoid", "softmax"), loss=CCE),
        remedies=("lr(x0.01)",),
        substitute="digits for MNIST",
        outcome="fails for all seeds, and the fix works",
    )


def _one_label() -> Fault:
    layers = dense(10, "relu") + dense(20, "relu") + dense(30, "relu") + dense(40, "relu") + dense(50, "relu")
    program = Program("one label", layers + dense(1, "sigmoid"), BCE, adam(), 10, 50)
    return replace(localize("50481178", ("healthy",), program, outcome="healthy"), grade="C")


LOCALIZE = (
    _letters(),
    _squares(),
    _counties(),
    _weighted_sum(),
    _fourth_power(),
    _noise(),
    _xor(),
    _ones_and_zeros(),
    _iris(
        "59278771",
        "iris",
        "iris, scaled",
        200,
        ("missing_input_norm", "output_activation_loss_mismatch", "dying_relu", "wrong_init"),
        8,
    ),
    _iris("51930566", "half of iris", "half of iris", 50, ("output_activation_loss_mismatch", "missing_input_norm"), 4),
    _raw_digits(),
    _divided_labels(),
    _linear_digits(),
    _one_label(),
)


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

    program = Program("2000 features", layers("softmax"), MSE, sgd(0.01, **NESTEROV), 32, 20)  # type: ignore[arg-type]
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

    optimizer = sgd(0.01, 0.87, True)
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
        Program("8 features, scaled targets", hidden("relu") + dense(4), MSE, sgd(0.001, 0.87, True), 1, 100),
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


MUFL = (
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

CASES: tuple[Fault, ...] = LOCALIZE + MUFL
