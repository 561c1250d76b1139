"""From a configuration to a warm model: check, load, warm up. What goes wrong is a StartError with a sentence."""

import logging
from dataclasses import dataclass, replace

import diffusers
import torch
import transformers

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.cost_file import cost_file
from fluxpool_inference.outcomes import StartError, StartFailure, first_line
from fluxpool_inference.scheduling.costs import Calibration, Known
from fluxpool_inference.worker import checkpoint, compilation, device, graphs, loading, memory, offload, quantize
from fluxpool_inference.worker.flux import FluxModel
from fluxpool_inference.worker.graph_choice import GraphChoice, with_graphs
from fluxpool_inference.worker.memory import Gauge
from fluxpool_inference.worker.pacing import Clock
from fluxpool_inference.worker.stages import Stages
from fluxpool_inference.worker.trial import Trial
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
    for check in (quantize.check, compilation.check, offload.check, graphs.check):
        check(config, hardware)
    device.set_precision(config)
    model = _load(config, hardware, stages)
    name = device.name(hardware)
    file = cost_file(name, config)
    known = file.read() if file else None
    warm = _warm_up(model, config, stages, memory.gauge(hardware), known.calibration if known else None)
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
        raise checkpoint.failure(f"{config.model!r} cannot be loaded: {first_line(error)}") from error


def _warm_up(
    model: FluxModel, config: EngineConfig, stages: Stages, gauge: Gauge | None, before: Calibration | None
) -> WarmUp:
    size = f"{config.default_width}x{config.default_height}"
    try:
        if config.compile != "off":
            with stages.measure("compile"):
                first_steps(model, config)
        with stages.measure("warm_up"):
            warm = warm_up(model, config, Clock(), before)
            return _measured(model, config, warm, gauge, before)
    except Exception as error:
        if device.is_out_of_memory(error):
            raise _no_memory(f"one image of the default size {size}") from error
        raise checkpoint.failure(f"an image of the default size {size} cannot be made: {first_line(error)}") from error


def _measured(
    model: FluxModel, config: EngineConfig, warm: WarmUp, gauge: Gauge | None, before: Calibration | None
) -> WarmUp:
    """With what steps take of memory, then with CUDA graphs, which keep some of it, then with what is left."""
    trial = Trial(model, config)
    held = None if gauge is None else memory.measure(trial, config, gauge, warm, model)
    if model.graphs is not None:
        choice = GraphChoice(model.graphs, trial, model.recover, Clock())
        warm = with_graphs(warm, choice, config.batch_size_max, config.knee_gain, before)
    if gauge is None or held is None:
        return warm
    held = held.within(gauge.space(), config.prompt_cache_bytes)
    memory.tell(held, config.max_pixels)
    return replace(warm, memory=held)


def _no_memory(what: str) -> StartError:
    return StartError(StartFailure.DEVICE_UNAVAILABLE, f"the device has no memory for {what}")
