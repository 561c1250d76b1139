"""Loads a checked model onto the device, weight by weight as the files have them, or not at all.

diffusers and transformers initialise missing weights at random and say so in a warning; here that is an error.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.outcomes import first_line
from fluxpool_inference.values import ModelInfo, Runtime
from fluxpool_inference.worker import attention, compilation, offload, placing, quantize
from fluxpool_inference.worker.checkpoint import Checkpoint, failure
from fluxpool_inference.worker.flux import FluxModel, Parts
from fluxpool_inference.worker.graphs import Capture, CudaCapture, Graphs
from fluxpool_inference.worker.modulation import ModulatedTransformer, modulated
from fluxpool_inference.worker.stages import Stages

_NAMED_KEYS = 5
_PARTS = ("text_encoder", "text_encoder_2", "transformer", "vae")
_DEV = {"family": "flux-dev", "default_guidance": 3.5, "default_steps": 28, "max_sequence_length": 512}
_SCHNELL = {"family": "flux-schnell", "default_guidance": None, "default_steps": 4, "max_sequence_length": 256}
_CLIP_VOCABULARY = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_T5_VOCABULARY = (("tokenizer.json",), ("spiece.model",))


def load(
    config: EngineConfig,
    checkpoint: Checkpoint,
    device: torch.device,
    stages: Stages | None = None,
    capture: Callable[[], Capture] = CudaCapture,
) -> FluxModel:
    """All parts on `device`, as configured. Raises StartError that names the part, and its weights.

    `capture` makes what captures graphs, if they are configured.
    """
    directory = checkpoint.directory
    stages = stages or Stages()
    stages.total_bytes = sum(_file_bytes(config, directory, folder) for folder in _PARTS)
    load = _Loader(config, directory, device, stages)
    with stages.measure("load_text_encoders"):
        clip_tokenizer = _tokenizer(CLIPTokenizer, directory, "tokenizer", _CLIP_VOCABULARY)
        t5_tokenizer = _tokenizer(T5TokenizerFast, directory, "tokenizer_2", _T5_VOCABULARY)
        clip = load.text_encoder(CLIPTextModel, "text_encoder")
        t5 = load.text_encoder(T5EncoderModel, "text_encoder_2")
        _check_tokenizer("tokenizer", clip_tokenizer, clip, longest=clip.config.max_position_embeddings)
        _check_tokenizer("tokenizer_2", t5_tokenizer, t5)
    with stages.measure("load_transformer"):
        transformer = load.transformer()
    with stages.measure("load_vae"):
        vae = load.vae()
    modulator = transformer if isinstance(transformer, ModulatedTransformer) else None
    parts = Parts(transformer, vae, clip, t5, clip_tokenizer, t5_tokenizer, checkpoint.scheduler, modulator)
    info = _info(config, parts, device)
    if config.cuda_graphs != "off":
        parts = replace(parts, transformer=Graphs(transformer, capture()))
    return FluxModel(parts, info, device)


class _Loader:
    """Loads each part with its weights, and puts it where and how the configuration wants it."""

    def __init__(self, config: EngineConfig, directory: Path, device: torch.device, stages: Stages) -> None:
        self._config = config
        self._directory = directory
        self._device = device
        self._dtype: torch.dtype = getattr(torch, config.dtype)
        self._stages = stages

    def text_encoder(self, kind: Any, folder: str) -> Any:
        module = _weights(kind, self._directory, folder, self._dtype)
        offloaded = self._config.offload != "none"
        return self._done(
            folder, offload.by_layers(module, self._device) if offloaded else self._placed(folder, module)
        )

    def transformer(self) -> Any:
        config, device = self._config, self._device
        if config.quantize.form == "gguf":
            module = _gguf(config, self._directory)
        else:
            how = quantize.arguments(config, device)
            module = _weights(FluxTransformer2DModel, self._directory, "transformer", self._dtype, **how)
            if config.quantize.form != "none":
                quantize.settle(module, config, self._directory)
        # A block that is offloaded has its weights while it runs, and not before.
        in_place = config.offload != "group"
        module = modulated(self._placed("transformer", module)) if in_place else offload.by_blocks(module, device)
        compilation.blocks(module, config)
        return self._done("transformer", module)

    def vae(self) -> Any:
        config = self._config
        module = self._placed("vae", _weights(AutoencoderKL, self._directory, "vae", self._dtype))
        on_gpu = self._device.type == "cuda"
        if on_gpu if config.vae_channels_last is None else config.vae_channels_last:
            module = module.to(memory_format=torch.channels_last)
        if config.vae_tiling:
            module.enable_tiling()
        return self._done("vae", module)

    def _placed(self, folder: str, module: Any) -> Any:
        size = self._size(folder)
        return placing.onto(self._device, module, lambda share: self._stages.loading(folder, round(share * size)))

    def _done(self, folder: str, module: Any) -> Any:
        self._stages.loaded(folder, self._size(folder))
        return module

    def _size(self, folder: str) -> int:
        return _file_bytes(self._config, self._directory, folder)


def _file_bytes(config: EngineConfig, directory: Path, folder: str) -> int:
    """Of the files that hold a part's weights."""
    if folder == "transformer" and config.quantize.form == "gguf":
        files = [Path(config.quantize.file)]
    else:
        files = list((directory / folder).glob("*.safetensors"))
    return sum(file.stat().st_size for file in files if file.is_file())


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
        parameters=quantize.parameters(parts.transformer),
        runtime=Runtime(
            attention=attention.use(parts.transformer, config, device),
            quantize=str(config.quantize),
            compile=config.compile,
            cuda_graphs=config.cuda_graphs,
            offload=config.offload,
            tf32=config.tf32,
            transformer_bytes=quantize.resident_bytes(parts.transformer),
        ),
        **facts,
    )


def _gguf(config: EngineConfig, directory: Path) -> Any:
    _require(directory, "transformer", (("config.json",),))
    try:
        module = quantize.from_gguf(config, directory)
    except (KeyError, IndexError) as error:  # of diffusers, which looks for names of the weights that it knows
        raise failure(f"{config.quantize}: these are not the weights of a FLUX transformer ({error})") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise failure(f"{config.quantize}: {first_line(error)}") from error
    if missing := sorted(name for name, weight in module.named_parameters() if weight.is_meta):
        raise failure(f"{config.quantize}: {len(missing)} weights are not in the file: {_named(missing)}")
    return _frozen(module)


def _weights(kind: Any, directory: Path, folder: str, dtype: torch.dtype, **how: Any) -> Any:
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
            **how,
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
    return _frozen(module)


def _frozen(module: Any) -> Any:
    return module.eval().requires_grad_(requires_grad=False)


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
