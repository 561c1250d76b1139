"""From a configuration to a warm model: check, load, warm up. What goes wrong is a StartError with a sentence."""

import logging
import time
from dataclasses import dataclass

import diffusers
import torch
import transformers

from fluxpool_inference.values import EngineConfig, StartError, StartFailure
from fluxpool_inference.worker import checkpoint, device, loading
from fluxpool_inference.worker.flux import FluxModel
from fluxpool_inference.worker.pacing import Clock
from fluxpool_inference.worker.warm_up import WarmUp, warm_up


@dataclass(frozen=True, slots=True)
class Started:
    """A model that is ready to serve. `stages` are seconds of `load` and `warm_up`."""

    model: FluxModel
    warm: WarmUp
    device_uuid: str | None
    stages: dict[str, float]


def start(config: EngineConfig) -> Started:
    """Load and warm up. Raises StartError."""
    torch.set_num_threads(config.threads or max(1, device.cpu_threads() // config.workers))
    _quieten_libraries()
    began = time.monotonic()
    hardware = device.pick(config)
    model = _load(config, hardware)
    loaded = time.monotonic()
    warm = _warm_up(model, config)
    stages = {"load": loaded - began, "warm_up": time.monotonic() - loaded}
    return Started(model, warm, device.uuid(hardware), stages)


def _quieten_libraries() -> None:
    """What they say goes where our own lines go, and in the same format."""
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()  # a warning of theirs may quote a prompt
    for name in ("diffusers", "huggingface_hub", "transformers"):
        theirs = logging.getLogger(name)
        theirs.handlers.clear()
        theirs.propagate = True


def _load(config: EngineConfig, hardware: torch.device) -> FluxModel:
    try:
        return loading.load(config, checkpoint.find(config), hardware)
    except (RuntimeError, MemoryError) as error:
        if device.is_out_of_memory(error):
            raise _no_memory(f"the weights of {config.model!r} in {config.dtype}") from error
        raise checkpoint.failure(f"{config.model!r} cannot be loaded: {checkpoint.first_line(error)}") from error


def _warm_up(model: FluxModel, config: EngineConfig) -> WarmUp:
    size = f"{config.default_width}x{config.default_height}"
    try:
        return warm_up(model, config, Clock())
    except Exception as error:
        if device.is_out_of_memory(error):
            raise _no_memory(f"one image of the default size {size}") from error
        raise checkpoint.failure(
            f"an image of the default size {size} cannot be made: {checkpoint.first_line(error)}"
        ) from error


def _no_memory(what: str) -> StartError:
    return StartError(StartFailure.DEVICE_UNAVAILABLE, f"the device has no memory for {what}")
