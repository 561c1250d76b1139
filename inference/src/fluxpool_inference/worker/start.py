"""From a configuration to a warm model: check, load, warm up. What goes wrong is a StartError with a sentence."""

import logging
from dataclasses import dataclass

import diffusers
import torch
import transformers

from fluxpool_inference.cost_file import cost_file
from fluxpool_inference.scheduling.costs import Calibration, Known
from fluxpool_inference.values import EngineConfig, StartError, StartFailure
from fluxpool_inference.worker import checkpoint, compilation, device, loading, offload, quantize
from fluxpool_inference.worker.flux import FluxModel
from fluxpool_inference.worker.pacing import Clock
from fluxpool_inference.worker.stages import Stages
from fluxpool_inference.worker.warm_up import WarmUp, first_steps, warm_up


@dataclass(frozen=True, slots=True)
class Started:
    """A model that is ready to serve.

    Attributes:
        model: Loaded, and run once.
        warm: What that showed.
        device_uuid: See `device.uuid`.
        hardware: See `device.name`.
        known: What an earlier server knew of costs; None if nothing was kept.
    """

    model: FluxModel
    warm: WarmUp
    device_uuid: str | None
    hardware: str
    known: Known | None


def start(config: EngineConfig, stages: Stages) -> Started:
    """Load and warm up, and count the time of each stage. Raises StartError."""
    torch.set_num_threads(config.threads or max(1, device.cpu_threads() // config.workers))
    _quieten_libraries()
    hardware = device.pick(config)
    for check in (quantize.check, compilation.check, offload.check):
        check(config, hardware)
    device.set_precision(config)
    model = _load(config, hardware, stages)
    name = device.name(hardware)
    file = cost_file(name, config)
    known = file.read() if file else None
    warm = _warm_up(model, config, stages, known.calibration if known else None)
    return Started(model, warm, device.uuid(hardware), name, known)


def _quieten_libraries() -> None:
    """What they say goes where our own lines go, and in the same format."""
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()  # a warning of theirs may quote a prompt
    for name in ("diffusers", "huggingface_hub", "transformers"):
        theirs = logging.getLogger(name)
        theirs.handlers.clear()
        theirs.propagate = True


def _load(config: EngineConfig, hardware: torch.device, stages: Stages) -> FluxModel:
    try:
        with stages.measure("fetch"):
            found = checkpoint.find(config)
        return loading.load(config, found, hardware, stages)
    except (RuntimeError, MemoryError) as error:
        if device.is_out_of_memory(error):
            raise _no_memory(f"the weights of {config.model!r} in {config.dtype}") from error
        raise checkpoint.failure(f"{config.model!r} cannot be loaded: {checkpoint.first_line(error)}") from error


def _warm_up(model: FluxModel, config: EngineConfig, stages: Stages, before: Calibration | None) -> WarmUp:
    size = f"{config.default_width}x{config.default_height}"
    try:
        if config.compile != "off":
            with stages.measure("compile"):
                first_steps(model, config)
        with stages.measure("warm_up"):
            return warm_up(model, config, Clock(), before)
    except Exception as error:
        if device.is_out_of_memory(error):
            raise _no_memory(f"one image of the default size {size}") from error
        raise checkpoint.failure(
            f"an image of the default size {size} cannot be made: {checkpoint.first_line(error)}"
        ) from error


def _no_memory(what: str) -> StartError:
    return StartError(StartFailure.DEVICE_UNAVAILABLE, f"the device has no memory for {what}")
