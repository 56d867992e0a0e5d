"""Programs from the evaluations of other checkers, most with one fault put into a clean twin.

Sources: thedeepchecker/thedeepchecker (Ben Braiek and Khomh 2023); neuralint/neuralint (Nikanjam et al. 2021);
BerkeleyHCI/umlaut (Schoop, Huang and Hartmann, CHI 2021); OrderLab/TrainCheck-Evaluation-Workloads (Jiang et al., OSDI
2025). The images of MNIST and CIFAR-10 are replaced by scikit-learn's digits, and kernels and pools made to fit; batch
sizes that are not published are 64.
"""

from __future__ import annotations

from dataclasses import replace

from .keras import BATCHNORM, FLATTEN, Layer, Layers, conv, dense, dropout, pool
from .program import Fault, Program
from .training import Optimizer, adam, sgd

XENT = "softmax_crossentropy"
DIGITS = "digits for MNIST, 3 x 3 kernels"
NOT_CIFAR = "digits for CIFAR-10, two pools for three, half as many channels"

# -- TheDeepChecker: one fault each ------------------------------------------------------------------------------------


def base(activation: str = "relu", init: str = "he_normal", units: int = 512, output: str | None = None) -> Layers:
    """A small convolutional network; the initialiser of the hidden layers is `init`."""
    convolutions = conv(32, 3, activation, init, same=True) + pool() + conv(64, 3, activation, init, same=True) + pool()
    return convolutions + FLATTEN + dense(units, activation, init) + dense(10, output, "he_normal")


def deep(
    activation: str = "relu",
    init: str = "he_normal",
    normal: Layers = BATCHNORM,
    rates: tuple[float, ...] = (0.2, 0.3, 0.4, 0.5),
) -> Layers:
    """A network like VGG: two convolutions of each width, batch normalisation, dropout. Published: 32, 64 and 128."""
    net: Layers = ()
    for width, rate in zip((16, 32, 64), rates[:3], strict=True):
        net += (conv(width, 3, activation, init, same=True) + normal) * 2
        net += (pool() if width < 64 else ()) + dropout(rate)
    return net + FLATTEN + dense(128, activation, init) + normal + dropout(rates[3]) + dense(10, None, "he_normal")


def _program(layers: Layers, optimizer: Optimizer, data: str = "digit images", loss: str = XENT) -> Program:
    return Program(data, layers, loss, optimizer, 64)


L2 = 1e-5
BASE = _program(base(), sgd(0.1, l2=L2))
DEEP = _program(deep(), sgd(0.001, 0.9))

# (name, labels, the faulty program, the repair in unstick's words)
BASE_FAULTS: tuple[tuple[str, tuple[str, ...], Program, tuple[str, ...]], ...] = (
    ("high_lr", ("lr_high",), _program(base(units=1024), sgd(0.5, l2=L2)), ("lr(x0.2)",)),
    ("low_lr", ("lr_low",), replace(BASE, optimizer=sgd(0.001, l2=L2)), ("lr(x100)",)),
    (
        "low_adam_eps",
        ("lr_high", "optimizer_epsilon"),
        replace(BASE, optimizer=adam(0.1, 1e-16, l2=L2)),
        ("sgd(lr=0.1)", "lr(x0.01)"),
    ),
    (
        "miss_norm",
        ("missing_input_norm", "exploding_gradient"),
        replace(BASE, data="digit images, raw"),
        ("standardize",),
    ),
    ("dbl_norm", ("input_scale_too_small",), replace(BASE, data="digit images, scaled twice"), ("standardize",)),
    (
        "init_const",
        ("wrong_init", "unbroken_symmetry"),
        _program(base(init="constant(0.01)"), BASE.optimizer),
        ("init(he)",),
    ),
    (
        "init_random",
        ("wrong_init", "init_scale_large"),
        _program(base(init="normal(0.1)"), BASE.optimizer),
        ("init(he)",),
    ),
    (
        "softmax_hidden",
        ("wrong_hidden_activation", "vanishing_gradient"),
        _program(base("softmax"), BASE.optimizer),
        ("relu",),
    ),
    ("redundant_softmax", ("double_softmax",), _program(base(output="softmax"), BASE.optimizer), ()),
    ("mse_loss", ("wrong_loss",), _program(base(output="softmax"), BASE.optimizer, loss="mse"), ()),
)
DEEP_FAULTS: tuple[tuple[str, tuple[str, ...], Program, tuple[str, ...]], ...] = (
    ("high_lr", ("lr_high",), replace(DEEP, optimizer=sgd(0.1, 0.9)), ("lr(x0.01)",)),
    ("low_lr", ("lr_low",), replace(DEEP, optimizer=sgd(1e-5, 0.9)), ("lr(x100)",)),
    ("miss_batchnorm", ("missing_batchnorm",), _program(deep(normal=()), DEEP.optimizer), ("batchnorm(after)",)),
    (
        "init_const",
        ("wrong_init", "unbroken_symmetry"),
        _program(deep(init="constant(0.01)"), DEEP.optimizer),
        ("init(he)",),
    ),
    (
        "init_random",
        ("wrong_init", "init_scale_large"),
        _program(deep(init="normal(0.25)"), DEEP.optimizer),
        ("init(he)",),
    ),
    (
        "softmax_hidden",
        ("wrong_hidden_activation", "vanishing_gradient"),
        _program(deep("softmax"), DEEP.optimizer),
        ("relu",),
    ),
    ("over_dropout", ("over_regularised",), _program(deep(rates=(0.5,) * 4), DEEP.optimizer), ()),
)


def _synthetic(
    twin: str, clean: Program, substitute: str, row: tuple[str, tuple[str, ...], Program, tuple[str, ...]]
) -> Fault:
    name, labels, program, remedies = row
    return Fault(
        f"TDC-{twin}-{name}",
        f"TheDeepChecker, injected ({twin})",
        "thedeepchecker/thedeepchecker: buggy_synthetic_programs",
        "A",
        labels,
        program,
        clean,
        remedies,
        substitute,
    )


# -- TheDeepChecker: reproduced from questions and repositories --------------------------------------------------------


def _reproduced(name: str, labels: tuple[str, ...], program: Program, fix: Program, **more: object) -> Fault:
    source = f"thedeepchecker/thedeepchecker: {'GH' if name.startswith('TFE') else 'SO'}_buggy_examples/{name}"
    family = "TheDeepChecker, reproduced"
    return Fault(f"TDC-{name}", family, source, "D", labels, program, fix, **more)  # type: ignore[arg-type]


def _parabola() -> Fault:
    program = Program("parabola", dense(1, None, "zeros"), "sum_of_squares", sgd(0.01), 4)
    labels = ("lr_high", "wrong_loss_sum", "exploding_gradient")
    return _reproduced("IPS_17", labels, program, replace(program, loss="mse"), remedies=("lr(x0.1)",))


def _line() -> Fault:
    program = Program("noisy line", dense(1, None, "zeros"), "mse", sgd(0.1), 8)
    fix = replace(program, optimizer=sgd(0.01))
    return _reproduced("IPS_5", ("lr_high", "exploding_gradient"), program, fix, remedies=("lr(x0.1)",))


def _log_of_logits() -> Fault:
    layers = dense(512, "sigmoid", "normal(1)") + dense(10, None, "normal(1)")
    program = Program("digits", layers, "plain_binary_log_loss", sgd(0.05), 64)
    fix = replace(program, loss=XENT)
    labels = ("output_activation_loss_mismatch", "nan_loss", "saturated_activation", "wrong_init")
    return _reproduced("IPS_7", labels, program, fix, substitute="digits for MNIST")


def _logistic() -> Fault:
    program = Program("breast cancer", dense(1, "sigmoid", "zeros"), "binary_crossentropy", sgd(0.5, l2=0.5), 64)
    fix = replace(program, data="breast cancer, scaled", optimizer=sgd(0.05))
    labels = ("lr_high", "missing_input_norm", "over_regularised")
    remedies = ("standardize", "standardize+lr(x0.1)")
    return _reproduced("IPS_13", labels, program, fix, remedies=remedies, substitute="breast cancer for SA heart")


def _unclipped() -> Fault:
    def layers(output: str | None) -> Layers:
        init, bias = "normal(0.1)", "constant(0.1)"
        net = conv(32, 3, "relu", init, bias, same=True) + pool() + conv(64, 3, "relu", init, bias, same=True) + pool()
        return net + FLATTEN + dense(256, "relu", init, bias) + dropout(0.5) + dense(10, output, init, bias)

    program = Program("digit images", layers("softmax"), "plain_log_loss", adam(1e-4), 50)
    fix = replace(program, layers=layers(None), loss=XENT)
    return _reproduced("IPS_1", ("numerically_unstable_loss", "nan_loss"), program, fix, substitute=DIGITS)


def _summed() -> Fault:
    layers = dense(256, "relu", "normal(1)") * 2 + dense(10, None, "normal(1)")
    program = Program("digits", layers, "summed_softmax_crossentropy", sgd(0.01), 100)
    labels = ("wrong_loss_sum", "lr_high", "exploding_gradient", "wrong_init")
    fix = replace(program, loss=XENT)
    return _reproduced("TFE_bc09f95", labels, program, fix, remedies=("lr(x0.01)",), substitute="digits for MNIST")


# -- NeuraLint: one fault each -----------------------------------------------------------------------------------------


def lenet(
    init: str = "glorot_uniform", bias: str = "zeros", activation: str | None = "relu", output: str | None = None
) -> Layers:
    net = (
        conv(32, 3, activation, init, bias, same=True)
        + pool()
        + conv(64, 3, activation, init, bias, same=True)
        + pool()
    )
    return net + FLATTEN + dense(512, "relu", init, bias) + dropout(0.25) + dense(10, output, init, bias)


LENET = Program("digit images", lenet(), XENT, adam(0.0003), 32, 5)
LENET_FAULTS: tuple[tuple[str, tuple[str, ...], Layers, tuple[str, ...]], ...] = (
    ("zeros_init", ("wrong_init", "zero_gradient"), lenet("zeros"), ("init(he)",)),
    ("constant_init", ("wrong_init", "unbroken_symmetry"), lenet("constant(0.1)"), ("init(he)",)),
    ("missing_relus", ("missing_nonlinearity",), lenet(activation=None), ()),
    ("non_zeros_biases", ("wrong_bias_init",), lenet(bias="ones"), ("init(he)",)),
    ("redundant_activation", ("double_softmax",), lenet(output="softmax softmax"), ()),
)


def _lint(row: tuple[str, tuple[str, ...], Layers, tuple[str, ...]]) -> Fault:
    name, labels, layers, remedies = row
    loss = "categorical_crossentropy" if "double_softmax" in labels else XENT
    return Fault(
        f"NL-{name}",
        "NeuraLint, injected",
        f"neuralint/neuralint: sample_buggy_scripts/Synthetic Samples/TF_lenet_{name}.py",
        "A",
        labels,
        replace(LENET, layers=layers, loss=loss),
        LENET,
        remedies,
        DIGITS,
    )


# -- others ------------------------------------------------------------------------------------------------------------


def _umlaut() -> Fault:
    def layers(output: str | None, rate: float) -> Layers:
        net: Layers = ()
        for width in (64, 128):
            net += conv(width, 3, "relu", same=True) * 2 + pool() + dropout(rate)
        return net + FLATTEN + dense(128, "relu") * 2 + dropout(rate) + dense(10, output)

    program = Program("digit images, raw", layers(None, 0.8), "categorical_crossentropy", adam(), 128, 10)
    return Fault(
        "UM-eval_a",
        "Umlaut",
        "BerkeleyHCI/umlaut: user_eval/eval_a.py",
        "A",
        ("missing_input_norm", "over_regularised", "missing_softmax"),
        program,
        replace(program, data="digit images", layers=layers("softmax", 0.2)),
        substitute="digits of 0 to 255 for CIFAR-10",
    )


def _frozen() -> Fault:
    def layers(frozen: bool) -> Layers:
        net = conv(32, 3, same=True, frozen=frozen) + BATCHNORM + (Layer("relu"),)
        return net + pool() + FLATTEN + dense(10, None, frozen=frozen)

    program = Program("digit images", layers(True), XENT, adam(last=2), 64)
    return Fault(
        "TC-pytorch-forum-84911",
        "TrainCheck",
        "OrderLab/TrainCheck-Evaluation-Workloads: silent-issue-detection/bug-reprod-scripts/pytorch-forum-84911",
        "A",
        ("frozen_parameters", "optimizer_has_no_trainable_params", "preprocessing_mismatch"),
        program,
        replace(program, layers=layers(False), optimizer=adam()),
        substitute="a small network with batch normalisation on digits for a pretrained EfficientNet",
    )


CASES: tuple[Fault, ...] = (
    *(_synthetic("baseCNN", BASE, DIGITS, row) for row in BASE_FAULTS),
    *(_synthetic("deepCNN", DEEP, NOT_CIFAR, row) for row in DEEP_FAULTS),
    _parabola(),
    _line(),
    _log_of_logits(),
    _logistic(),
    _unclipped(),
    _summed(),
    *(_lint(row) for row in LENET_FAULTS),
    _umlaut(),
    _frozen(),
)

LEFT_OUT = {
    "TDC-deepCNN-bn_stats_not_updated": "running averages that are never updated show only in evaluation, and nothing "
    "in the training that is observed is wrong",
}
