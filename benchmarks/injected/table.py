"""The table of injectors, and the names that are right for each. Both were fixed before the tool had seen any pair.

A second name is right only where it says the same fault: where two rules describe one mechanism from its two ends
(small weights and the gradient that they make vanish), or where the fault is one of both by definition. What merely
follows from the fault (not learning, dead units after a huge step, an explosion after unscaled inputs) is not right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import faults as f
from .hosts import HOSTS, Host

Suits = Callable[[Host], str | None]
NORMALISED = ("binary", "cnn-batchnorm", "sigmoid-batchnorm")
RECURRENT = ("gru", "lstm")
ONE_OUTPUT = ("lstm", "regression", "residual")


def unchanged(host: Host) -> Host:
    return host


@dataclass(frozen=True)
class Injector:
    """One way to make one fault.

    suits: None, or why the fault cannot be made in a host. also: other right names, with the `reason`. against: what
    the injected network is compared with, the healthy host unless the fault needs a change that is no fault by itself.
    """

    rule: str
    variant: str
    what: str
    inject: f.Inject
    suits: Suits = lambda host: None
    also: tuple[str, ...] = ()
    reason: str = ""
    against: f.Inject = unchanged

    @property
    def id(self) -> str:
        return f"{self.rule}/{self.variant}"

    @property
    def right(self) -> frozenset[str]:
        return frozenset((self.rule, *self.also))


def without(reason: str, *names: str) -> Suits:
    return lambda host: reason if host.name in names else None


def only(reason: str, *names: str) -> Suits:
    return lambda host: None if host.name in names else reason


def kind(name: str, reason: str) -> Suits:
    return lambda host: None if host.kind == name else reason


def third(turn: int) -> Suits:
    """Three variants take turns over the hosts."""
    reason = "the three variants take turns over the hosts"
    return lambda host: None if sorted(HOSTS).index(host.name) // 2 % 3 == turn else reason


TAKEN_OUT = "normalisation after each layer takes the scale of the weights out again"
NO_MODULES = "its activations are inside the recurrent cell"
NO_RELU = "no units that can be off"
SAME_MECHANISM = "one mechanism from its two ends: weights of the wrong size, and what they do to the gradient"
BOTH = "what the loss expects and what the outputs can be are two sides of one mistake"

INJECTORS: tuple[Injector, ...] = (
    Injector("vanishing-gradient", "deep-sigmoid", "12 sigmoid layers, initialised by default", f.vanish,
             also=("weights-too-small", "collapsed-signal"),
             reason="default weights shrink the gradient too; the collapsed signal is the forward twin"),
    Injector("exploding-gradient", "deep-large", "8 ReLU layers with 4 times He's weights before the head", f.explode,
             also=("weights-too-large",), reason=SAME_MECHANISM),
    Injector("weights-too-large", "x30", "all weight matrices times 30", f.enlarge, without(TAKEN_OUT, *NORMALISED),
             also=("exploding-gradient", "saturated-activation"),
             reason=f"{SAME_MECHANISM}; where activations are bounded, large weights are what saturates them"),
    Injector("weights-too-small", "x0.01", "all weight matrices times 0.01", f.shrink, without(TAKEN_OUT, *NORMALISED),
             also=("vanishing-gradient", "collapsed-signal"), reason=SAME_MECHANISM),
    Injector("saturated-activation", "bias", "biases of +10 or -10 before each tanh, sigmoid or gate; ReLU made tanh",
             f.saturate, without("attention goes around its activations", "transformer"),
             also=("vanishing-gradient",), reason="what saturation leaves of the derivative is how it vanishes"),
    Injector("dead-units", "bias", "biases of -100 before each ReLU or GELU", f.kill,
             only(NO_RELU, "binary", "cnn", "cnn-batchnorm", "mlp", "regression", "residual", "transformer")),
    Injector("collapsed-signal", "batch-mean", "the features replaced by their mean over the batch", f.collapse),
    Injector("symmetric-weights", "constant", "all weight matrices constant, 0.05", f.symmetric),
    Injector("missing-nonlinearity", "identity", "every activation replaced by the identity", f.linearise,
             without(NO_MODULES, *RECURRENT)),
    Injector("unbounded-activation", "exchanged", "every activation replaced by exp", f.exponentiate,
             without(NO_MODULES, *RECURRENT)),
    Injector("unbounded-activation", "deep", "3 linear layers with exp before the head", f.exponentials),
    Injector("unscaled-inputs", "x1000", "inputs times 1000, plus 10000", f.scale_inputs),
    Injector("unscaled-targets", "x1000", "targets times 1000, plus 5000", f.scale_targets,
             kind("numbers", "its targets are no numbers")),
    Injector("unlearnable-targets", "fresh", "targets of other samples, drawn anew for every batch", f.scramble),
    Injector("loss-input-mismatch", "softmax", "softmax before cross-entropy", f.softmaxed,
             kind("classes", "no cross-entropy"), also=("output-range-mismatch",), reason=BOTH),
    Injector("loss-input-mismatch", "softmax-over-batch", "softmax over the batch before cross-entropy",
             f.softmaxed_over_batch, kind("classes", "no cross-entropy"), also=("output-range-mismatch",), reason=BOTH),
    Injector("loss-input-mismatch", "sigmoid", "sigmoid before BCE with logits", f.sigmoided,
             kind("binary", "no BCE"), also=("output-range-mismatch",), reason=BOTH),
    Injector("loss-input-mismatch", "softmax-of-one", "softmax over the one output before BCE with logits",
             f.softmaxed,
             kind("binary", "no BCE"), also=("output-range-mismatch",), reason=BOTH),
    Injector("output-range-mismatch", "relu", "ReLU on the outputs, targets of both signs", f.rectified,
             kind("numbers", "its targets are no numbers"), also=("loss-input-mismatch",), reason=BOTH),
    Injector("output-range-mismatch", "sigmoid", "sigmoid on the outputs, targets of both signs", f.sigmoided,
             kind("numbers", "its targets are no numbers"), also=("loss-input-mismatch",), reason=BOTH),
    Injector("output-range-mismatch", "tanh", "tanh on the logits", f.squashed,
             lambda host: "its outputs are no logits" if host.kind == "numbers" else None,
             also=("loss-input-mismatch",), reason=BOTH),
    Injector("target-shape-mismatch", "flat-targets", "targets (n,) against outputs (n, 1)", f.flat_targets,
             only("more than one output, or a loss that refuses other shapes", *ONE_OUTPUT)),
    Injector("target-shape-mismatch", "flat-outputs", "outputs (n,) against targets (n, 1)", f.flat_outputs,
             only("more than one output, or a loss that refuses other shapes", *ONE_OUTPUT)),
    Injector("non-finite", "log", "the logarithm of features, some of them negative", f.logarithm, third(0)),
    Injector("non-finite", "distance", "distances to oneself, whose root has no derivative", f.distances, third(1)),
    Injector("non-finite", "buffer", "a running scale that is infinite from the 41st step on", f.overflow, third(2)),
    Injector("gradient-underflow", "float16", "float16, the loss times 1e-6, SGD at a rate that takes it out again",
             f.underflow, against=f.half_precision),
    Injector("below-epsilon", "tiny-loss", "the loss times 1e-9, Adam", f.tiny_loss, against=f.with_adam),
    Injector("learning-rate-too-high", "x1000", "the learning rate times 1000", f.fast),
    Injector("learning-rate-too-low", "x0.0001", "the learning rate times 0.0001", f.slow),
    Injector("no-gradient", "detach", "the features detached before the head", f.detach),
    Injector("no-gradient", "no-grad", "the body under torch.no_grad", f.no_grad),
    Injector("not-in-optimizer", "matrices", "the optimizer is given biases and gains only", f.forget_matrices),
    Injector("over-regularised", "decay", "weight decay 10", f.decay),
    Injector("over-regularised", "dropout", "dropout 0.99 before the head", f.drop),
    Injector("batchnorm-small-batch", "pairs", "batch normalisation before the head, with batches of 2",
             f.normalised_pairs, against=f.pairs),
)  # fmt: skip

NOT_INJECTED = {
    "not-learning": "the symptom, not a cause",
    "gradients-not-cleared": "a mistake of the training loop, and a case leaves the loop to the tool",
    "eval-mode": "the same",
    "learning-rate-decayed": "the same",
    "same-batch": "the same",
    "frozen-parameters": "most of these networks learn on frozen random layers, and that is a choice",
}
