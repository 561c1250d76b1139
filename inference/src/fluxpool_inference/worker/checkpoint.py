"""Finds a model on disk or on the hub, and refuses by name what this engine would run wrongly.

Only the small JSON files are read before the checks, so that a model of the wrong kind is not downloaded to be refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import ConfigMixin, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.outcomes import StartError, StartFailure, first_line

PIPELINE = "FluxPipeline"
SCHEDULER = "FlowMatchEulerDiscreteScheduler"
TEXT_TO_IMAGE_CHANNELS = 64
"""Of packed latents, 16 x 2 x 2. Fill and Control variants of the transformer take more: those of their images."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that passed the checks, complete on this machine."""

    directory: Path
    scheduler: dict[str, Any]


def find(config: EngineConfig) -> Checkpoint:
    """Check the model's configuration, download it if it is on the hub. Raises StartError that names what is wrong."""
    origin = _Origin(config)
    _check_pipeline(config.model, origin.read(_Index))
    scheduler = origin.read(FlowMatchEulerDiscreteScheduler, "scheduler")
    _check_scheduler(config.model, scheduler)
    _check_transformer(config.model, origin.read(FluxTransformer2DModel, "transformer"))
    return Checkpoint(origin.complete(), scheduler)


def failure(message: str) -> StartError:
    """The error of a model that cannot be loaded."""
    return StartError(StartFailure.MODEL_LOAD_FAILED, message)


class _Index(ConfigMixin):  # type: ignore[misc]  # diffusers is not read by the type checker
    """What a pipeline is made of, read without importing what loads pipelines."""

    config_name = "model_index.json"


class _Origin:
    """Where the files come from: a directory, or a repository of the hub."""

    def __init__(self, config: EngineConfig) -> None:
        self._model = config.model
        self._hub = {"revision": config.revision, "token": config.token}
        self._local = Path(config.model).is_dir()
        if not self._local and _looks_like_a_path(config.model):
            raise failure(f"model {config.model!r} is no directory")
        if self._local and not (Path(config.model) / "model_index.json").is_file():
            raise failure(f"model directory {config.model!r} has no model_index.json")

    def read(self, kind: Any, folder: str | None = None) -> dict[str, Any]:
        where = {"subfolder": folder} if folder else {}
        try:
            config: dict[str, Any] = kind.load_config(self._model, **where, **self._hub)
        except (OSError, ValueError) as error:
            raise failure(f"{folder or 'model_index.json'} of {self._model!r}: {first_line(error)}") from error
        return config

    def complete(self) -> Path:
        if self._local:
            return Path(self._model)
        from diffusers import DiffusionPipeline  # noqa: PLC0415 - a large part of diffusers, which only this needs

        try:
            return Path(DiffusionPipeline.download(self._model, use_safetensors=True, **self._hub))
        except (OSError, ValueError) as error:
            raise failure(f"download of {self._model!r}: {first_line(error)}") from error


def _looks_like_a_path(model: str) -> bool:
    return model.startswith((".", "/", "~")) or model.count("/") != 1


def _check_pipeline(model: str, index: dict[str, Any]) -> None:
    name = index.get("_class_name")
    if name != PIPELINE:
        raise failure(f"{model!r} is a {name}; this engine runs {PIPELINE} (text to image) only")
    scheduler = (index.get("scheduler") or [None, None])[1]
    if scheduler != SCHEDULER:
        raise failure(f"the scheduler of {model!r} is {scheduler}; this engine takes Euler steps by {SCHEDULER} only")


def _check_scheduler(model: str, scheduler: dict[str, Any]) -> None:
    name = scheduler.get("_class_name")
    if name != SCHEDULER:
        raise failure(f"the scheduler of {model!r} is {name}; this engine takes Euler steps by {SCHEDULER} only")
    if scheduler.get("stochastic_sampling"):
        raise failure(f"the scheduler of {model!r} has stochastic_sampling on: noise in every step is not supported")


def _check_transformer(model: str, transformer: dict[str, Any]) -> None:
    channels = transformer.get("in_channels", TEXT_TO_IMAGE_CHANNELS)
    if channels != TEXT_TO_IMAGE_CHANNELS:
        raise failure(
            f"the transformer of {model!r} takes {channels} channels instead of {TEXT_TO_IMAGE_CHANNELS}: "
            "it is a Fill or Control variant, which needs an image as well"
        )
