# ruff: noqa: C408 - keywords, as the wrappers take them
"""x-transformers: attention with the extras of many papers."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.tasks import VOCABULARY, adamw, chain, forecasting, gratings, topics
from torch import Tensor, nn
from torch.nn import functional as F
from x_transformers import (
    AutoregressiveWrapper,
    ContinuousTransformerWrapper,
    Decoder,
    Encoder,
    TransformerWrapper,
    ViTransformerWrapper,
)

from unstick import Case

ZOO = Collection("x-transformers")


def _decoder(**options: Any) -> nn.Module:
    layers = Decoder(dim=32, depth=2, heads=4, attn_dim_head=8, **options)
    return AutoregressiveWrapper(TransformerWrapper(num_tokens=VOCABULARY, max_seq_len=16, attn_layers=layers))


def _next_token(**options: Any) -> Case:
    data = lambda: chain()[torch.randperm(1024)].split(16)  # noqa: E731
    return Case(partial(_decoder, **options), data, step=lambda model, tokens: model(tokens), optimizer=adamw(1e-3))


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rotary-swiglu": dict(rotary_pos_emb=True, ff_swish=True, ff_glu=True),
    "alibi-rmsnorm": dict(alibi_pos_bias=True, alibi_num_heads=2, use_rmsnorm=True),
    "relu-squared": dict(ff_relu_squared=True, ff_no_bias=True),
    "qk-norm": dict(attn_qk_norm=True),
    "post-norm": dict(pre_norm=False),
    "sandwich-norm": dict(sandwich_norm=True),
    "gated-residual": dict(gate_residual=True),
    "talking-heads": dict(attn_pre_talking_heads=True, attn_post_talking_heads=True),
    "macaron-t5-bias": dict(macaron=True, rel_pos_bias=True),
}  # fmt: skip

for _name, _options in OPTIONS.items():
    ZOO.put(f"xt-{_name}", f"next tokens: {_name}", partial(_next_token, **_options))


@ZOO.add
def xt_encoder() -> Case:
    """sequence classification by a mean over tokens."""

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = Encoder(dim=32, depth=2, heads=4, attn_dim_head=8)
            self.body = TransformerWrapper(num_tokens=VOCABULARY, max_seq_len=16, attn_layers=layers)
            self.head = nn.Linear(32, 4)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(self.body(tokens, return_embeddings=True).mean(1))

    return Case(Classifier, topics(), F.cross_entropy, optimizer=adamw(1e-3), batch_size=16)


@ZOO.add
def xt_vision() -> Case:
    """a vision transformer."""
    layers = partial(Encoder, dim=32, depth=2, heads=4, attn_dim_head=8)
    model = lambda: ViTransformerWrapper(image_size=32, patch_size=8, num_classes=4, attn_layers=layers())  # noqa: E731
    return Case(model, gratings(), F.cross_entropy, optimizer=adamw(1e-3), batch_size=16)


@ZOO.add
def xt_continuous() -> Case:
    """numbers in, numbers out."""

    def build() -> nn.Module:
        layers = Encoder(dim=32, depth=2, heads=4, attn_dim_head=8)
        body = ContinuousTransformerWrapper(dim_in=4, dim_out=1, max_seq_len=8, attn_layers=layers)
        return nn.Sequential(nn.Unflatten(1, (8, 4)), body, nn.Flatten())

    return Case(build, forecasting(), F.mse_loss, optimizer=adamw(1e-3), batch_size=16)
