"""Did it learn? The network against the best output that ignores its input, on held batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .batches import with_target
from .observation import Learning
from .setup import Setup
from .intervals import t_interval

CONFIDENCE = 0.99
SMALLEST_EFFECT = 0.01
"""A loss within 1 % of the constant predictor's has not left it. As a share of that loss it does not depend on the
number of classes or on the unit of the targets."""
SHUFFLES = 16
Z_USED = 4.0  # standard deviations between the true and the shuffled targets' loss: one in 30,000 by chance


class Examiner:
    """Evaluates one setup on batches that stay the same, before and after training.

    Forward passes are made as in training (the modules' own modes, dropout and all), since it is the training that is
    judged; buffers such as running averages are put back afterwards.
    """

    def __init__(self, setup: Setup, batches: Sequence[Any], metric: Callable[[Any, Any], float] | None) -> None:
        self._setup, self._batches, self._metric = setup, batches, metric
        self._initial = self._losses(batches)

    def conclude(self, steps: int) -> tuple[Learning, float | None]:
        """What the network has learned since the examiner was made, and the case's metric."""
        with buffers_kept(self._setup.model), torch.no_grad():
            outputs = self._outputs()
            final = self._losses(self._batches)
            shuffled = self._shuffled(outputs)
        constant = None if outputs is None else constant_losses(outputs, self._setup.criterion)
        reference = self._initial if constant is None else constant
        gaps = [r - f for r, f in zip(reference, final, strict=True)]
        low, high = t_interval(gaps, CONFIDENCE) if all(map(math.isfinite, gaps)) else (-math.inf, math.inf)
        needed = SMALLEST_EFFECT * abs(_mean(reference))
        mean_final = _mean(final)
        uses_input, drop = _uses_input(mean_final, shuffled)
        learns = low > 0 and _mean(gaps) >= needed
        if constant is None and not learns and uses_input:
            # Without outputs there is no constant predictor; a network that had converged before the run began shows
            # it by what it loses when its targets are shuffled.
            learns = drop >= SMALLEST_EFFECT * abs(mean_final + drop)
        learning = Learning(
            learns=learns,
            initial_loss=_mean(self._initial),
            final_loss=mean_final,
            constant_loss=None if constant is None else _mean(constant),
            below=(low, high),
            steps=steps,
            uses_input=uses_input,
        )
        return learning, self._score(outputs)

    def _losses(self, batches: Sequence[Any]) -> list[float]:
        with buffers_kept(self._setup.model), torch.no_grad():
            return torch.stack([self._setup.forward(batch).detach().float() for batch in batches]).tolist()

    def _outputs(self) -> list[tuple[Any, Any]] | None:
        predict = self._setup.predict
        if predict is None:
            return None
        with self._setup.active():
            return [predict(self._setup.model, batch) for batch in self._batches]

    def _shuffled(self, outputs: list[tuple[Any, Any]] | None) -> list[float]:
        """Mean loss with the targets shuffled between samples, several times; empty where it cannot be done."""
        generator = torch.Generator().manual_seed(0)

        def mix(target: Tensor) -> Tensor:
            return target[torch.randperm(len(target), generator=generator).to(target.device)]

        if outputs is not None:
            if not all(isinstance(target, Tensor) and target.dim() for _, target in outputs):
                return []
            criterion = self._setup.criterion
            assert criterion is not None
            rounds = [[criterion(out, mix(target)).detach() for out, target in outputs] for _ in range(SHUFFLES)]
            return [torch.stack(losses).mean().item() for losses in rounds]
        if any(with_target(batch, lambda t: t) is None for batch in self._batches):
            return []
        return [_mean(self._losses([with_target(batch, mix) for batch in self._batches])) for _ in range(SHUFFLES)]

    def _score(self, outputs: list[tuple[Any, Any]] | None) -> float | None:
        if outputs is None or self._metric is None:
            return None
        return _mean([float(self._metric(out, target)) for out, target in outputs])


def _uses_input(loss: float, shuffled: list[float]) -> tuple[bool | None, float]:
    """Whether the true targets fit better than shuffled ones, and by how much on average."""
    if not shuffled or not math.isfinite(loss):
        return None, 0.0
    drop = _mean(shuffled) - loss
    if not math.isfinite(drop):
        return None, 0.0
    scatter = math.sqrt(sum((s - loss - drop) ** 2 for s in shuffled) / (len(shuffled) - 1))
    return drop > Z_USED * scatter and drop > 1e-3 * abs(loss), drop


# -- the best constant predictor ---------------------------------------------------------------------------------------


def constant_losses(outputs: Sequence[tuple[Any, Any]], criterion: Any) -> list[float] | None:
    """Loss per batch of the best output that is the same for every sample; None where outputs are no tensors.

    The constant is fitted to these very batches, so it is as good as a constant can be. It keeps to the range that
    the network's own outputs keep to: a softmax output competes with a constant distribution, not with numbers that
    no softmax could give. For outputs with more than two axes it is the same at every position, too.
    """
    if not all(isinstance(out, Tensor) and out.is_floating_point() for out, _ in outputs):
        return None
    sample = torch.cat([out.detach() for out, _ in outputs]) if outputs[0][0].dim() else None
    if sample is None or not bool(sample.isfinite().all()):
        return None
    start = sample.mean(0, keepdim=True)
    units = 1 if sample.dim() >= 4 else sample.dim() - 1
    for axis in range(1, sample.dim()):
        if axis != units:
            start = start.mean(axis, keepdim=True)
    squash, unsquash = _range(sample, units)
    parameter = unsquash(start).double().clone().requires_grad_()

    def loss(free: Tensor) -> Tensor:
        constant = squash(free).to(sample.dtype)
        return torch.stack([criterion(constant.expand_as(out), target) for out, target in outputs])

    best = _minimise(parameter, loss)
    return None if best is None else best.tolist()


def _range(sample: Tensor, units: int) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """A map from free numbers onto the range that the outputs keep to, and its inverse."""
    inside = bool((sample >= 0).all() and (sample <= 1).all())
    if sample.dim() > 1 and sample.shape[units] > 1:
        if inside and torch.allclose(sample.sum(units), torch.ones(()).to(sample), atol=1e-3):
            return (lambda free: free.softmax(units)), (lambda p: p.clamp(min=1e-6).log())
        if bool((sample <= 0).all()) and torch.allclose(sample.exp().sum(units), torch.ones(()).to(sample), atol=1e-3):
            return (lambda free: free.log_softmax(units)), (lambda p: p)
    if inside:
        return torch.sigmoid, (lambda p: p.clamp(1e-6, 1 - 1e-6).logit())
    return (lambda free: free), (lambda p: p)


def _minimise(parameter: Tensor, losses: Callable[[Tensor], Tensor]) -> Tensor | None:
    """The lowest losses that L-BFGS comes across; where the loss refuses a value, what was found before."""
    best: list[Tensor] = []
    optimizer = torch.optim.LBFGS([parameter], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        values = losses(parameter)
        mean = values.mean()
        mean.backward()
        if bool(mean.isfinite()) and (not best or mean < best[0].mean()):
            best[:] = [values.detach().clone()]
        return mean

    try:
        optimizer.step(closure)
    except (RuntimeError, ValueError, IndexError):
        pass  # a loss may raise on values outside its range; what was found so far stands
    return best[0] if best else None


class buffers_kept:
    """Puts a model's buffers (running averages and the like) back when it ends."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._buffers = list(model.buffers())

    def __enter__(self) -> None:
        self._saved = [b.detach().clone() for b in self._buffers]

    def __exit__(self, *_: Any) -> None:
        with torch.no_grad():
            for buffer, saved in zip(self._buffers, self._saved, strict=True):
                buffer.copy_(saved)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
