"""Transformers and other ways to attend, in plain torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.recurrent import on_rows
from benchmarks.zoo.tasks import VOCABULARY, adam, adamw, next_tokens, token_loss, topics, translated
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case

ZOO = Collection("Attention")


class Encoder(nn.Module):
    """torch's transformer encoder over the rows of a digit."""

    def __init__(self, before: bool, layers: int = 2) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(8, 32), nn.Linear(32, 10)
        self.position = nn.Parameter(0.02 * torch.randn(8, 32))
        block = nn.TransformerEncoderLayer(32, 4, 64, 0.1, batch_first=True, norm_first=before)
        self.body = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.embed(x) + self.position).mean(1))


ZOO.put("transformer-pre-norm", "normalisation before each branch", partial(on_rows, partial(Encoder, True), 1e-3))
ZOO.put("transformer-post-norm", "normalisation after each addition", partial(on_rows, partial(Encoder, False), 1e-3))
ZOO.put("transformer-eight-layers", "deep, pre-norm", partial(on_rows, partial(Encoder, True, 8), 1e-3))


class Attention(nn.Module):
    """Attention written out; `feature`: of queries and keys, instead of a softmax (linear attention)."""

    def __init__(self, feature: Callable[[Tensor], Tensor] | None) -> None:
        super().__init__()
        self.feature, self.norm = feature, nn.LayerNorm(32)
        self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 32)
        self.wide = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        if self.feature is None:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            weight = self.feature(q) @ self.feature(k).transpose(1, 2)
            mixed = weight @ v / (weight.sum(-1, keepdim=True) + 1e-6)
        x = x + self.out(mixed)
        return x + self.wide(x)


class Attentive(nn.Module):
    def __init__(self, feature: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.embed, self.blocks = nn.Linear(8, 32), nn.Sequential(Attention(feature), Attention(feature))
        self.position, self.head = nn.Parameter(0.02 * torch.randn(8, 32)), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.embed(x) + self.position).mean(1))


ZOO.put("attention-softmax", "scaled dot products in one call", partial(on_rows, Attentive, 1e-3))
ZOO.put(
    "attention-elu", "linear attention, elu + 1", partial(on_rows, partial(Attentive, lambda x: F.elu(x) + 1), 1e-3)
)
ZOO.put(
    "attention-exp",
    "softmax-free, exp of queries and keys (tempts unbounded-activation)",
    partial(on_rows, partial(Attentive, torch.exp), 1e-3),
)
ZOO.put("attention-relu", "softmax-free, ReLU of queries and keys", partial(on_rows, partial(Attentive, F.relu), 1e-3))


class FullTransformer(nn.Module):
    """nn.Transformer, encoder and decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(VOCABULARY, 32), nn.Embedding(VOCABULARY, 32)
        self.position = nn.Parameter(0.1 * torch.randn(16, 32))
        self.body = nn.Transformer(32, 4, 1, 1, 64, 0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(32, VOCABULARY)

    def forward(self, source: Tensor, before: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(before.shape[1])
        a, b = self.source(source) + self.position, self.target(before) + self.position
        return self.head(self.body(a, b, tgt_mask=mask, tgt_is_causal=True))


@ZOO.add
def encoder_decoder_transformer() -> Case:
    """nn.Transformer, teacher forcing."""
    source, target = translated()
    before = F.pad(target[:, :-1], (1, 0), value=1)
    return Case(FullTransformer, ((source, before), target), token_loss, optimizer=adamw(3e-3), batch_size=32)


class GPT(nn.Module):
    """A decoder in thirty lines: causal attention, tied embeddings, small residual weights."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, 32), nn.Embedding(16, 32)
        block = nn.TransformerEncoderLayer(32, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, VOCABULARY, bias=False)
        nn.init.normal_(self.words.weight, std=0.02)
        self.head.weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        x = self.words(tokens) + self.places(torch.arange(length))
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        return self.head(self.norm(self.body(x, mask=mask, is_causal=True)))


@ZOO.add
def gpt_in_plain_torch() -> Case:
    """causal attention, tied embeddings of deviation 0.02, AdamW with decay 0.1."""
    optimizer = adamw(3e-3, weight_decay=0.1, betas=(0.9, 0.95))
    return Case(GPT, next_tokens(), token_loss, optimizer=optimizer, batch_size=32)


class TextConvolutions(nn.Module):
    """Kernels of several widths over word vectors, largest response (Kim 2014)."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, 16)
        self.kernels = nn.ModuleList(nn.Conv1d(16, 16, width) for width in (2, 3, 4))
        self.head = nn.Linear(48, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens).transpose(1, 2)
        return self.head(torch.cat([F.relu(kernel(x)).amax(2) for kernel in self.kernels], 1))


@ZOO.add
def text_convolutions() -> Case:
    """a CNN for sentences, maximum over time."""
    return Case(TextConvolutions, topics(), F.cross_entropy, optimizer=adam(3e-3), batch_size=32)


class Written(nn.Module):
    """Causal attention as it is written in many tutorials: what must not be seen gets minus infinity."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, 32), nn.Parameter(0.02 * torch.randn(15, 32))
        self.norm, self.qkv = nn.LayerNorm(32), nn.Linear(32, 96)
        self.out, self.head = nn.Linear(32, 32), nn.Linear(32, VOCABULARY)
        self.register_buffer("future", torch.ones(15, 15).triu(1).bool())

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) + self.places
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        scores = (q @ k.transpose(1, 2) / 32**0.5).masked_fill(self.future, float("-inf"))
        return self.head(x + self.out(scores.softmax(-1) @ v))


@ZOO.add
def attention_with_minus_infinity() -> Case:
    """causal attention written out with a mask of minus infinity (tempts non-finite)."""
    return Case(Written, next_tokens(), token_loss, optimizer=adamw(3e-3), batch_size=32)
