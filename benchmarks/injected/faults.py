"""How each fault is put into a host. Functions from a host to the host with the fault."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .hosts import MOMENTUM, Host, Pair

Inject = Callable[[Host], Host]
ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU)


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


# -- ways to change a host ---------------------------------------------------------------------------------------------


def rebuilt(host: Host, change: Callable[[Any], nn.Module]) -> Host:
    return replace(host, build=lambda: change(host.build()))


def between(host: Host, make: Callable[[int], nn.Module]) -> Host:
    """A layer that is put between body and head; `make` is given the number of features there."""
    parts = lambda m: OrderedDict(body=m.body, between=make(host.width), head=m.head)  # noqa: E731
    return rebuilt(host, lambda m: nn.Sequential(parts(m)))


def after(host: Host, function: Callable[[Tensor], Tensor]) -> Host:
    """A function of the outputs."""
    return rebuilt(host, lambda m: nn.Sequential(OrderedDict(body=m.body, head=m.head, out=Apply(function))))


def initialised(host: Host, change: Callable[[nn.Module], None]) -> Host:
    def build(model: nn.Module) -> nn.Module:
        with torch.no_grad():
            change(model)
        return model

    return rebuilt(host, build)


def matrices(change: Callable[[Tensor], Any]) -> Callable[[nn.Module], None]:
    """A change of all weights that are matrices; kernels and embeddings of positions are among them."""

    def apply(model: nn.Module) -> None:
        for p in model.parameters():
            if p.dim() > 1:
                change(p)

    return apply


def exchanged(module: nn.Module, new: Callable[[], nn.Module]) -> nn.Module:
    """Every activation module replaced."""
    for name, child in module.named_children():
        if isinstance(child, ACTIVATIONS):
            setattr(module, name, new())
        else:
            exchanged(child, new)
    return module


def biases_before(module: nn.Module) -> Iterator[nn.Parameter]:
    """The biases that are added just before an activation, and those inside recurrent cells."""
    if isinstance(module, nn.RNNBase):
        yield from (p for name, p in module.named_parameters() if name.startswith("bias"))
    children = list(module.children())
    if isinstance(module, nn.Sequential):
        for first, second in itertools.pairwise(children):
            if isinstance(second, ACTIVATIONS) and isinstance(first.bias, nn.Parameter):
                yield first.bias
    for child in children:
        yield from biases_before(child)


def stack(width: int, layers: int, activation: Callable[[], nn.Module], gain: float | None = None) -> nn.Sequential:
    """Linear layers with an activation each; `gain`: standard deviation of the weights times the root of the width."""
    made: list[nn.Module] = []
    for _ in range(layers):
        made += [nn.Linear(width, width), activation()]
        if gain is not None:
            nn.init.normal_(made[-2].weight, std=gain * width**-0.5)  # type: ignore[arg-type]
    return nn.Sequential(*made)


# -- signal and gradient -----------------------------------------------------------------------------------------------


def vanish(host: Host) -> Host:
    return between(host, lambda width: stack(width, 12, nn.Sigmoid))


def explode(host: Host) -> Host:
    """He's gain is the root of 2; four times that."""
    return between(host, lambda width: stack(width, 8, nn.ReLU, gain=4 * 2**0.5))


def enlarge(host: Host) -> Host:
    return initialised(host, matrices(lambda w: w.mul_(30)))


def shrink(host: Host) -> Host:
    return initialised(host, matrices(lambda w: w.mul_(0.01)))


def saturate(host: Host) -> Host:
    """Biases of +10 or -10 before each activation; ReLU and GELU are made tanh first."""

    def change(model: nn.Module) -> None:
        if not any(isinstance(m, nn.Tanh | nn.Sigmoid) for m in model.modules()):
            exchanged(model, nn.Tanh)
        for bias in biases_before(model):
            bias.copy_(10 * torch.randn_like(bias).sign())

    return initialised(host, change)


def kill(host: Host) -> Host:
    return initialised(host, lambda model: [b.fill_(-100) for b in biases_before(model)] and None)


def collapse(host: Host) -> Host:
    """The mean over the wrong axis: over the batch."""
    return between(host, lambda _: Apply(lambda h: h.mean(0, keepdim=True).expand_as(h)))


def symmetric(host: Host) -> Host:
    return initialised(host, matrices(lambda w: w.fill_(0.05)))


def linearise(host: Host) -> Host:
    return rebuilt(host, lambda m: exchanged(m, nn.Identity))


def exponentiate(host: Host) -> Host:
    return rebuilt(host, lambda m: exchanged(m, lambda: Apply(torch.exp)))


def exponentials(host: Host) -> Host:
    return between(host, lambda width: stack(width, 3, lambda: Apply(torch.exp)))


# -- data, loss --------------------------------------------------------------------------------------------------------


def scale_inputs(host: Host) -> Host:
    return replace(host, data=lambda: (host.data()[0] * 1000 + 1e4, host.data()[1]))


def scale_targets(host: Host) -> Host:
    return replace(host, data=lambda: (host.data()[0], host.data()[1] * 1000 + 5000))


def scramble(host: Host) -> Host:
    """Every batch gets labels of other samples, drawn anew each time."""

    def stream(data: Pair, batch: int) -> Iterator[Pair]:
        x, y = data
        for rows in torch.randperm(len(x)).split(batch):
            if len(rows) == batch:
                yield x[rows], y[torch.randint(len(y), (batch,))]

    return replace(host, stream=stream)


def softmaxed(host: Host) -> Host:
    return after(host, lambda out: out.softmax(1))


def softmaxed_over_batch(host: Host) -> Host:
    return after(host, lambda out: out.softmax(0))


def sigmoided(host: Host) -> Host:
    return after(host, torch.sigmoid)


def rectified(host: Host) -> Host:
    return after(host, torch.relu)


def squashed(host: Host) -> Host:
    return after(host, torch.tanh)


def flat_targets(host: Host) -> Host:
    return replace(host, data=lambda: (host.data()[0], host.data()[1].squeeze(1)))


def flat_outputs(host: Host) -> Host:
    return after(host, lambda out: out.squeeze(1))


# -- numbers -----------------------------------------------------------------------------------------------------------


def logarithm(host: Host) -> Host:
    """The logarithm of features, some of which are negative."""
    return between(host, lambda width: nn.Sequential(nn.Linear(width, width), Apply(torch.log)))


def distances(host: Host) -> Host:
    """Distances between the samples, each to itself too: the root has no derivative at zero."""

    def with_distance(h: Tensor) -> Tensor:
        away = ((h[:, None] - h[None]) ** 2).sum(-1).sqrt()
        return h + 0.1 * away.mean(1, keepdim=True)

    return between(host, lambda _: Apply(with_distance))


class Overflowing(nn.Module):
    """Divides by a running scale that has become infinite by the 41st step: inf / inf."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, h: Tensor) -> Tensor:
        if self.training:
            self.steps.add_(1)
            self.scale.copy_(torch.where(self.steps > 40, torch.inf, 1.0))
        return (h * self.scale) / self.scale


def overflow(host: Host) -> Host:
    return between(host, lambda _: Overflowing())


def half_precision(host: Host, scale: float = 1.0) -> Host:
    """In float16 with a scaled loss, and SGD with a rate that takes the scale out again."""
    halved = rebuilt(host, lambda m: Halved(m.half()))
    return replace(halved, scale=scale, optimizer=torch.optim.SGD, rate=0.05 / scale, options=MOMENTUM)


class Halved(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x.half())
        return out.float()


def underflow(host: Host) -> Host:
    return half_precision(host, 1e-6)


# -- optimizer ---------------------------------------------------------------------------------------------------------


def fast(host: Host) -> Host:
    return replace(host, rate=host.rate * 1000)


def slow(host: Host) -> Host:
    return replace(host, rate=host.rate * 1e-4)


def detach(host: Host) -> Host:
    return between(host, lambda _: Apply(Tensor.detach))


class WithoutGradient(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            out: Tensor = self.body(x)
        return out


def no_grad(host: Host) -> Host:
    return rebuilt(host, lambda m: nn.Sequential(OrderedDict(body=WithoutGradient(m.body), head=m.head)))


def forget_matrices(host: Host) -> Host:
    """The optimizer gets the group without weight decay, biases and gains, and not the other."""
    return replace(host, choose=lambda p: p.dim() < 2)


def decay(host: Host) -> Host:
    return host.with_options(weight_decay=10.0)


def drop(host: Host) -> Host:
    return between(host, lambda _: nn.Dropout(0.99))


def with_adam(host: Host) -> Host:
    adam = replace(host, optimizer=torch.optim.Adam, rate=3e-3, options=())
    return adam if host.optimizer is torch.optim.SGD else host


def tiny_loss(host: Host) -> Host:
    return replace(with_adam(host), scale=1e-9)


def pairs(host: Host) -> Host:
    return replace(host, batch=2)


def normalised_pairs(host: Host) -> Host:
    return between(pairs(host), nn.BatchNorm1d)
