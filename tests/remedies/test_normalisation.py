from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from remedies.nets import SIGMOIDS, Activate, Conv, Mlp, Unrolled, added, assert_same, flat, images, remedied, series
from unstick.errors import NotApplicable
from unstick.remedies.normalisation import BatchNormOver
from unstick.trace.record import record


class OverTime(nn.BatchNorm1d):
    """Batch normalisation of (n, time, d) as one writes it by hand."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def placed(layer: nn.Module, side: str) -> nn.Sequential:
    return nn.Sequential(layer, nn.Sigmoid()) if side == "before" else nn.Sequential(nn.Sigmoid(), layer)


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("form", ["module", "function", "in place"])
@pytest.mark.parametrize(
    ("remedy", "net", "layer", "x"),
    [
        ("batchnorm", Mlp, lambda: nn.BatchNorm1d(6), flat()),
        ("batchnorm", Mlp, lambda: OverTime(6), series()),
        ("batchnorm", Conv, lambda: nn.BatchNorm2d(4), images()),
        ("layernorm", Mlp, lambda: nn.LayerNorm(6), flat()),
        ("layernorm", Mlp, lambda: nn.LayerNorm(6), series()),
        ("layernorm", Conv, lambda: nn.LayerNorm((4, 5, 5)), images()),
    ],
)
def test_equals_layers_written_by_hand(
    remedy: str, net: type[Mlp | Conv], layer: type[nn.Module], x: Tensor, form: str, side: str
) -> None:
    count = 3 if net is Mlp else 2
    model = net([SIGMOIDS[form]] * count)
    setup, batch = remedied(model, x, f"{remedy}({side})")
    assert_same(setup, net([placed(layer(), side) for _ in range(count)]), model, batch)
    assert len(added(setup)) == 2 * count
    assert all(p.grad is not None for p in added(setup).values())


def test_a_plain_sequential_does_not_run_what_was_added() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 3))
    setup, batch = remedied(model, flat(), "batchnorm")
    assert_same(setup, nn.Sequential(model[0], placed(nn.BatchNorm1d(6), "before"), model[2]), setup.model, batch)


def test_the_optimizer_gets_the_new_parameters_and_moves_them() -> None:
    setup, batch = remedied(Mlp([torch.sigmoid] * 3), flat(), "batchnorm")
    optimizer = setup.make_optimizer(list(setup.model.parameters()))
    before = {name: p.detach().clone() for name, p in added(setup).items()}
    setup.forward(batch).backward()
    optimizer.step()
    assert len(before) == 6
    assert not any(torch.equal(before[name], p) for name, p in added(setup).items())


def test_running_averages_are_buffers_of_the_model_and_used_in_eval_mode() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 3))
    setup, batch = remedied(model, flat(), "batchnorm")
    norm = nn.BatchNorm1d(6)
    by_hand = nn.Sequential(model[0], norm, model[1], model[2])
    for _ in range(3):
        setup.forward(batch)
        by_hand(batch[0])
    buffers = {name.split("_", 3)[3]: b for name, b in setup.model.named_buffers()}
    torch.testing.assert_close(buffers, dict(norm.named_buffers()))
    setup.model.eval()
    by_hand.eval()
    with setup.active():
        torch.testing.assert_close(setup.model(batch[0]), by_hand(batch[0]))


def test_new_parameters_have_the_dtype_of_their_layer() -> None:
    setup, batch = remedied(Mlp([torch.sigmoid] * 3).double(), flat().double(), "batchnorm")
    assert {p.dtype for p in added(setup).values()} == {torch.float64}
    assert setup.forward(batch).dtype == torch.float64


def test_an_unrolled_cell_shares_one_layer_over_time() -> None:
    model = Unrolled(torch.tanh)
    setup, batch = remedied(model, series(), "layernorm")
    assert_same(setup, Unrolled(nn.Sequential(nn.LayerNorm(5), nn.Tanh())), model, batch)
    assert len(added(setup)) == 2


def test_seen_in_a_trace_of_the_remedied_network_in_the_place_of_the_activation() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 3))
    setup, batch = remedied(model, flat(), "batchnorm+relu")
    seen = [(op.name, op.kind, op.module) for op in record(setup, batch).operations[:3]]
    assert seen == [("linear", "weights", "0"), ("batch_norm", "normalisation", "1"), ("relu", "activation", "1")]


@pytest.mark.parametrize("activate", [nn.Tanh(), torch.tanh])
def test_composes_with_another_activation(activate: Activate) -> None:
    model = Mlp([activate] * 3)
    setup, batch = remedied(model, flat(), "relu+batchnorm")
    assert_same(setup, Mlp([nn.Sequential(nn.BatchNorm1d(6), nn.ReLU()) for _ in range(3)]), model, batch)


@pytest.mark.parametrize("shape", [(8, 3), (8, 3, 4), (8, 3, 4, 5), (2, 3, 4, 5, 2)])
def test_over_channels_like_the_layer_made_for_the_layout(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    expected = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[len(shape)](3)(x)
    torch.testing.assert_close(BatchNormOver(3, 1 - len(shape))(x), expected)


def test_a_last_batch_of_one_sample_does_not_end_the_training() -> None:
    setup, (x, y) = remedied(Mlp([torch.sigmoid] * 3), flat(), "batchnorm")
    assert setup.forward((x[:1], y[:1])).isfinite()


def test_says_why_it_does_not_apply() -> None:
    with pytest.raises(NotApplicable, match="more than one sample"):
        remedied(Mlp([torch.sigmoid] * 3), flat(1), "batchnorm")
    normalised = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Sigmoid(), nn.Linear(6, 3))
    with pytest.raises(NotApplicable, match="has batch_norm before it already"):
        remedied(normalised, flat(), "batchnorm")
    remedied(normalised, flat(), "batchnorm(after)")
    with pytest.raises(NotApplicable, match="no hidden activation"):
        remedied(nn.Linear(6, 3), flat(), "layernorm")
