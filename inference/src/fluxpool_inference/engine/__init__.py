"""The engine's facade for the HTTP process: no torch here or below; the device lives in a worker process."""

from fluxpool_inference.configuration import EngineConfig, Pace, Quantize
from fluxpool_inference.engine.facade import Engine
from fluxpool_inference.engine.image import RawImage
from fluxpool_inference.engine.ticket import Ticket
from fluxpool_inference.engine.types import (
    BucketCost,
    DeviceMemory,
    EngineObserver,
    EngineStatus,
    Stage,
    Utilization,
    WorkerMemory,
    WorkerState,
    WorkerStatus,
)
from fluxpool_inference.outcomes import (
    Rejected,
    RejectReason,
    RequestFailed,
    StartError,
    StartFailure,
    TooLarge,
    TooLong,
)
from fluxpool_inference.values import (
    LATENT_MULTIPLE,
    GraphTiming,
    ImageRequest,
    ModelInfo,
    Priority,
    Runtime,
    Timings,
    TrueCfg,
)

__all__ = [
    "LATENT_MULTIPLE",
    "BucketCost",
    "DeviceMemory",
    "Engine",
    "EngineConfig",
    "EngineObserver",
    "EngineStatus",
    "GraphTiming",
    "ImageRequest",
    "ModelInfo",
    "Pace",
    "Priority",
    "Quantize",
    "RawImage",
    "RejectReason",
    "Rejected",
    "RequestFailed",
    "Runtime",
    "Stage",
    "StartError",
    "StartFailure",
    "Ticket",
    "Timings",
    "TooLarge",
    "TooLong",
    "TrueCfg",
    "Utilization",
    "WorkerMemory",
    "WorkerState",
    "WorkerStatus",
]
