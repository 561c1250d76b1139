"""Modules with random weights, made on the device, and around them our denoiser and the stock pipeline.

Weights are drawn with a standard deviation of fan-in^-1/2, so that activations keep their size through all blocks, as
trained ones do: a kernel's time depends a little on its data, and zeros would flatter it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

from benchmarks.gpu.scale import GUIDANCE, SCHEDULERS, STEPS, Model, Scale
from fluxpool_inference.values import ModelInfo
from fluxpool_inference.worker.flux import FluxModel, Parts
from fluxpool_inference.worker.modulation import stock

LATENT_CHANNELS = 16
DTYPE = torch.bfloat16
_SEED = 0


def transformer(scale: Scale, model: Model, device: torch.device) -> Any:
    """A FluxTransformer2DModel with weights, the same at every call."""
    return _filled(transformer_on_meta(scale, model), device)


def vae(scale: Scale, device: torch.device) -> Any:
    """An AutoencoderKL with weights, the same at every call; on a GPU in the layout that its convolutions like best."""
    module = _filled(vae_on_meta(scale), device)
    return module.to(memory_format=torch.channels_last) if device.type == "cuda" else module


def transformer_on_meta(scale: Scale, model: Model) -> Any:
    """A FluxTransformer2DModel in bfloat16, without weights."""
    with torch.device("meta"):
        return FluxTransformer2DModel(**scale.transformer, guidance_embeds=model == "dev").to(DTYPE)


def vae_on_meta(scale: Scale) -> Any:
    """An AutoencoderKL in bfloat16, without weights."""
    blocks = len(scale.vae_channels)
    with torch.device("meta"):
        module = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * blocks,
            up_block_types=("UpDecoderBlock2D",) * blocks,
            block_out_channels=scale.vae_channels,
            layers_per_block=scale.vae_layers,
            norm_num_groups=scale.vae_groups,
            latent_channels=LATENT_CHANNELS,
            use_quant_conv=False,
            use_post_quant_conv=False,
            scaling_factor=0.3611,
            shift_factor=0.1159,
        )
    return module.to(DTYPE)


def _filled(module: Any, device: torch.device) -> Any:
    """A module from the meta device on `device`, with random weights: matrices drawn, norms 1, biases 0."""
    module = module.to_empty(device=device).eval().requires_grad_(requires_grad=False)
    generator = torch.Generator(device).manual_seed(_SEED)
    for name, weight in module.named_parameters():
        if weight.dim() > 1:
            weight.normal_(std=1 / math.sqrt(weight[0].numel()), generator=generator)
        else:
            weight.fill_(1.0 if name.endswith("weight") else 0.0)
    return module


def denoiser(
    scale: Scale, model: Model, network: Any, decoder: Any, *, modulator: Any, device: torch.device
) -> FluxModel:
    """The engine's own model around a transformer and a VAE; of text encoders it has the precision only.

    `network` is the `modulator`, a transformer that is told its modulations, or what stands for it.
    """
    encoder = SimpleNamespace(dtype=modulator.x_embedder.weight.dtype)
    parts = Parts(
        transformer=network,
        vae=decoder,
        clip=encoder,
        t5=encoder,
        clip_tokenizer=None,
        t5_tokenizer=None,
        scheduler=dict(SCHEDULERS[model]),
        modulator=modulator,
    )
    info = ModelInfo(
        name=scale.name,
        family=f"flux-{model}",
        guidance_embeds=model == "dev",
        default_guidance=GUIDANCE if model == "dev" else None,
        default_steps=STEPS[model],
        max_sequence_length=scale.text_tokens[model],
        dtype="bfloat16",
        device=str(device),
        parameters=0,
    )
    return FluxModel(parts, info, device)


@contextmanager
def stock_pipeline(model: Model, network: Any, decoder: Any) -> Iterator[Any]:
    """The stock FluxPipeline around the same modules; it takes embeddings instead of prompts.

    Until it is done with, the transformer is the stock one.
    """
    with stock(network):
        yield _pipeline(model, network, decoder)


def _pipeline(model: Model, network: Any, decoder: Any) -> Any:
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULERS[model]),
        vae=decoder,
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=network,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
