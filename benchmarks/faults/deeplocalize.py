"""Programs that were asked about on Stack Overflow, as collected by DeepLocalize.

Source: Wardat-ISU/DeepLocalize (Wardat, Le and Rajan, ICSE 2021), labels as revised in ArabelaTso/DeepFD (Cao et al.,
ICSE 2022). Each id ends with the number of the question.
"""

from __future__ import annotations

from dataclasses import replace

from .keras import BATCHNORM, FLATTEN, Layer, Layers, conv, dense, dropout, pool
from .program import Fault, Program
from .training import adam, nesterov, rmsprop, sgd

BCE, CCE, MSE = "binary_crossentropy", "categorical_crossentropy", "mse"


def localize(
    number: str, labels: tuple[str, ...], program: Program, fix: Program | None = None, **more: object
) -> Fault:
    source = f"Wardat-ISU/DeepLocalize: Benchmark/StackOverflow/{number}"
    return Fault(f"SO-{number}", "Stack Overflow (DeepLocalize)", source, "B", labels, program, fix, **more)  # type: ignore[arg-type]


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

    program = Program("counties", layers("softmax", ()), MSE, nesterov(0.1), 16, 20)
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

    program = Program("weighted sum", layers("softmax"), MSE, nesterov(0.1), 32, 20)
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

    program = Program("xor", layers("softmax"), MSE, nesterov(0.001), 32, 20)
    return localize(
        "34311586",
        ("softmax_on_single_output", "lr_low", "wrong_init", "undertrained", "vanishing_gradient"),
        program,
        replace(program, layers=layers("sigmoid"), optimizer=nesterov(0.1), epochs=10_000),
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


CASES: tuple[Fault, ...] = (
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
