# ruff: noqa: C408 - keywords, as the configurations take them
"""Transformers models, built from small configurations; nothing is downloaded.

Each is trained as its users train it: batches are dictionaries and the model computes its own loss.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import transformers
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.tasks import VOCABULARY, adamw, chain, dict_batches, gratings, signals, topics, translated
from torch import nn

from unstick import Case

ZOO = Collection("Transformers")
transformers.utils.logging.set_verbosity_error()

Settings = dict[str, Any]

# Names that most configurations use; those of the early models differ.
COMMON: Settings = dict(
    vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
    max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
GROUPED: Settings = COMMON | dict(num_key_value_heads=2, head_dim=8)
GPT: Settings = dict(
    vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2
)
BART: Settings = dict(
    vocab_size=VOCABULARY, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
    decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=64, pad_token_id=0,
    bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, forced_eos_token_id=None,
)  # fmt: skip
T5: Settings = dict(
    vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, pad_token_id=0, eos_token_id=2,
    decoder_start_token_id=1,
)  # fmt: skip
VISION: Settings = dict(
    image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
)
AUDIO: Settings = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, conv_dim=(16, 16, 16),
    conv_stride=(4, 2, 2), conv_kernel=(8, 4, 4), num_feat_extract_layers=3, num_conv_pos_embeddings=16,
    num_conv_pos_embedding_groups=4, classifier_proj_size=32, mask_time_prob=0.0, apply_spec_augment=False,
)  # fmt: skip

# name: (prefix of the class names, settings)
ENCODERS: dict[str, tuple[str, Settings]] = {
    "bert": ("Bert", COMMON),
    "roberta": ("Roberta", COMMON),
    "distilbert": (
        "DistilBert",
        dict(vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64),
    ),
    "albert": ("Albert", COMMON | dict(embedding_size=16)),
    "electra": ("Electra", COMMON | dict(embedding_size=16)),
    "deberta": ("Deberta", COMMON | dict(relative_attention=True, pos_att_type=["c2p", "p2c"])),
    "deberta-v2": ("DebertaV2", COMMON | dict(relative_attention=True, pos_att_type=["c2p", "p2c"])),
    "mpnet": ("MPNet", COMMON),
    "xlnet": ("XLNet", dict(vocab_size=VOCABULARY, d_model=32, n_layer=2, n_head=4, d_inner=64)),
    "funnel": (
        "Funnel",
        dict(
            vocab_size=VOCABULARY, d_model=32, block_sizes=[1, 1], n_head=4, d_head=8, d_inner=64, num_decoder_layers=1
        ),
    ),
    "convbert": ("ConvBert", COMMON | dict(embedding_size=32, head_ratio=2, conv_kernel_size=3)),
    "fnet": ("FNet", COMMON),
    "roformer": ("RoFormer", COMMON | dict(embedding_size=32)),
    "nystromformer": ("Nystromformer", COMMON | dict(num_landmarks=4, segment_means_seq_len=16)),
    "modernbert": ("ModernBert", COMMON | dict(cls_token_id=1, sep_token_id=2)),
    "megatron-bert": ("MegatronBert", COMMON),
    "rembert": ("RemBert", COMMON | dict(input_embedding_size=16, output_embedding_size=32)),
    "squeezebert": ("SqueezeBert", COMMON | dict(embedding_size=32)),
    "mobilebert": ("MobileBert", COMMON | dict(embedding_size=32, intra_bottleneck_size=16, true_hidden_size=16)),
    "ibert": ("IBert", COMMON),
    "big-bird": ("BigBird", COMMON | dict(attention_type="original_full")),
}

DECODERS: dict[str, tuple[str, Settings]] = {
    "gpt2": ("GPT2", GPT),
    "gpt-neo": (
        "GPTNeo",
        dict(
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
            attention_types=[[["global", "local"], 1]],
            window_size=8,
        ),
    ),
    "gpt-neox": ("GPTNeoX", COMMON),
    "gptj": ("GPTJ", GPT | dict(rotary_dim=4)),
    "opt": ("OPT", COMMON | dict(ffn_dim=64, word_embed_proj_dim=32)),
    "bloom": ("Bloom", dict(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4)),
    "llama": ("Llama", GROUPED),
    "mistral": ("Mistral", GROUPED | dict(sliding_window=8)),
    "mixtral": ("Mixtral", GROUPED | dict(num_local_experts=4, num_experts_per_tok=2)),
    "qwen2": ("Qwen2", COMMON | dict(num_key_value_heads=2)),
    "qwen3": ("Qwen3", GROUPED),
    "gemma": ("Gemma", GROUPED),
    "gemma2": ("Gemma2", GROUPED | dict(query_pre_attn_scalar=8, sliding_window=8)),
    "phi": ("Phi", COMMON),
    "phi3": ("Phi3", COMMON | dict(num_key_value_heads=2)),
    "falcon": ("Falcon", COMMON),
    "stablelm": ("StableLm", COMMON | dict(num_key_value_heads=2)),
    "olmo2": ("Olmo2", COMMON | dict(num_key_value_heads=2)),
    "cohere": ("Cohere", COMMON | dict(num_key_value_heads=2)),
    "starcoder2": ("Starcoder2", COMMON | dict(num_key_value_heads=2)),
    "mpt": ("Mpt", dict(vocab_size=VOCABULARY, d_model=32, n_layers=2, n_heads=4, max_seq_len=64)),
    "mamba": ("Mamba", dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=8)),
    "mamba2": (
        "Mamba2",
        dict(
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_hidden_layers=2,
            state_size=8,
            num_heads=8,
            head_dim=8,
            n_groups=1,
            chunk_size=8,
        ),
    ),
    "rwkv": (
        "Rwkv",
        dict(
            vocab_size=VOCABULARY,
            hidden_size=32,
            attention_hidden_size=32,
            num_hidden_layers=2,
            intermediate_size=64,
            context_length=64,
        ),
    ),
    "recurrent-gemma": ("RecurrentGemma", GROUPED | dict(num_hidden_layers=3, lru_width=32, attention_window_size=8)),
    "xglm": (
        "XGLM",
        dict(
            vocab_size=VOCABULARY, d_model=32, ffn_dim=64, num_layers=2, attention_heads=4, max_position_embeddings=64
        ),
    ),
    "codegen": ("CodeGen", GPT | dict(rotary_dim=4)),
}

TRANSLATORS: dict[str, tuple[str, Settings]] = {
    "t5": ("T5", T5),
    "bart": ("Bart", BART),
    "mbart": ("MBart", BART),
    "pegasus": ("Pegasus", BART | dict(scale_embedding=True)),
    "m2m100": ("M2M100", BART),
}

# Weights of deviation 0.02 are made for wide layers; where nothing makes up for it, narrow ones get larger ones.
STAGES: Settings = dict(hidden_sizes=[8, 16], depths=[1, 1])
IMAGES: dict[str, tuple[str, Settings]] = {
    "vit": ("ViT", VISION),
    "deit": ("DeiT", VISION),
    "beit": ("Beit", VISION),
    "dinov2": ("Dinov2", VISION | dict(mlp_ratio=2)),
    "swin": ("Swin", dict(image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4)),
    "swinv2": (
        "Swinv2",
        dict(image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4),
    ),
    "resnet": ("ResNet", STAGES | dict(embedding_size=8, layer_type="basic")),
    "bit": ("Bit", STAGES | dict(embedding_size=8, num_groups=4)),
    "convnext": ("ConvNext", STAGES | dict(num_stages=2)),
    "convnextv2": ("ConvNextV2", STAGES | dict(num_stages=2)),
    "regnet": ("RegNet", STAGES | dict(embedding_size=8, groups_width=4)),
    "mobilenet-v1": (
        "MobileNetV1",
        dict(image_size=32, depth_multiplier=0.125, min_depth=4, classifier_dropout_prob=0.1),
    ),
    "mobilenet-v2": ("MobileNetV2", dict(image_size=32, depth_multiplier=0.125, min_depth=4)),
    "poolformer": (
        "PoolFormer",
        dict(
            hidden_sizes=[16, 32],
            depths=[1, 1],
            patch_sizes=[4, 3],
            strides=[4, 2],
            padding=[1, 1],
            num_encoder_blocks=2,
        ),
    ),
    "segformer": (
        "Segformer",
        dict(
            num_encoder_blocks=2,
            hidden_sizes=[16, 32],
            depths=[1, 1],
            sr_ratios=[2, 1],
            patch_sizes=[7, 3],
            strides=[4, 2],
            num_attention_heads=[2, 2],
            mlp_ratios=[2, 2],
        ),
    ),
    "pvt-v2": (
        "PvtV2",
        dict(
            image_size=32,
            num_encoder_blocks=2,
            hidden_sizes=[16, 32],
            depths=[1, 1],
            sr_ratios=[2, 1],
            patch_sizes=[7, 3],
            strides=[4, 2],
            num_attention_heads=[2, 2],
            mlp_ratios=[2, 2],
        ),
    ),
    "focalnet": (
        "FocalNet",
        dict(
            image_size=32,
            patch_size=4,
            embed_dim=16,
            hidden_sizes=[16, 32],
            depths=[1, 1],
            focal_levels=[1, 1],
            focal_windows=[3, 3],
        ),
    ),
    "mobilevit": (
        "MobileViT",
        dict(
            image_size=64,
            initializer_range=0.1,
            hidden_sizes=[16, 24, 32],
            neck_hidden_sizes=[4, 8, 8, 8, 16, 16, 32],
            num_attention_heads=2,
        ),
    ),
    "levit": (
        "Levit",
        dict(
            image_size=64, hidden_sizes=[16, 24, 32], num_attention_heads=[2, 2, 2], depths=[1, 1, 1], key_dim=[8, 8, 8]
        ),
    ),
    "efficientnet": (
        "EfficientNet",
        dict(image_size=32, width_coefficient=0.25, depth_coefficient=0.3, hidden_dim=320, initializer_range=0.2),
    ),
}

SOUNDS: dict[str, tuple[str, Settings]] = {
    "wav2vec2": ("Wav2Vec2", AUDIO),
    "hubert": ("Hubert", AUDIO),
    "wavlm": ("WavLM", AUDIO),
    "sew": ("SEW", AUDIO | dict(squeeze_factor=1)),
    "data2vec-audio": ("Data2VecAudio", AUDIO | dict(num_conv_pos_embeddings=1)),
}


@functools.cache
def text_batches() -> Any:
    tokens, y = topics()
    return dict_batches(16, input_ids=tokens, attention_mask=torch.ones_like(tokens), labels=y)


@functools.cache
def chain_batches() -> Any:
    return dict_batches(16, input_ids=chain(), labels=chain())


@functools.cache
def _translations() -> Any:
    source, target = translated()
    return dict_batches(16, input_ids=source, labels=target)


@functools.cache
def _images(side: int) -> Any:
    x, y = gratings(side)
    return dict_batches(16, pixel_values=x, labels=y)


@functools.cache
def _sounds() -> Any:
    x, y = signals(512)
    return dict_batches(16, input_values=x, labels=y)


def make(prefix: str, head: str, settings: Settings) -> nn.Module:
    """A fresh model with random weights."""
    config = getattr(transformers, f"{prefix}Config")(**settings)
    return getattr(transformers, prefix + head)(config)


def case(prefix: str, head: str, settings: Settings, data: Callable[[], Any], rate: float = 1e-3) -> Case:
    return Case(lambda: make(prefix, head, settings), data(), optimizer=adamw(rate, weight_decay=0.01))


def _fill(table: dict[str, tuple[str, Settings]], about: str, head: str, data: Callable[[], Any], **extra: Any) -> None:
    for name, (prefix, settings) in table.items():
        source = functools.partial(data, settings.get("image_size", 32)) if data is _images else data
        named = HEADS.get(name, head)
        ZOO.put(
            f"hf-{name}", about, functools.partial(case, prefix, named, settings | extra, source, RATES.get(name, 1e-3))
        )


HEADS = {"gpt2": "LMHeadModel"}
RATES = {"mobilebert": 3e-3, "squeezebert": 3e-3, "pegasus": 3e-3}

_fill(ENCODERS, "sequence classification", "ForSequenceClassification", text_batches, num_labels=4)
_fill(DECODERS, "next tokens", "ForCausalLM", chain_batches)
_fill(TRANSLATORS, "word-by-word translation", "ForConditionalGeneration", _translations)
_fill(IMAGES, "image classification", "ForImageClassification", _images, num_labels=4)
_fill(SOUNDS, "sound classification", "ForSequenceClassification", _sounds, num_labels=4)
