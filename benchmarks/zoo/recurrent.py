"""Recurrent networks, in plain torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.tasks import VOCABULARY, adam, digit_rows, next_tokens, token_loss, topics, translated
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from unstick import Case

ZOO = Collection("Recurrent networks")


def on_rows(build: Callable[[], nn.Module], rate: float = 3e-3) -> Case:
    return Case(build, digit_rows(), F.cross_entropy, optimizer=adam(rate), batch_size=32)


class Recurrent(nn.Module):
    """A recurrent layer of torch, read at its last step."""

    def __init__(self, layer: Callable[..., nn.Module], **options: Any) -> None:
        super().__init__()
        self.rnn = layer(8, 32, batch_first=True, **options)
        self.head = nn.Linear(32 * (2 if options.get("bidirectional") else 1), 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "rnn-tanh": partial(Recurrent, nn.RNN),
    "rnn-relu": partial(Recurrent, nn.RNN, nonlinearity="relu"),
    "lstm": partial(Recurrent, nn.LSTM),
    "gru": partial(Recurrent, nn.GRU),
    "lstm-two-layers-both-ways": partial(Recurrent, nn.LSTM, num_layers=2, bidirectional=True, dropout=0.1),
}

for _name, _build in LAYERS.items():
    ZOO.put(_name, f"{_name} over the rows of a digit", partial(on_rows, _build))


class Unrolled(nn.Module):
    """A cell in a loop of its own."""

    def __init__(self, cell: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.cell, self.head = cell(8, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for row in x.unbind(1):
            state = self.cell(row, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


for _cell in (nn.RNNCell, nn.GRUCell, nn.LSTMCell):
    ZOO.put(
        f"{_cell.__name__.lower()}-unrolled", f"{_cell.__name__} in a loop", partial(on_rows, partial(Unrolled, _cell))
    )


class IdentityRecurrent(nn.Module):
    """h = relu(W x + U h), U = 1 at first (Le, Jaitly and Hinton 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs, self.state, self.head = nn.Linear(8, 32), nn.Linear(32, 32, bias=False), nn.Linear(32, 10)
        nn.init.eye_(self.state.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 32)
        for row in x.unbind(1):
            h = F.relu(self.inputs(row) + self.state(h))
        return self.head(h)


@ZOO.add
def irnn() -> Case:
    """a ReLU recurrence that starts as the identity."""
    return on_rows(IdentityRecurrent)


class Packed(nn.Module):
    """Sequences of different length, packed."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, 16, padding_idx=0)
        self.rnn, self.head = nn.GRU(16, 24, batch_first=True), nn.Linear(24, 4)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.words(tokens), lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.rnn(packed)[1][-1])


@ZOO.add
def packed_gru() -> Case:
    """padded sequences of different length, two inputs."""
    tokens, y = topics()
    lengths = torch.randint(8, 17, (len(y),), generator=torch.Generator().manual_seed(0))
    kept = torch.arange(16) < lengths[:, None]
    return Case(Packed, ((tokens * kept, lengths), y), F.cross_entropy, optimizer=adam(1e-2), batch_size=32)


class LanguageModel(nn.Module):
    """Embedding, a recurrent layer, a head that shares the embedding's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, 32)
        nn.init.normal_(self.words.weight, std=0.1)
        self.rnn = nn.LSTM(32, 32, batch_first=True)
        self.head = nn.Linear(32, VOCABULARY)
        self.head.weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.rnn(self.words(tokens))[0])


@ZOO.add
def lstm_language_model() -> Case:
    """next tokens, tied embeddings."""
    return Case(LanguageModel, next_tokens(), token_loss, optimizer=adam(1e-2), batch_size=32)


class Translator(nn.Module):
    """An encoder and a decoder that looks back at it by attention."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(VOCABULARY, 32), nn.Embedding(VOCABULARY, 32)
        self.encoder, self.decoder = nn.GRU(32, 32, batch_first=True), nn.GRU(32, 32, batch_first=True)
        self.head = nn.Linear(64, VOCABULARY)

    def forward(self, source: Tensor, before: Tensor) -> Tensor:
        memory, last = self.encoder(self.source(source))
        state, _ = self.decoder(self.target(before), last)
        attention = (state @ memory.transpose(1, 2) / 32**0.5).softmax(-1)
        return self.head(torch.cat([state, attention @ memory], -1))


@ZOO.add
def attentive_translator() -> Case:
    """a recurrent encoder and decoder with attention, teacher forcing."""
    source, target = translated()
    before = F.pad(target[:, :-1], (1, 0), value=1)
    return Case(Translator, ((source, before), target), token_loss, optimizer=adam(1e-2), batch_size=32)


class Spelling(nn.Module):
    """Symbols from frames, without alignment; log-probabilities, time first."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(6, 32, batch_first=True, bidirectional=True), nn.Linear(64, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0]).log_softmax(-1).transpose(0, 1)


def _spoken() -> tuple[Tensor, Tensor]:
    """(512, 24, 6) frames in which four symbols last six frames each, and the (512, 4) symbols."""
    g = torch.Generator().manual_seed(0)
    symbols = torch.randint(1, 6, (512, 4), generator=g)
    frames = F.one_hot(symbols, 6).float().repeat_interleave(6, 1)
    return frames + 0.1 * torch.randn(frames.shape, generator=g), symbols


@ZOO.add
def ctc() -> Case:
    """connectionist temporal classification: samples are the second axis of the outputs."""

    def loss(out: Tensor, symbols: Tensor) -> Tensor:
        count = len(symbols)
        return F.ctc_loss(out, symbols, torch.full((count,), len(out)), torch.full((count,), 4))

    return Case(Spelling, _spoken(), loss, optimizer=adam(1e-2), batch_size=32)
