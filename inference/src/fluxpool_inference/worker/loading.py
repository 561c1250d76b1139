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
_CLIP_VOCABULARY = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_T5_VOCABULARY = (("tokenizer.json",), ("spiece.model",))


def load(config: EngineConfig, checkpoint: Checkpoint, device: torch.device) -> FluxModel:
    """All parts on `device` in the configured precision. Raises StartError that names the part, and its weights."""
    directory = checkpoint.directory
    dtype: torch.dtype = getattr(torch, config.dtype)
    clip_tokenizer = _tokenizer(CLIPTokenizer, directory, "tokenizer", _CLIP_VOCABULARY)
    t5_tokenizer = _tokenizer(T5TokenizerFast, directory, "tokenizer_2", _T5_VOCABULARY)
    clip = _weights(CLIPTextModel, directory, "text_encoder", dtype, device)
    t5 = _weights(T5EncoderModel, directory, "text_encoder_2", dtype, device)
    _check_tokenizer("tokenizer", clip_tokenizer, clip, longest=clip.config.max_position_embeddings)
    _check_tokenizer("tokenizer_2", t5_tokenizer, t5)
    parts = Parts(
        transformer=_weights(FluxTransformer2DModel, directory, "transformer", dtype, device),
        vae=_weights(AutoencoderKL, directory, "vae", dtype, device),
        clip=clip,
        t5=t5,
        clip_tokenizer=clip_tokenizer,
        t5_tokenizer=t5_tokenizer,
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
    _require(directory, folder, (("config.json",),))  # transformers would go on with a configuration of its own
    # transformers would say in its log alone which shapes differ; told to ignore them, it returns them.
    of_transformers = kind.__module__.startswith("transformers.")
    tolerant = {"ignore_mismatched_sizes": True} if of_transformers else {}
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
        raise failure(f"{folder}: {_without_advice(first_line(error))}") from error
    if missing := sorted(report["missing_keys"]):
        raise failure(f"{folder}: {len(missing)} weights are not in the files: {_named(missing)}")
    if wrong := sorted(report["mismatched_keys"]):
        shapes = (f"{name} has shape {list(found)} instead of {list(wanted)}" for name, found, wanted in wrong)
        raise failure(f"{folder}: {len(wrong)} weights do not fit: {_named(shapes)}")
    # Text encoders are often saved with parts that FLUX does not use.
    if not of_transformers and (surplus := sorted(report["unexpected_keys"])):
        where = "have no place in the model that config.json describes"
        raise failure(f"{folder}: {len(surplus)} weights {where}: {_named(surplus)}")
    return module.eval().requires_grad_(requires_grad=False).to(device)


def _named(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _NAMED_KEYS} more" if len(names) > _NAMED_KEYS else ""
    return ", ".join(names[:_NAMED_KEYS]) + more


def _without_advice(message: str) -> str:
    """Without what diffusers says of arguments to calls, which the reader does not make."""
    return message.partition(" If you want to instead ")[0]


def _tokenizer(kind: Any, directory: Path, folder: str, vocabularies: tuple[tuple[str, ...], ...]) -> Any:
    # Without these files transformers makes a tokenizer that knows no words, or pads to another length.
    _require(directory, folder, vocabularies)
    _require(directory, folder, (("tokenizer_config.json",),))
    try:
        return kind.from_pretrained(directory, subfolder=folder, local_files_only=True)
    except Exception as error:
        raise failure(f"{folder}: {type(error).__name__}: {first_line(error)}") from error


def _require(directory: Path, folder: str, alternatives: tuple[tuple[str, ...], ...]) -> None:
    """All files of one of the alternatives must be there."""
    if not any(all((directory / folder / name).is_file() for name in names) for names in alternatives):
        wanted = " or ".join(" and ".join(names) for names in alternatives)
        raise failure(f"{folder}: {wanted} is not in {str(directory / folder)!r}")


def _check_tokenizer(folder: str, tokenizer: Any, encoder: Any, longest: int | None = None) -> None:
    """A tokenizer must be that of its text encoder."""
    if (known := encoder.config.vocab_size) < (tokens := len(tokenizer)):
        raise failure(f"{folder} has {tokens} tokens, and its text encoder knows {known}")
    if longest is not None and tokenizer.model_max_length != longest:
        length = tokenizer.model_max_length
        raise failure(f"{folder} has a model_max_length of {length}, and its text encoder has {longest} positions")
