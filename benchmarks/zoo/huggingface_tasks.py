# ruff: noqa: C408 - keywords, as the configurations take them
"""Transformers models for other tasks, and in other ways of training."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.huggingface import BART, COMMON, ENCODERS, GPT, T5, VISION, case, chain_batches, make, text_batches
from benchmarks.zoo.tasks import VOCABULARY, adamw, chain, dict_batches, forecasting, gratings, topics, translated
from torch import Tensor, nn

from unstick import Case

ZOO = Collection("Transformers: other tasks")


def _masked() -> Any:
    """Labels at a sixth of the places, -100 elsewhere; 3 stands for the mask."""
    tokens = chain()
    hidden = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(0)) < 0.15
    return dict_batches(16, input_ids=tokens.masked_fill(hidden, 3), labels=tokens.masked_fill(~hidden, -100))


@ZOO.add
def hf_bert_masked_language_model() -> Case:
    """masked tokens, most labels are -100."""
    return case("Bert", "ForMaskedLM", COMMON, _masked, 3e-3)


@ZOO.add
def hf_bert_token_classification() -> Case:
    """a label for each token."""
    tokens = chain()
    data = lambda: dict_batches(16, input_ids=tokens, labels=tokens % 3)  # noqa: E731
    return case("Bert", "ForTokenClassification", COMMON | dict(num_labels=3), data)


@ZOO.add
def hf_distilbert_frozen_embeddings() -> Case:
    """fine-tuning with the embeddings frozen and a loss given by the user."""

    def build() -> nn.Module:
        model = make("DistilBert", "ForSequenceClassification", ENCODERS["distilbert"][1] | dict(num_labels=4))
        model.distilbert.embeddings.requires_grad_(False)
        return model

    loss = lambda out, y: nn.functional.cross_entropy(out.logits, y)  # noqa: E731
    return Case(build, text_batches(), loss, optimizer=adamw(1e-3))


@ZOO.add
def hf_vit_mae() -> Case:
    """masked autoencoder on noisy colours: most patches are left out at random, no labels."""
    settings = VISION | dict(
        decoder_hidden_size=32, decoder_num_hidden_layers=1, decoder_num_attention_heads=4,
        decoder_intermediate_size=64, norm_pix_loss=False,
    )  # fmt: skip
    g = torch.Generator().manual_seed(0)
    x = torch.randn(512, 3, 1, 1, generator=g) + 0.2 * torch.randn(512, 3, 32, 32, generator=g)
    return Case(
        lambda: make("ViTMAE", "ForPreTraining", settings),
        dict_batches(16, pixel_values=x),
        step=lambda model, batch: model(**batch).loss,
        optimizer=adamw(3e-3),
    )


@ZOO.add
def hf_whisper() -> Case:
    """speech to symbols: spectrograms in, tokens out."""
    settings = BART | dict(
        num_mel_bins=8,
        max_source_positions=16,
        max_target_positions=16,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    symbols = topics()[0][:512, :4] % 8 + 4
    g = torch.Generator().manual_seed(0)
    frames = nn.functional.one_hot(symbols - 4, 8).float().repeat_interleave(8, 1).transpose(1, 2)
    frames = frames + 0.1 * torch.randn(frames.shape, generator=g)
    data = lambda: dict_batches(16, input_features=frames, labels=symbols)  # noqa: E731
    return case("Whisper", "ForConditionalGeneration", settings, data, 3e-3)


@ZOO.add
def hf_clip() -> Case:
    """pictures and captions find each other (a contrastive loss and a learned temperature, through exp)."""
    text = COMMON | dict(projection_dim=16)
    settings = dict(text_config=text, vision_config=VISION | dict(projection_dim=16), projection_dim=16)
    x, y = gratings()
    g = torch.Generator().manual_seed(0)
    captions = torch.randint(20, VOCABULARY, (512, 8), generator=g)
    captions[:, 3] = 4 + y
    captions[:, -1] = 2
    batches = dict_batches(16, pixel_values=x, input_ids=captions)
    step = lambda model, batch: model(**batch, return_loss=True).loss  # noqa: E731
    return Case(lambda: make("CLIP", "Model", settings), batches, step=step, optimizer=adamw(3e-3))


@ZOO.add
def hf_patchtst() -> Case:
    """forecasting from patches of a series."""
    settings = dict(
        context_length=32, prediction_length=8, num_input_channels=1, patch_length=4, patch_stride=4, d_model=32,
        num_hidden_layers=2, num_attention_heads=4, ffn_dim=64, scaling=None,
    )  # fmt: skip
    past, future = forecasting()
    batches = dict_batches(16, past_values=past[:, :, None], future_values=future[:, :, None])
    step = lambda model, batch: model(**batch).loss  # noqa: E731
    return Case(lambda: make("PatchTST", "ForPrediction", settings), batches, step=step, optimizer=adamw(1e-3))


@ZOO.add
def hf_audio_spectrogram_transformer() -> Case:
    """a spectrogram as an image."""
    settings = COMMON | dict(
        num_mel_bins=16, max_length=32, patch_size=8, frequency_stride=8, time_stride=8, num_labels=4
    )
    x, y = gratings(32, 1)
    data = lambda: dict_batches(16, input_values=x[:, 0, :, :16], labels=y)  # noqa: E731
    return case("AST", "ForAudioClassification", settings, data)


@ZOO.add
def hf_t5_in_bfloat16() -> Case:
    """weights in bfloat16, labels with padding."""
    source, target = translated()
    data = dict_batches(16, input_ids=source, labels=target.index_fill(1, torch.tensor([14, 15]), -100))
    return Case(lambda: make("T5", "ForConditionalGeneration", T5).bfloat16(), data, optimizer=adamw(3e-3))


@ZOO.add
def hf_gpt2_low_rank_adapters() -> Case:
    """adapters in a frozen language model; embeddings and head are trained, too."""
    import torch.nn.utils.parametrize as parametrize

    class Adapter(nn.Module):
        def __init__(self, shape: torch.Size) -> None:
            super().__init__()
            self.up, self.down = (
                nn.Parameter(torch.zeros(shape[0], 4)),
                nn.Parameter(torch.randn(4, shape[1]) / shape[1] ** 0.5),
            )

        def forward(self, weight: Tensor) -> Tensor:
            return weight + self.up @ self.down

    def build() -> nn.Module:
        model = make("GPT2", "LMHeadModel", GPT)
        for block in model.transformer.h:
            block.requires_grad_(False)
            for layer in (block.attn.c_attn, block.mlp.c_fc, block.mlp.c_proj):
                parametrize.register_parametrization(layer, "weight", Adapter(layer.weight.shape))
        return model

    return Case(build, chain_batches(), optimizer=adamw(3e-3))
