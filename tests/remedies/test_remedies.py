"""What holds for every remedy."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch

from remedies.nets import Activate, Mlp, added, flat, remedied
from unstick.remedies import REMEDIES, parse

EXAMPLES = [example for remedy in REMEDIES for example in remedy.examples]
TOGETHER = "standardize+relu+init(he)+batchnorm+layernorm(after)+rezero+sgd+lr(x0.1)+clip(1)"
SQUARES = {"loss": torch.nn.functional.mse_loss}
SUITED: dict[str, tuple[Activate, dict[str, Any]]] = {
    "output(linear)": (torch.sigmoid, {}),
    "rescale-output": (lambda x: x, {**SQUARES, "y": 5 * flat()[:, :3]}),
    "match-shape": (lambda x: x[:, :1], {**SQUARES, "y": flat()[:, 0]}),
}
"""What the output and the case have to be for remedies that do not suit every classifier."""


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("text", [*EXAMPLES, TOGETHER])
def test_trains_a_copy_and_leaves_the_users_model_alone(text: str) -> None:
    output, options = SUITED.get(text, (lambda x: x, {}))
    model = Mlp([torch.sigmoid] * 3, output)
    before, state = copy.deepcopy(model.state_dict()), set(vars(model))
    setup, batch = remedied(model, flat(), text, **options)
    parameters = list(setup.model.parameters())
    optimizer = setup.make_optimizer(parameters)
    held = [p for group in optimizer.param_groups for p in group["params"]]
    for _ in range(2):
        optimizer.zero_grad()
        loss = setup.forward(batch)
        loss.backward()
        optimizer.step()
    assert loss.isfinite()
    assert setup.changes
    assert {id(p) for p in held} == {id(p) for p in parameters}
    assert all(p.grad is not None for p in added(setup).values())
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
    assert set(vars(model)) == state
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_pre_hooks or m._forward_hooks or m._backward_hooks for m in model.modules())


@pytest.mark.parametrize("text", [*EXAMPLES, TOGETHER])
def test_is_a_value(text: str) -> None:
    remedy = parse(text)
    assert pickle.loads(pickle.dumps(remedy)) == remedy
    assert hash(parse(text)) == hash(remedy)


def test_parts_are_applied_from_left_to_right() -> None:
    setup, _ = remedied(Mlp([torch.sigmoid] * 3), flat(), "relu+init(he)+lr(x10)")
    assert setup.changes == [
        "sigmoid -> relu in 3 places",
        "init(he) on 4 weight tensors",
        "learning rate multiplied by 10",
    ]
