"""Complete FluxPipelines with random weights, for machines without a GPU and without the real ones.

The pipelines are of the real classes, with generated tokenizers, so they run the same code as FLUX.1 does; only their
images mean nothing. Every width of the transformer is a multiple of 64, which the quantized forms of a layer ask for.

Imports torch, diffusers and transformers: never import this module from the HTTP process.
"""

import string
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

ModelSize = Literal["tiny", "small"]


@dataclass(frozen=True, slots=True)
class _Shape:
    """Of the transformer; the text encoders and the VAE stay tiny, as their share of the real model's time is small."""

    heads: int
    head_dim: int
    rope_axes: tuple[int, int, int]
    double_blocks: int
    single_blocks: int


_SHAPES: dict[ModelSize, _Shape] = {
    "tiny": _Shape(heads=2, head_dim=32, rope_axes=(8, 12, 12), double_blocks=1, single_blocks=1),
    "small": _Shape(heads=8, head_dim=64, rope_axes=(16, 24, 24), double_blocks=2, single_blocks=4),
}
_TEXT_WIDTH = 64
_LATENT_CHANNELS = 16
_CLIP_TOKENS = 77
_T5_TOKENS = 512


def write_tiny_model(directory: Path, *, schnell: bool = False, size: ModelSize = "tiny", seed: int = 0) -> None:
    """Write a pipeline that `FluxPipeline.from_pretrained(directory)` loads offline.

    Args:
        directory: Made if absent.
        schnell: Like FLUX.1-schnell, without guidance embedding and without dynamic shifting; else like FLUX.1-dev.
        size: The transformer has 0.28 million parameters (`tiny`, 2 MB of files in all) or 36 million (`small`).
        seed: Of the weights; the global generator is left as it was.
    """
    shape = _SHAPES[size]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clip_tokenizer, clip = _clip()
        t5_tokenizer, t5 = _t5()
        pipeline = FluxPipeline(
            scheduler=_scheduler(schnell),
            vae=_vae(),
            text_encoder=clip,
            tokenizer=clip_tokenizer,
            text_encoder_2=t5,
            tokenizer_2=t5_tokenizer,
            transformer=_transformer(shape, guidance_embeds=not schnell),
        )
    pipeline.save_pretrained(directory)


def _transformer(shape: _Shape, *, guidance_embeds: bool) -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        in_channels=4 * _LATENT_CHANNELS,
        num_layers=shape.double_blocks,
        num_single_layers=shape.single_blocks,
        attention_head_dim=shape.head_dim,
        num_attention_heads=shape.heads,
        joint_attention_dim=_TEXT_WIDTH,
        pooled_projection_dim=_TEXT_WIDTH,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=shape.rope_axes,
    )


def _vae() -> AutoencoderKL:
    blocks = 4  # three of them halve the sides: factor 8, as FLUX.1's
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        block_out_channels=(8,) * blocks,
        layers_per_block=1,
        latent_channels=_LATENT_CHANNELS,
        norm_num_groups=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=0.3611,
        shift_factor=0.1159,
    )


def _scheduler(schnell: bool) -> FlowMatchEulerDiscreteScheduler:
    if schnell:
        return FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=False)
    return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)


def _clip() -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Byte-level tokens without merges. The end token's id is the largest: CLIP pools at the largest id of a prompt."""
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=_CLIP_TOKENS)
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=2 * _TEXT_WIDTH,
        projection_dim=_TEXT_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=_CLIP_TOKENS,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=vocabulary["<|endoftext|>"],
    )
    return tokenizer, CLIPTextModel(config).eval()


def _byte_letters() -> list[str]:
    """The 256 letters by which byte-level BPE writes bytes (GPT-2): printable ones stand for themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(code) for code in printable] + [chr(256 + offset) for offset in range(others)]


def _t5() -> tuple[T5Tokenizer, T5EncoderModel]:
    """One token per letter of ASCII; anything else is unknown."""
    letters = string.ascii_letters + string.digits + string.punctuation
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in letters)]
    tokenizer = T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=_T5_TOKENS)
    config = T5Config(
        vocab_size=len(vocabulary),
        d_model=_TEXT_WIDTH,
        d_kv=_TEXT_WIDTH // 2,
        d_ff=2 * _TEXT_WIDTH,
        num_layers=1,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
    )
    return tokenizer, T5EncoderModel(config).eval()
