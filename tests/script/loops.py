"""Training loops of many kinds, as people write them. Each trains what it makes, and returns all that came of it."""

from __future__ import annotations

import copy
import random
from collections import namedtuple
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

STEPS = 5
BATCH, FEATURES, CLASSES = 8, 6, 3


@dataclass
class Trained:
    """What a loop has trained, and the loss of each step."""

    models: Sequence[nn.Module | Tensor]
    optimizers: Sequence[Any]
    losses: Sequence[float]
    others: Sequence[Any] = ()

    def fingerprint(self) -> list[Any]:
        """Everything that must not depend on whether somebody has watched."""
        tensors: list[Tensor] = []
        for model in self.models:
            state = [model] if isinstance(model, Tensor) else [*model.parameters(), *model.buffers()]
            tensors += [t for s in state for t in (s, s.grad) if t is not None]
        state = [_plain(o.state_dict()) for o in self.optimizers]
        modes = [m.training for model in self.models if isinstance(model, nn.Module) for m in model.modules()]
        draws = [random.getstate(), _plain(np.random.get_state()), _plain(torch.get_rng_state())]
        return [_plain(tensors), state, modes, draws, [repr(loss) for loss in self.losses], _plain(self.others)]


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        dense = value.detach().to_dense() if value.is_sparse else value.detach()
        bits = torch.view_as_real(dense.resolve_conj()) if dense.is_complex() else dense
        return str(dense.dtype), tuple(dense.shape), repr(bits.double().tolist())
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


Loop = Callable[[], Trained]
LOOPS: dict[str, Loop] = {}


def loop(function: Loop) -> Loop:
    LOOPS[function.__name__] = function
    return function


def mlp(*between: nn.Module, features: int = FEATURES, out: int = CLASSES) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, 16), *between, nn.Linear(16, out))


def batches(steps: int = STEPS) -> list[tuple[Tensor, Tensor]]:
    return [(torch.randn(BATCH, FEATURES), torch.randint(CLASSES, (BATCH,))) for _ in range(steps)]


def sgd(model: nn.Module, rate: float = 0.05, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=rate, **options)


Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def entropy(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


def fit(
    model: nn.Module,
    loss: Loss = entropy,
    optimizer: torch.optim.Optimizer | None = None,
    data: list[tuple[Tensor, Tensor]] | None = None,
    after: Callable[[int], None] = lambda _: None,
) -> Trained:
    """The loop that everybody writes. after: what is done behind each step."""
    optimizer = optimizer or sgd(model)
    losses = []
    for step, (x, y) in enumerate(data if data is not None else batches()):
        optimizer.zero_grad()
        value = loss(model, x, y)
        value.backward()
        optimizer.step()
        losses.append(value.item())
        after(step)
    return Trained([model], [optimizer], losses)


# -- models ------------------------------------------------------------------------------------------------------------


@loop
def plain() -> Trained:
    return fit(mlp(nn.Tanh()))


@loop
def dropout() -> Trained:
    return fit(mlp(nn.ReLU(), nn.Dropout(0.5)))


@loop
def batchnorm() -> Trained:
    return fit(mlp(nn.BatchNorm1d(16), nn.ReLU()))


@loop
def in_place() -> Trained:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = mlp(nn.ReLU(inplace=True))

        def forward(self, x: Tensor) -> Tensor:
            h = self.layers[1](self.layers[0](x)) * 2
            h += 0.5
            return self.layers[2](h)

    return fit(Net())


def recurrent(kind: type[nn.RNNBase]) -> Trained:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = kind(2, 8, batch_first=True), nn.Linear(8, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.cell(x.view(len(x), -1, 2))[0][:, -1])

    return fit(Net())


@loop
def rnn() -> Trained:
    return recurrent(nn.RNN)


@loop
def gru() -> Trained:
    return recurrent(nn.GRU)


@loop
def lstm() -> Trained:
    return recurrent(nn.LSTM)


@loop
def transformer() -> Trained:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(2, 8)
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
            self.head = nn.Linear(8, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer(self.embed(x.view(len(x), -1, 2))).mean(1))

    return fit(Net())


@loop
def attention() -> Trained:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.head = nn.Linear(2, 24), nn.Linear(8, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.qkv(x.view(len(x), -1, 2)).chunk(3, -1)
            return self.head(F.scaled_dot_product_attention(q, k, v, dropout_p=0.1).mean(1))

    return fit(Net())


@loop
def convolution() -> Trained:
    net = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))
    return fit(net, lambda m, x, y: F.cross_entropy(m(x[:, None]), y))


@loop
def shared_weights() -> Trained:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, FEATURES)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).tanh())

    return fit(Net())


@loop
def frozen_part() -> Trained:
    model = mlp(nn.Tanh(), nn.Linear(16, 16), nn.Tanh())
    model[0].requires_grad_(False)
    return fit(model)


@loop
def complex_numbers() -> Trained:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(FEATURES, 16, dtype=torch.complex64)
            self.last = nn.Linear(16, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.fft.fft(self.first(x.to(torch.complex64))).abs())

    return fit(Net())


@loop
def embedding() -> Trained:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.EmbeddingBag(20, 8, mode="sum"), nn.Linear(8, CLASSES)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.table(ids))

    data = [(torch.randint(20, (BATCH, 4)), torch.randint(CLASSES, (BATCH,))) for _ in range(STEPS)]
    return fit(Net(), data=data)


@loop
def compiled() -> Trained:
    model = mlp(nn.Tanh())
    fast = torch.compile(model, backend="eager")
    trained = fit(fast, optimizer=sgd(model))
    torch.compiler.reset()
    return Trained([model], trained.optimizers, trained.losses)


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.last, self.reentrant = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES), reentrant
        self.middle = nn.Sequential(nn.Linear(16, 16), nn.Sigmoid(), nn.Dropout(0.2), nn.Linear(16, 16), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.last(checkpoint(self.middle, self.first(x), use_reentrant=self.reentrant))


@loop
def checkpointing() -> Trained:
    return fit(Checkpointed(False))


@loop
def checkpointing_reentrant() -> Trained:
    return fit(Checkpointed(True))


class Wrapper(nn.Module):
    """As DataParallel wraps."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)


@loop
def wrapped() -> Trained:
    model = mlp(nn.Tanh())
    return fit(Wrapper(model), optimizer=sgd(model))


@loop
def data_parallel() -> Trained:
    return fit(nn.DataParallel(mlp(nn.Tanh())))


# -- what a forward pass gives -----------------------------------------------------------------------------------------

Pair = namedtuple("Pair", ["logits", "hidden"])


@dataclass
class Output:
    loss: Tensor | None
    logits: Tensor
    extra: None = None


@loop
def gives_a_dict() -> Trained:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(nn.Tanh())

        def forward(self, x: Tensor) -> dict[str, Any]:
            return {"logits": self.net(x), "nothing": None, "mask": [x > 0]}

    return fit(Net(), lambda m, x, y: F.cross_entropy(m(x)["logits"], y))


@loop
def gives_a_namedtuple() -> Trained:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)

        def forward(self, x: Tensor) -> Pair:
            h = self.a(x).tanh()
            return Pair(self.b(h), h)

    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        out = m(x)
        return F.cross_entropy(out.logits, y) + 1e-2 * out.hidden.square().mean()

    return fit(Net(), loss)


class OwnLoss(nn.Module):
    """Computes its own loss, as those of Hugging Face do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(nn.Tanh())

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Output:
        logits = self.net(inputs)
        return Output(None if labels is None else F.cross_entropy(logits, labels), logits)


@loop
def own_loss() -> Trained:
    return fit(OwnLoss(), lambda m, x, y: m(inputs=x, labels=y).loss)


@loop
def gives_nothing() -> Trained:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.out = mlp(nn.Tanh()), []

        def forward(self, x: Tensor) -> None:
            self.out = [self.net(x)]

    def loss(m: Any, x: Tensor, y: Tensor) -> Tensor:
        m(x)
        return F.cross_entropy(m.out.pop(), y)

    return fit(Net(), loss)


# -- losses ------------------------------------------------------------------------------------------------------------


@loop
def class_weights() -> Trained:
    criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]), label_smoothing=0.1)
    return fit(mlp(nn.Tanh()), lambda m, x, y: criterion(m(x), y))


@loop
def weight_penalty() -> Trained:
    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return entropy(m, x, y) + 1e-3 * sum(p.square().sum() for p in m.parameters())

    return fit(mlp(nn.Tanh()), loss)


@loop
def distillation() -> Trained:
    teacher = mlp(nn.Tanh()).eval().requires_grad_(False)

    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            soft = teacher(x).softmax(-1)
        return entropy(m, x, y) + F.kl_div(m(x).log_softmax(-1), soft, reduction="batchmean")

    return fit(mlp(nn.Tanh()), loss)


@loop
def siamese() -> Trained:
    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        apart = (m(x) - m(x.flip(0))).norm(dim=1)
        return torch.where(y == y.flip(0), apart, (1 - apart).clamp(min=0)).mean()

    return fit(mlp(nn.Tanh()), loss)


@loop
def autoencoder() -> Trained:
    return fit(mlp(nn.Tanh(), out=FEATURES), lambda m, x, y: F.mse_loss(m(x), x))


@loop
def gradient_penalty() -> Trained:
    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        out = m(x)
        (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        return F.cross_entropy(out, y) + 0.1 * slope.square().sum(1).mean()

    return fit(mlp(nn.Tanh()), loss)


@loop
def double_backward() -> Trained:
    model = mlp(nn.Tanh())
    optimizer = sgd(model)
    losses = []
    for x, y in batches():
        optimizer.zero_grad()
        loss = entropy(model, x, y)
        slopes = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
        total = loss + 0.1 * sum(s.square().sum() for s in slopes)
        total.backward()
        optimizer.step()
        losses.append(total.item())
    return Trained([model], [optimizer], losses)


# -- backward passes and steps -----------------------------------------------------------------------------------------


@loop
def accumulation() -> Trained:
    model = mlp(nn.Tanh())
    optimizer = sgd(model)
    losses = []
    for step, (x, y) in enumerate(batches(3 * STEPS)):
        loss = entropy(model, x, y) / 3
        loss.backward()
        losses.append(loss.item())
        if step % 3 == 2:
            optimizer.step()
            optimizer.zero_grad()
    return Trained([model], [optimizer], [sum(losses[i : i + 3]) for i in range(0, len(losses), 3)])


@loop
def several_backwards() -> Trained:
    """Two losses of one forward pass, each with a backward pass of its own."""
    model = mlp(nn.Tanh())
    optimizer = sgd(model)
    losses = []
    for x, y in batches():
        optimizer.zero_grad()
        out = model(x)
        first, second = F.cross_entropy(out, y), out.square().mean()
        first.backward(retain_graph=True)
        second.backward()
        optimizer.step()
        losses.append((first + second).item())
    return Trained([model], [optimizer], losses)


@loop
def never_cleared() -> Trained:
    model = mlp(nn.Tanh())
    optimizer = sgd(model, 0.01)
    losses = []
    for x, y in batches():
        loss = entropy(model, x, y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return Trained([model], [optimizer], losses)


@loop
def zeros_instead_of_none() -> Trained:
    model = mlp(nn.Tanh())
    optimizer = sgd(model, momentum=0.9)
    losses = []
    for x, y in batches():
        loss = entropy(model, x, y)
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return Trained([model], [optimizer], losses)


@loop
def cleared_by_the_model() -> Trained:
    model = mlp(nn.Tanh())
    optimizer = torch.optim.AdamW(model.parameters())
    losses = []
    for x, y in batches():
        loss = entropy(model, x, y)
        loss.backward()
        optimizer.step()
        model.zero_grad()
        losses.append(loss.item())
    return Trained([model], [optimizer], losses)


def with_closure(make: Callable[[nn.Module], torch.optim.Optimizer]) -> Trained:
    model = mlp(nn.Tanh())
    optimizer = make(model)
    losses = []
    for x, y in batches():
        seen = []

        def closure(x: Tensor = x, y: Tensor = y, seen: list[float] = seen) -> Tensor:
            optimizer.zero_grad()
            loss = entropy(model, x, y)
            loss.backward()
            seen.append(loss.item())
            return loss

        optimizer.step(closure)
        losses.append(seen[0])
    return Trained([model], [optimizer], losses)


@loop
def closure() -> Trained:
    return with_closure(sgd)


@loop
def lbfgs() -> Trained:
    return with_closure(lambda m: torch.optim.LBFGS(m.parameters(), lr=0.1, max_iter=4))


@loop
def scheduled() -> Trained:
    model = mlp(nn.Tanh())
    optimizer = sgd(model)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=STEPS + 1)
    return fit(model, optimizer=optimizer, after=lambda _: schedule.step())


@loop
def clipped() -> Trained:
    model = mlp(nn.Tanh())
    optimizer = sgd(model)
    losses = []
    for x, y in batches():
        optimizer.zero_grad()
        loss = entropy(model, x, y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        losses.append(loss.item())
    return Trained([model], [optimizer], losses)


@loop
def mixed_precision() -> Trained:
    model = mlp(nn.LayerNorm(16), nn.Tanh())
    optimizer = sgd(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    losses = []
    for x, y in batches():
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = entropy(model, x, y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return Trained([model], [optimizer], losses, [scaler.state_dict()])


@loop
def mixed_precision_clipped() -> Trained:
    model = mlp(nn.Tanh())
    optimizer = torch.optim.Adam(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    losses = []
    for x, y in batches():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(x)
        loss = F.cross_entropy(out.float(), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        losses.append(loss.item())
    return Trained([model], [optimizer], losses, [scaler.state_dict()])


@loop
def sparse() -> Trained:
    table, head = nn.Embedding(20, 8, sparse=True), nn.Linear(8, CLASSES)
    optimizers = [torch.optim.SparseAdam(table.parameters(), lr=0.01), sgd(head)]
    losses = []
    for _ in range(STEPS):
        ids, y = torch.randint(20, (BATCH, 4)), torch.randint(CLASSES, (BATCH,))
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = F.cross_entropy(head(table(ids).mean(1)), y)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
    return Trained([table, head], optimizers, losses)


def with_options(kind: type[torch.optim.Optimizer], **options: Any) -> Trained:
    model = mlp(nn.Tanh())
    return fit(model, optimizer=kind(model.parameters(), **options))


@loop
def fused() -> Trained:
    return with_options(torch.optim.AdamW, fused=True, lr=1e-2)


@loop
def foreach() -> Trained:
    return with_options(torch.optim.Adam, foreach=True, lr=1e-2)


@loop
def tensor_rate() -> Trained:
    return with_options(torch.optim.Adam, lr=torch.tensor(1e-2))


@loop
def adagrad() -> Trained:
    return with_options(torch.optim.Adagrad, lr=1e-2)


@loop
def several_groups() -> Trained:
    model = mlp(nn.Tanh())
    groups = [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[2].parameters(), "weight_decay": 0.1}]
    return fit(model, optimizer=torch.optim.AdamW(groups, lr=1e-2))


@loop
def parameters_added_later() -> Trained:
    model = mlp(nn.Tanh())
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.05)

    def after(step: int) -> None:
        if step == 1:
            model[0].requires_grad_(True)
            optimizer.add_param_group({"params": model[0].parameters(), "lr": 0.01})

    return fit(model, optimizer=optimizer, after=after)


@loop
def optimizer_made_again() -> Trained:
    model = mlp(nn.Tanh())
    first = fit(model, data=batches(3))
    second = fit(model, optimizer=torch.optim.Adam(model.parameters()))
    return Trained([model], [*first.optimizers, *second.optimizers], [*first.losses, *second.losses])


@loop
def two_optimizers_on_one_loss() -> Trained:
    model = mlp(nn.Tanh())
    optimizers = [sgd(model[0]), torch.optim.Adam(model[2].parameters())]
    losses = []
    for x, y in batches():
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = entropy(model, x, y)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
    return Trained([model], optimizers, losses)


def adversarial(detached: bool, again: bool) -> Trained:
    """detached: the discriminator's pass does not reach the generator. again: fakes are made anew for its own step."""
    generator, critic = mlp(nn.LeakyReLU(0.2), out=FEATURES), mlp(nn.LeakyReLU(0.2), out=1)
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3)
    d_optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3)
    ones, zeros = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)
    losses = []
    for x, _ in batches():
        fake = generator(torch.randn(BATCH, FEATURES))
        shown = fake.detach() if detached else fake
        d_optimizer.zero_grad()
        logits = F.binary_cross_entropy_with_logits
        d_loss = logits(critic(x), ones) + logits(critic(shown), zeros)
        d_loss.backward(retain_graph=not again and not detached)
        d_optimizer.step()
        g_optimizer.zero_grad()
        if again:
            fake = generator(torch.randn(BATCH, FEATURES))
        g_loss = logits(critic(fake), ones)
        g_loss.backward()
        g_optimizer.step()
        losses += [d_loss.item(), g_loss.item()]
    return Trained([generator, critic], [d_optimizer, g_optimizer], losses)


@loop
def gan() -> Trained:
    return adversarial(detached=True, again=False)


@loop
def gan_again() -> Trained:
    return adversarial(detached=False, again=True)


@loop
def gan_of_one_graph() -> Trained:
    return adversarial(detached=False, again=False)


# -- what goes on around -----------------------------------------------------------------------------------------------


@loop
def default_device() -> Trained:
    torch.set_default_device("cpu")
    try:
        return fit(mlp(nn.Tanh()))
    finally:
        torch.set_default_device(None)


@loop
def device_around_parts() -> Trained:
    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        with torch.device("cpu"):
            out = m(x)
        with torch.device("cpu"):
            return F.cross_entropy(out + torch.zeros(1), y)

    with torch.device("cpu"):
        model = mlp(nn.Tanh())
    return fit(model, loss)


class Counting(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen += 1
        return func(*args, **(kwargs or {}))


class CountingBelow(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen += 1
        return func(*args, **(kwargs or {}))


@loop
def own_function_mode() -> Trained:
    mode = Counting()
    with mode:
        trained = fit(mlp(nn.Tanh()))
    return Trained(trained.models, trained.optimizers, trained.losses)


@loop
def own_function_mode_each_step() -> Trained:
    mode = Counting()

    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        with mode:
            return entropy(m, x, y)

    trained = fit(mlp(nn.Tanh()), loss)
    return Trained(trained.models, trained.optimizers, trained.losses, [mode.seen])


@loop
def own_dispatch_mode() -> Trained:
    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        with CountingBelow():
            return entropy(m, x, y)

    return fit(mlp(nn.Tanh()), loss)


@loop
def own_hooks() -> Trained:
    model, seen = mlp(nn.Tanh()), []
    model[1].register_forward_hook(lambda m, args, out: out * 0.9)
    model[2].register_full_backward_hook(lambda m, inward, outward: seen.append(float(outward[0].norm())))
    model[2].weight.register_hook(lambda g: g * 0.5)
    trained = fit(model)
    return Trained(trained.models, trained.optimizers, trained.losses, seen)


@loop
def evaluation_in_between() -> Trained:
    model = mlp(nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3))
    x, y = torch.randn(20, FEATURES), torch.randint(CLASSES, (20,))
    seen = []

    def after(step: int) -> None:
        model.eval()
        with torch.no_grad() if step % 2 else torch.inference_mode():
            seen.append(entropy(model, x, y).item())
        model.train()

    trained = fit(model, after=after)
    return Trained([model], trained.optimizers, trained.losses, seen)


@loop
def evaluation_with_gradients() -> Trained:
    model = mlp(nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3))
    x, y = torch.randn(20, FEATURES), torch.randint(CLASSES, (20,))
    seen = []

    def after(_: int) -> None:
        model.eval()
        seen.append(entropy(model, x, y).item())
        model.train()

    trained = fit(model, after=after)
    return Trained([model], trained.optimizers, trained.losses, seen)


@loop
def mutated_by_the_loop() -> Trained:
    """One buffer for all batches, which the loop fills anew before the backward pass is over and after it."""
    model, x, y = mlp(nn.Tanh()), torch.empty(BATCH, FEATURES), torch.empty(BATCH, dtype=torch.long)
    optimizer = sgd(model)
    losses = []
    for fresh, labels in batches():
        x.copy_(fresh)
        y.copy_(labels)
        optimizer.zero_grad()
        out = model(x)
        out = out * 2
        out += 1
        loss = F.cross_entropy(out, y)
        loss.backward()
        x.zero_()
        optimizer.step()
        losses.append(loss.item())
    return Trained([model], [optimizer], losses)


@loop
def moving_average() -> Trained:
    model = mlp(nn.Tanh())
    average = copy.deepcopy(model).requires_grad_(False)

    def after(_: int) -> None:
        with torch.no_grad():
            for ours, theirs in zip(average.parameters(), model.parameters(), strict=True):
                ours.lerp_(theirs, 0.1)

    trained = fit(model, after=after)
    return Trained([model, average], trained.optimizers, trained.losses)


@loop
def no_module() -> Trained:
    """Its parameters lie in no module."""
    w = [torch.randn(FEATURES, 16).mul_(0.3).requires_grad_(), torch.randn(16, CLASSES).mul_(0.3).requires_grad_()]
    optimizer = torch.optim.SGD(w, lr=0.05)
    losses = []
    for x, y in batches():
        optimizer.zero_grad()
        loss = F.cross_entropy((x @ w[0]).tanh() @ w[1], y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return Trained(w, [optimizer], losses)


@loop
def functional() -> Trained:
    """Runs a module with parameters of its own making."""
    model = mlp(nn.Tanh())
    held = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(held.values(), lr=0.05)
    losses = []
    for x, y in batches():
        optimizer.zero_grad()
        loss = F.cross_entropy(torch.func.functional_call(model, held, (x,)), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return Trained([model, *held.values()], [optimizer], losses)


@loop
def functional_activations() -> Trained:
    """The script itself calls the layers and what lies between."""
    first, last = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)
    optimizer = torch.optim.Adam([*first.parameters(), *last.parameters()])
    losses = []
    for x, y in batches():
        optimizer.zero_grad()
        loss = F.cross_entropy(last(torch.sigmoid(first(x))), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return Trained([first, last], [optimizer], losses)


@loop
def loader() -> Trained:
    data = TensorDataset(torch.randn(40, FEATURES), torch.randint(CLASSES, (40,)))
    model = mlp(nn.Tanh(), nn.Dropout(0.1))
    optimizer = sgd(model)
    losses: list[float] = []
    for _ in range(2):
        for x, y in DataLoader(data, batch_size=BATCH, shuffle=True):
            optimizer.zero_grad()
            loss = entropy(model, x + 0.01 * random.random() + 0.01 * float(np.random.rand()), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return Trained([model], [optimizer], losses)


@loop
def anomaly_detection() -> Trained:
    with torch.autograd.set_detect_anomaly(True, check_nan=True):
        return fit(mlp(nn.Tanh()))


@loop
def script_module() -> Trained:
    return fit(torch.jit.script(mlp(nn.Tanh())))


@loop
def grad_modes() -> Trained:
    """Gradients are off, except where they are needed."""
    model = mlp(nn.Tanh())
    torch.set_grad_enabled(False)
    optimizer = sgd(model)
    losses = []
    try:
        for x, y in batches():
            optimizer.zero_grad()
            with torch.enable_grad(), nullcontext():
                loss = entropy(model, x, y)
                loss.backward()
            optimizer.step()
            losses.append(loss.item())
    finally:
        torch.set_grad_enabled(True)
    return Trained([model], [optimizer], losses)


def run(loop: Loop, seed: int = 0) -> Trained:
    """The loop, from one random state on, on one thread."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return loop()
