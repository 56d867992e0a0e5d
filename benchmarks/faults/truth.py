"""What each published ground truth means in unstick's words. Written before the tool's answers were looked at.

The collections use words of their own, and most programs carry several of them. A program's acceptable causes are the
union over its labels. `first` holds the rules that name the cause; `related` those that are true of such a program but
say what follows from the cause, so that they count among the first three and not as naming it. A label with neither is
nothing that these rules are about; a program that has only such labels is reported apart.

`not-learning` and `non-finite` are symptoms: they count as detection, never as a cause, but for programs whose
published truth is a number that is none.
"""

from __future__ import annotations

from dataclasses import dataclass

from .program import Fault


@dataclass(frozen=True)
class Truth:
    first: frozenset[str]
    related: frozenset[str]
    reason: str


def _truth(first: str, related: str, reason: str) -> Truth:
    return Truth(frozenset(first.split()), frozenset(related.split()), reason)


TRUTHS: dict[str, Truth] = {
    "healthy": _truth("", "", "nothing is wrong"),
    # -- the gradient
    "vanishing_gradient": _truth(
        "vanishing-gradient weights-too-small",
        "collapsed-signal below-epsilon gradient-underflow saturated-activation",
        "the gradient's loss by depth, or the weights that cause it; a collapsed signal is its forward twin",
    ),
    "exploding_gradient": _truth(
        "exploding-gradient weights-too-large",
        "non-finite unbounded-activation learning-rate-too-high",
        "growth by depth or over steps; the labels do not tell the two apart",
    ),
    "zero_gradient": _truth("no-gradient", "vanishing-gradient dead-units", "no gradient at all arrives"),
    "nan_loss": _truth("", "non-finite", "a symptom of whatever else is labelled"),
    "numerically_unstable_loss": _truth("non-finite loss-input-mismatch", "", "log 0 in a loss written by hand"),
    # -- activations
    "hidden_activation_unbounded": _truth(
        "unbounded-activation", "exploding-gradient non-finite", "exp in every hidden layer"
    ),
    "hidden_activation_saturating": _truth(
        "vanishing-gradient saturated-activation",
        "collapsed-signal below-epsilon",
        "sigmoids: either their flat ends, or derivatives of at most 1/4 over many layers",
    ),
    "saturated_activation": _truth("saturated-activation", "vanishing-gradient", "the flat ends themselves"),
    "wrong_hidden_activation": _truth(
        "vanishing-gradient saturated-activation", "collapsed-signal weights-too-small", "a softmax in hidden layers"
    ),
    "dying_relu": _truth("dead-units", "vanishing-gradient collapsed-signal no-gradient", "units that are off"),
    "missing_nonlinearity": _truth("missing-nonlinearity", "", "linear layers follow one another"),
    # -- the output and the loss
    "output_activation_loss_mismatch": _truth(
        "loss-input-mismatch output-range-mismatch", "dead-units non-finite", "the loss wants other numbers"
    ),
    "output_activation_range_mismatch": _truth(
        "output-range-mismatch", "unscaled-targets loss-input-mismatch", "the targets lie outside what can be given"
    ),
    "softmax_on_single_output": _truth(
        "loss-input-mismatch output-range-mismatch no-gradient",
        "vanishing-gradient saturated-activation",
        "a softmax over one unit is always 1, and its gradient is exactly zero",
    ),
    "double_softmax": _truth("loss-input-mismatch", "", "the loss applies the softmax itself"),
    "missing_softmax": _truth(
        "loss-input-mismatch output-range-mismatch", "non-finite", "logits where probabilities go"
    ),
    "wrong_loss": _truth("loss-input-mismatch", "output-range-mismatch", "another loss belongs to this output"),
    "wrong_loss_sum": _truth(
        "learning-rate-too-high", "exploding-gradient", "summing over the batch multiplies the step by its size"
    ),
    # -- data
    "missing_input_norm": _truth("unscaled-inputs", "saturated-activation", "inputs far from unit variance"),
    "input_scale_too_small": _truth("unscaled-inputs", "learning-rate-too-low", "inputs far below unit variance"),
    "unscaled_targets": _truth("unscaled-targets", "output-range-mismatch", "targets far from unit variance"),
    "label_corruption": _truth("unlearnable-targets", "", "labels that say nothing of the inputs"),
    "preprocessing_mismatch": _truth("", "", "images of another size than the network was pretrained on: not modelled"),
    # -- weights
    "wrong_init": _truth(
        "weights-too-small weights-too-large symmetric-weights", "", "says that, and not in which way"
    ),
    "init_scale_small": _truth("weights-too-small", "vanishing-gradient", "weights below what the depth needs"),
    "init_scale_large": _truth("weights-too-large", "exploding-gradient", "weights above it"),
    "unbroken_symmetry": _truth("symmetric-weights", "", "all units of a layer alike"),
    "wrong_bias_init": _truth("", "", "no rule is about biases"),
    "missing_batchnorm": _truth("", "", "the absence of a layer is no fault that can be measured"),
    # -- steps
    "lr_high": _truth("learning-rate-too-high", "dead-units non-finite exploding-gradient", "steps that overshoot"),
    "lr_high_for_batch1": _truth("learning-rate-too-high", "", "steps too large for single samples"),
    "oscillating_loss": _truth("learning-rate-too-high", "", "what oscillates overshoots"),
    "lr_low": _truth("learning-rate-too-low", "", "steps too small"),
    "optimizer_epsilon": _truth("", "", "an epsilon that is too small; the rule is about one that is too large"),
    "batch_size_too_small": _truth("", "", "the rule about small batches is about batch normalisation"),
    "over_regularised": _truth("over-regularised", "", "dropout or a penalty on the weights that is too strong"),
    "undertrained": _truth("", "", "more epochs: nothing is wrong with the network"),
    "oversized": _truth("", "", "more units than needed: does not keep it from learning"),
    # -- parameters
    "frozen_parameters": _truth("no-gradient", "not-in-optimizer", "requires_grad is off"),
    "optimizer_has_no_trainable_params": _truth(
        "not-in-optimizer", "no-gradient", "what could learn is not given to it"
    ),
}


def first(case: Fault) -> frozenset[str]:
    """Rules that name the cause of this case."""
    return frozenset().union(*(TRUTHS[label].first for label in case.labels))


def acceptable(case: Fault) -> frozenset[str]:
    """Rules that are true of this case: its causes, and what follows from them."""
    return first(case).union(*(TRUTHS[label].related for label in case.labels))
