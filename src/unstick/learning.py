"""Did it learn? The network against the best output that ignores its input, on held batches."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from statistics import variance
from typing import Any

import torch
from torch import Tensor

from .batches import tensors, with_target
from .constant import Outputs, average, constant_losses, finite, numbers
from .ends import ends
from .errors import CaseError
from .intervals import t_interval
from .observation import SMALLEST_EFFECT, Ends, Learning
from .setup import Setup
from .state import drawing, random_state
from .trace.source import describe
from .trace.types import Trace

CONFIDENCE = 0.99
SHUFFLES, PASSES = 16, 4
"""How often targets are shuffled: with the outputs at hand, and where each time costs a forward pass of its own.

Shuffled losses scatter within each of B batches, so that n shuffles give B (n - 1) degrees of freedom: 4 of them on 16
batches 48, more than the 15 that the means of 16 shuffles have."""
Z_USED = 4.0
"""Standard deviations. Where nothing is used, a difference over its scatter has Student's distribution, wider by the
root of 1 + 1/n: with 4 shuffles of 16 batches it is above 4 by chance in 4 of 10,000 cases, with 16 in less than 1."""


class Examiner:
    """Evaluates one setup on batches that stay the same, before and after training.

    Forward passes are made as in training (the modules' own modes, dropout and all), since it is the training that is
    judged; buffers such as running averages are put back afterwards.
    """

    def __init__(self, setup: Setup, batches: Sequence[Any], metric: Callable[[Any, Any], float] | None) -> None:
        self._setup, self._batches = setup, batches
        # A metric that is a module (torchmetrics) counts what it sees, and is the user's.
        self._metric = copy.deepcopy(metric) if isinstance(metric, torch.nn.Module) else metric
        self._draws = random_state()
        self._initial = self._losses(batches)
        self._concluded: Outputs | None = None
        if metric is not None:  # a metric that fails should not do so at the end of the run
            with buffers_kept(setup.model), torch.no_grad():
                self._score(self._outputs(batches[:1]))

    def conclude(self, steps: int) -> tuple[Learning, float | None]:
        """What the network has learned since the examiner was made, and the case's metric."""
        with buffers_kept(self._setup.model), torch.no_grad():
            outputs = self._outputs(self._batches)
            final = self._losses(self._batches) if outputs is None else self._compared(outputs)
            shuffled = self._shuffled(outputs)
            metric = self._score(outputs)
        constant = None if outputs is None else constant_losses(outputs, self._setup.criterion)
        reference = self._initial if constant is None else constant
        below, learns = _compare(reference, final)
        mean_final = average(final)
        uses_input, drop = _uses_input(mean_final, shuffled, outputs)
        if uses_input is False and outputs is None and self._ignores_targets():
            uses_input = None
        if constant is None and uses_input is False and self._knows_targets():
            learns = False  # it is better than before, and may know no more than how frequent each target is
        if constant is None and uses_input and drop >= SMALLEST_EFFECT * abs(mean_final + drop):
            learns = True  # it may have converged before the run began
        learning = Learning(
            learns=learns,
            initial_loss=average(self._initial),
            final_loss=mean_final,
            constant_loss=None if constant is None else average(constant),
            below=below,
            steps=steps,
            uses_input=uses_input,
        )
        self._concluded = outputs
        return learning, metric

    def ends(self, trace: Trace) -> Ends | None:
        """Both ends of the loss, after `conclude`. trace: any of this network."""
        outputs, criterion = self._concluded, self._setup.criterion
        if outputs is None or criterion is None:
            return None
        with torch.no_grad(), self._setup.active():
            return ends(outputs, criterion, trace)

    def _losses(self, batches: Sequence[Any]) -> list[float]:
        with buffers_kept(self._setup.model), torch.no_grad(), self._same_draws():
            return numbers([self._setup.forward(batch) for batch in batches])

    def _same_draws(self) -> AbstractContextManager[None]:
        """What is drawn inside (dropout, the noise of a diffusion) is the same every time, so that losses can be
        compared."""
        return drawing(self._draws)

    def _outputs(self, batches: Sequence[Any]) -> Outputs | None:
        predict = self._setup.predict
        if predict is None:
            return None
        with self._setup.active(), self._same_draws():
            return [predict(self._setup.model, batch) for batch in batches]

    def _compared(self, outputs: Outputs) -> list[float]:
        """Loss per batch of outputs against targets."""
        criterion = self._setup.criterion
        assert criterion is not None
        with self._setup.active():
            return numbers([criterion(out, target) for out, target in outputs])

    def _shuffled(self, outputs: Outputs | None) -> list[list[float]]:
        """Loss of each batch with the targets shuffled between samples, several times; empty where it cannot be done.

        Where the outputs are there, it is these very outputs that meet the shuffled targets: a second forward pass
        could differ from them by more than the shuffling does (dropout).
        """
        generator = torch.Generator().manual_seed(0)
        moved = False

        def mix(target: Tensor) -> Tensor:
            nonlocal moved
            mixed = target[torch.randperm(len(target), generator=generator).to(target.device)]
            moved = moved or not torch.equal(mixed, target)
            return mixed

        if outputs is None:
            if any(with_target(batch, lambda t: t) is None for batch in self._batches):
                return []
            rounds = [self._losses([with_target(batch, mix) for batch in self._batches]) for _ in range(PASSES)]
        else:
            if not all(isinstance(target, Tensor) and target.dim() for _, target in outputs):
                return []
            rounds = [self._compared([(out, mix(target)) for out, target in outputs]) for _ in range(SHUFFLES)]
        return rounds if moved else []

    def _knows_targets(self) -> bool:
        """Whether targets are what a loss is given, or what a batch calls so. Of a tuple that only the user's own step
        reads, the last tensor may be anything: the noise that is to be taken away, weights, lengths."""
        return self._setup.predict is not None or all(isinstance(batch, Mapping) for batch in self._batches)

    def _ignores_targets(self) -> bool:
        """Whether a step pays no heed to the targets (that of an autoencoder does not), so that nothing follows from
        shuffling them: under the same random draws, one target in the place of all others changes nothing."""
        with_one = [with_target(batch, lambda t: t[:1].expand_as(t).contiguous()) for batch in self._batches]
        return self._losses(with_one) == self._losses(self._batches)

    def _score(self, outputs: Outputs | None) -> float | None:
        """The metric, averaged over the batches; None where there is none, or the network has diverged."""
        if outputs is None or self._metric is None or not all(finite(out) for out, _ in outputs):
            return None
        try:
            return average([float(self._metric(out, target)) for out, target in outputs])
        except Exception as error:
            raise CaseError(f"the metric failed: {describe(error)}") from error


def _compare(reference: list[float], final: list[float]) -> tuple[tuple[float, float], bool]:
    """By how much the losses are below those of the reference, and whether that is significant and no trifle."""
    gaps = [r - f for r, f in zip(reference, final, strict=True)]
    below = t_interval(gaps, CONFIDENCE) if all(map(math.isfinite, gaps)) else (-math.inf, math.inf)
    return below, below[0] > 0 and average(gaps) >= SMALLEST_EFFECT * abs(average(reference))


def _uses_input(loss: float, shuffled: list[list[float]], outputs: Outputs | None) -> tuple[bool | None, float]:
    """Whether the true targets fit better than shuffled ones, and by how much on average. shuffled: as `_shuffled`
    gives it."""
    if not shuffled or not math.isfinite(loss):
        return None, 0.0
    drop = average([average(losses) for losses in shuffled]) - loss
    if not math.isfinite(drop):
        return None, 0.0
    batches = list(zip(*shuffled, strict=True))
    scatter = math.sqrt(sum(map(variance, batches))) / len(batches)  # of a mean over the batches
    if scatter == 0 and (drop != 0 or (outputs is not None and _any_differ(outputs))):
        return None, 0.0  # shuffling does always the same, or nothing to outputs that do differ: the loss is no judge
    return drop > Z_USED * scatter and drop > 1e-3 * abs(loss), drop


def _any_differ(outputs: Outputs) -> bool:
    """Whether some output is not the same for all samples."""
    return any(not torch.equal(t, t[:1].expand_as(t)) for out, _ in outputs for t in tensors(out) if t.dim())


class buffers_kept:
    """Puts a model's buffers (running averages and the like) back when it ends."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._places = [(m, name, b) for m in model.modules() for name, b in m._buffers.items() if b is not None]

    def __enter__(self) -> None:
        self._saved = [b.detach().clone() for _, _, b in self._places]

    def __exit__(self, *_: Any) -> None:
        with torch.no_grad():
            for (module, name, buffer), saved in zip(self._places, self._saved, strict=True):
                module._buffers[name] = buffer  # it may have been replaced rather than changed
                if 0 not in buffer.stride():  # an expanded tensor cannot be written to, not even by the model
                    buffer.copy_(saved)
