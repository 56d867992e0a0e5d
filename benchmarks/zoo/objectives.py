"""Outputs and losses: what a network is asked for."""

from __future__ import annotations

import torch
from benchmarks.zoo.activations import dense
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.tasks import (
    adam,
    adamw,
    blobs,
    digits,
    generator,
    several_labels,
    tabular,
)
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case

ZOO = Collection("Outputs and losses")


def regressor(outputs: int = 1, *last: nn.Module) -> nn.Module:
    return nn.Sequential(*dense(nn.ReLU, inputs=8, outputs=outputs), *last)


@ZOO.add
def targets_of_deviation_three() -> Case:
    """regression, targets with mean 2 and standard deviation 3 (tempts unscaled-targets)."""
    x, y = tabular()
    return Case(regressor, (x, 3 * y + 2), F.mse_loss, optimizer=adam(3e-3))


@ZOO.add
def flat_targets() -> Case:
    """targets of shape (n,), outputs squeezed to it (tempts target-shape-mismatch)."""
    x, y = tabular()
    return Case(lambda: regressor(1, nn.Flatten(0)), (x, y[:, 0]), F.mse_loss, optimizer=adam(3e-3))


@ZOO.add
def several_regressions() -> Case:
    """three targets of different, sane sizes."""
    x, y = tabular()
    return Case(
        lambda: regressor(3), (x, torch.cat([y, 0.5 * x[:, :1], x[:, 1:2] ** 2], 1)), F.mse_loss, optimizer=adam(3e-3)
    )


@ZOO.add
def huber_with_outliers() -> Case:
    """Huber loss, 2 % of the targets far out."""
    x, y = tabular()
    outliers = torch.rand(y.shape, generator=generator(20)) < 0.02
    return Case(regressor, (x, torch.where(outliers, y + 20, y)), F.huber_loss, optimizer=adam(3e-3))


@ZOO.add
def absolute_error() -> Case:
    """L1 loss."""
    return Case(regressor, tabular(), F.l1_loss, optimizer=adam(3e-3))


@ZOO.add
def quantile_regression() -> Case:
    """pinball loss for three quantiles."""
    levels = torch.tensor([0.1, 0.5, 0.9])

    def pinball(out: Tensor, y: Tensor) -> Tensor:
        gap = y - out
        return torch.maximum(levels * gap, (levels - 1) * gap).mean()

    return Case(lambda: regressor(3), tabular(), pinball, optimizer=adam(3e-3))


@ZOO.add
def predicted_variance() -> Case:
    """Gaussian likelihood with a variance through exp (tempts unbounded-activation)."""

    def likelihood(out: Tensor, y: Tensor) -> Tensor:
        return F.gaussian_nll_loss(out[:, :1], y, out[:, 1:].exp())

    return Case(lambda: regressor(2), tabular(), likelihood, optimizer=adam(3e-3))


def _counts() -> tuple[Tensor, Tensor]:
    x, y = tabular()
    return x, torch.poisson((0.5 * y + 1).exp(), generator=generator(21))


@ZOO.add
def poisson_counts() -> Case:
    """counts, Poisson likelihood of the logarithm of the rate."""
    return Case(regressor, _counts(), F.poisson_nll_loss, optimizer=adam(3e-3))


@ZOO.add
def softplus_output() -> Case:
    """rates through softplus, Poisson likelihood of the rate."""
    loss = nn.PoissonNLLLoss(log_input=False)
    return Case(lambda: regressor(1, nn.Softplus()), _counts(), loss, optimizer=adam(3e-3))


@ZOO.add
def relu_output_for_amounts() -> Case:
    """targets that are never negative, behind a ReLU (tempts output-range-mismatch)."""
    x, y = tabular()
    return Case(
        lambda: regressor(4, nn.ReLU()), (x, torch.cat([y.abs(), x[:, :3].abs()], 1)), F.mse_loss, optimizer=adam(3e-3)
    )


@ZOO.add
def exp_output_for_amounts() -> Case:
    """targets that are positive, behind an exp."""

    class Exponential(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = regressor()

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x).exp()

    x, y = tabular()
    return Case(Exponential, (x, (0.5 * y).exp()), F.mse_loss, optimizer=adam(3e-3))


@ZOO.add
def tanh_output() -> Case:
    """targets in [-1, 1] behind a tanh (tempts output-range-mismatch)."""
    x, y = tabular()
    return Case(lambda: regressor(1, nn.Tanh()), (x, torch.tanh(y)), F.mse_loss, optimizer=adam(3e-3))


@ZOO.add
def sigmoid_output_for_shares() -> Case:
    """targets in [0, 1] behind a sigmoid, squared error."""
    x, y = tabular()
    return Case(lambda: regressor(1, nn.Sigmoid()), (x, torch.sigmoid(y)), F.mse_loss, optimizer=adam(3e-3))


@ZOO.add
def sigmoid_and_binary_cross_entropy() -> Case:
    """probabilities and BCELoss, properly used (tempts loss-input-mismatch)."""
    model = lambda: regressor(5, nn.Sigmoid())  # noqa: E731
    return Case(model, several_labels(), nn.BCELoss(), optimizer=adam(3e-3))


@ZOO.add
def multi_label_logits() -> Case:
    """five labels that are on or off, logits."""
    return Case(lambda: regressor(5), several_labels(), F.binary_cross_entropy_with_logits, optimizer=adam(3e-3))


@ZOO.add
def one_logit() -> Case:
    """two classes, one logit, targets of shape (n, 1)."""
    x, y = blobs(2)
    model = lambda: dense(nn.ReLU, inputs=6, outputs=1)  # noqa: E731
    return Case(model, (x, y[:, None].float()), F.binary_cross_entropy_with_logits, optimizer=adam(3e-3))


@ZOO.add
def log_softmax_and_likelihood() -> Case:
    """LogSoftmax and NLLLoss, properly used (tempts loss-input-mismatch)."""
    model = lambda: nn.Sequential(*dense(nn.ReLU), nn.LogSoftmax(1))  # noqa: E731
    return Case(model, digits(), nn.NLLLoss(), optimizer=adam(3e-3))


@ZOO.add
def softmax_and_log() -> Case:
    """probabilities whose logarithm the loss takes itself."""
    model = lambda: nn.Sequential(*dense(nn.ReLU), nn.Softmax(1))  # noqa: E731
    return Case(model, digits(), lambda p, y: F.nll_loss((p + 1e-8).log(), y), optimizer=adam(3e-3))


@ZOO.add
def probabilities_and_squares() -> Case:
    """softmax and Brier score: squared error of probabilities against one-hot targets."""
    x, y = digits()
    model = lambda: nn.Sequential(*dense(nn.ReLU), nn.Softmax(1))  # noqa: E731
    return Case(model, (x, F.one_hot(y, 10).float()), F.mse_loss, optimizer=adam(3e-3))


@ZOO.add
def soft_targets() -> Case:
    """distillation: divergence from another distribution over the classes."""
    x, y = digits()
    soft = 0.9 * F.one_hot(y, 10) + 0.01
    loss = lambda out, p: F.kl_div(out.log_softmax(1), p, reduction="batchmean")  # noqa: E731
    return Case(lambda: dense(nn.ReLU), (x, soft), loss, optimizer=adam(3e-3))


@ZOO.add
def class_probabilities() -> Case:
    """cross-entropy with probabilities as targets."""
    x, y = digits()
    return Case(lambda: dense(nn.ReLU), (x, 0.8 * F.one_hot(y, 10) + 0.02), F.cross_entropy, optimizer=adam(3e-3))


@ZOO.add
def label_smoothing() -> Case:
    """cross-entropy with labels smoothed by 0.1."""
    return Case(lambda: dense(nn.ReLU), digits(), nn.CrossEntropyLoss(label_smoothing=0.1), optimizer=adam(3e-3))


@ZOO.add
def large_margin() -> Case:
    """a linear support vector machine: multi-class hinge loss."""
    return Case(lambda: nn.Linear(64, 10), digits(), nn.MultiMarginLoss(), optimizer=adamw(3e-3))


@ZOO.add
def focal_loss() -> Case:
    """cross-entropy weighted by (1 - p)²."""

    def focal(out: Tensor, y: Tensor) -> Tensor:
        each = F.cross_entropy(out, y, reduction="none")
        return ((1 - torch.exp(-each)) ** 2 * each).mean()

    return Case(lambda: dense(nn.ReLU), digits(), focal, optimizer=adam(3e-3))


@ZOO.add
def ordinal_steps() -> Case:
    """ordered classes as four thresholds, each a logit."""
    x, y = tabular()
    steps = (y > torch.tensor([-1.0, -0.3, 0.3, 1.0])).float()
    return Case(lambda: regressor(4), (x, steps), F.binary_cross_entropy_with_logits, optimizer=adam(3e-3))


@ZOO.add
def summed_loss() -> Case:
    """a loss summed over the batch, and a learning rate to go with it."""
    loss = nn.CrossEntropyLoss(reduction="sum")
    return Case(lambda: dense(nn.ReLU), digits(), loss, optimizer=adam(1e-3))
