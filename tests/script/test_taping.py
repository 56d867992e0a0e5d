"""Which of a script's steps are taped, so that they can be computed again."""

from __future__ import annotations

import weakref

import torch
from torch import nn
from torch.nn import functional as F

from unstick.script.strand import CLOSE, SPARSE
from unstick.script.watch import Watcher


def test_the_first_steps_are_taped_and_later_ones_now_and_then() -> None:
    """Between two taped steps nothing listens; what the second calls is on its tape nevertheless."""
    steps = CLOSE + 2 * SPARSE + 1
    watcher = Watcher(keep_going=True)
    with watcher.watching():
        model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            F.mse_loss(model(torch.ones(4, 3)), torch.ones(4, 1)).backward()
            optimizer.step()
    (strand,) = watcher.strands
    assert [taped.step for taped in strand.tapes] == [*range(CLOSE), CLOSE, CLOSE + SPARSE, CLOSE + 2 * SPARSE]
    assert len({taped.program.signature for taped in strand.tapes}) == 1


def test_gradients_that_are_cleared_are_freed() -> None:
    """Though the script asks each parameter for its own while a tape runs."""
    watcher = Watcher(keep_going=True)
    gradients = []
    with watcher.watching():
        model = nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(8):
            optimizer.zero_grad()
            F.mse_loss(model(torch.ones(4, 3)), torch.ones(4, 1)).backward()
            optimizer.step()
            gradients.append(weakref.ref(model.weight.grad))
        optimizer.zero_grad()
        assert [gradient() for gradient in gradients[4:]] == [None] * 4  # steps that are taped, and not traced
