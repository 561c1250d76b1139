"""Loads a checked model onto the device, weight by weight as the files have them, or not at all.

diffusers and transformers initialise missing weights at random and say so in a warning; here that is an error.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from fluxpool_inference.values import EngineConfig, ModelInfo
from fluxpool_inference.worker.checkpoint import Checkpoint, failure, first_line
from fluxpool_inference.worker.flux import FluxModel, Parts

_NAMED_KEYS = 5
_DEV = {"family": "flux-dev", "default_guidance": 3.5, "default_steps": 28, "max_sequence_length": 512}
_SCHNELL = {"family": "flux-schnell", "default_guidance": None, "default_steps": 4, "max_sequence_length": 256}


def load(config: EngineConfig, checkpoint: Checkpoint, device: torch.device) -> FluxModel:
    """All parts on `device` in the configured precision. Raises StartError that names the part, and its weights."""
    directory = checkpoint.directory
    dtype: torch.dtype = getattr(torch, config.dtype)
    parts = Parts(
        transformer=_weights(FluxTransformer2DModel, directory, "transformer", dtype, device),
        vae=_weights(AutoencoderKL, directory, "vae", dtype, device),
        clip=_weights(CLIPTextModel, directory, "text_encoder", dtype, device),
        t5=_weights(T5EncoderModel, directory, "text_encoder_2", dtype, device),
        clip_tokenizer=_tokenizer(CLIPTokenizer, directory, "tokenizer"),
        t5_tokenizer=_tokenizer(T5TokenizerFast, directory, "tokenizer_2"),
        scheduler=checkpoint.scheduler,
    )
    return FluxModel(parts, _info(config, parts, device), device)


def _info(config: EngineConfig, parts: Parts, device: torch.device) -> ModelInfo:
    guidance_embeds = bool(parts.transformer.config.guidance_embeds)
    facts: dict[str, Any] = dict(_DEV if guidance_embeds else _SCHNELL)
    if config.max_sequence_length is not None:
        facts["max_sequence_length"] = config.max_sequence_length
    return ModelInfo(
        name=config.model,
        guidance_embeds=guidance_embeds,
        dtype=config.dtype,
        device=str(device),
        parameters=sum(weight.numel() for weight in parts.transformer.parameters()),
        **facts,
    )


def _weights(kind: Any, directory: Path, folder: str, dtype: torch.dtype, device: torch.device) -> Any:
    # transformers would say in its log alone which shapes differ; told to ignore them, it returns them.
    tolerant = {"ignore_mismatched_sizes": True} if kind.__module__.startswith("transformers.") else {}
    try:
        module, report = kind.from_pretrained(
            directory,
            subfolder=folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **tolerant,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise failure(f"{folder}: {first_line(error)}") from error
    if missing := sorted(report["missing_keys"]):
        raise failure(f"{folder}: {len(missing)} weights are not in the files: {_named(missing)}")
    if wrong := sorted(report["mismatched_keys"]):
        shapes = (f"{name} has shape {list(found)} instead of {list(wanted)}" for name, found, wanted in wrong)
        raise failure(f"{folder}: {len(wrong)} weights do not fit: {_named(shapes)}")
    return module.eval().requires_grad_(requires_grad=False).to(device)


def _named(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _NAMED_KEYS} more" if len(names) > _NAMED_KEYS else ""
    return ", ".join(names[:_NAMED_KEYS]) + more


def _tokenizer(kind: Any, directory: Path, folder: str) -> Any:
    try:
        return kind.from_pretrained(directory, subfolder=folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise failure(f"{folder}: {first_line(error)}") from error
