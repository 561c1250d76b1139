"""The values that cross the engine's facade, free of torch, so that the HTTP process may import them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from fluxpool_inference.configuration import Pace
from fluxpool_inference.outcomes import RejectReason
from fluxpool_inference.values import GraphTiming, ModelInfo


class Stage(StrEnum):
    """How far an image has come: nothing done, text encoding, some steps run, all steps run, pixels in this process."""

    QUEUE = "queue"
    ENCODE = "encode"
    DENOISE = "denoise"
    DECODE = "decode"
    RESPOND = "respond"


class WorkerState(StrEnum):
    """The life of a worker: its process loads, serves, was killed and is not gone yet, is replaced; none will come."""

    STARTING = "starting"
    READY = "ready"
    ENDING = "ending"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class BucketCost:
    """What a step costs at a size: t(rows) = fixed_seconds + per_row_seconds * rows."""

    width: int
    height: int
    fixed_seconds: float
    per_row_seconds: float


@dataclass(frozen=True, slots=True)
class WorkerMemory:
    """What fits into one worker's device, in bytes beyond what rests there; of the default size where not said.

    Attributes:
        room_bytes: Free while nothing is in flight, but for a reserve.
        in_flight_bytes: What images in flight keep there between their steps.
        step_fixed_bytes: Peak of a step over r rows: this + step_row_bytes * r.
        step_row_bytes: See there.
        encode_bytes: Peak of encoding as many prompts as ever share a forward.
        decode_bytes: Peak of decoding one image.
        rows: That fit into a step now, by these numbers and by what it was seen not to hold.
        largest_pixels: Of the largest image that can be made; larger ones are refused.
    """

    room_bytes: int
    in_flight_bytes: int
    step_fixed_bytes: int
    step_row_bytes: int
    encode_bytes: int
    decode_bytes: int
    rows: int
    largest_pixels: int


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker.

    Attributes:
        index: From 0.
        state: See `WorkerState`.
        pid: None while there is no process.
        device: torch's name of it, with the worker's index for a GPU; None before the first was loaded.
        deaths: How many of its processes ended without having been asked to, or did not start.
        problem: Why the last of them did; None if none has.
        in_flight: Images that it has to make.
        remaining_work_seconds: Of those.
        memory: None where the device's memory is not measured (a CPU), and before it was.
        graphs: What CUDA graphs are worth to it; empty without.
    """

    index: int
    state: WorkerState
    pid: int | None
    device: str | None
    deaths: int = 0
    problem: str | None = None
    in_flight: int = 0
    remaining_work_seconds: float = 0.0
    memory: WorkerMemory | None = None
    graphs: tuple[GraphTiming, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Bytes of device memory of all of the engine's devices together; 0 without a GPU."""

    used_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Utilization:
    """Share of the last seconds in which the devices were busy, 0 to 1, and where the number comes from."""

    source: Literal["nvml", "engine_busy"]
    ratio: float


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """A snapshot for `/admin/status` and for gauges that are read when scraped.

    Attributes:
        model: None until loaded.
        ready: Loaded and warmed, at least one worker serves, not draining.
        draining: `Engine.drain` was called.
        batch_size: The ceiling of rows per step, as set. A drain runs more where admission had counted on more.
        batch_size_min: Its lower bound.
        batch_size_max: Its upper bound.
        waiting: Images admitted, none of whose steps has run.
        running: Images with at least one step run, until their pixels are released.
        queued_work_seconds: Remaining work of those that wait.
        running_work_seconds: Remaining work of those that run.
        step_fixed_seconds: a of t(rows) = a + c rows at the default size; 0 before calibration.
        step_per_row_seconds: c of the same.
        warm_buckets: Sizes measured at warm-up.
        predicted_buckets: The last other sizes that were admitted; their costs are scaled by operations.
        pace: As configured.
        workers: One entry per worker.
        memory: Of the devices.
        utilization: Of the devices.
    """

    model: ModelInfo | None
    ready: bool
    draining: bool
    batch_size: int
    batch_size_min: int
    batch_size_max: int
    waiting: int
    running: int
    queued_work_seconds: float
    running_work_seconds: float
    step_fixed_seconds: float
    step_per_row_seconds: float
    warm_buckets: tuple[BucketCost, ...]
    predicted_buckets: tuple[BucketCost, ...]
    pace: Pace | None
    workers: tuple[WorkerStatus, ...]
    memory: DeviceMemory
    utilization: Utilization


class EngineObserver(Protocol):
    """Is told each fact once, on the event loop's thread; must return at once and never raise.

    Gauges are no facts: they come from `Engine.status`.
    """

    def admitted(self, work_seconds: float, wait_estimate_seconds: float) -> None:
        """One image was admitted."""

    def rejected(self, reason: RejectReason, images: int, work_seconds: float, first_attempt: bool) -> None:
        """A request of so many images, with this work in all, was refused."""

    def started(self, wait_seconds: float) -> None:
        """Work on one image began, this long after its admission."""

    def prompt_encoded(self, hit: bool) -> None:
        """The embeddings of one prompt of an image came from the cache (`hit`) or were computed."""

    def step_done(self, pixels: int, rows: int, duration_seconds: float) -> None:
        """One denoising step ran over `rows` rows of images of `pixels` pixels each, hold of the pace included.

        A pair of true CFG is two rows. Where it ran a row at a time, that counts as two steps of one row.
        """

    def paced_step(self, overran: bool) -> None:
        """The step before ran under a pace; `overran` if the real work took longer than the pace."""

    def busy(self, seconds: float) -> None:
        """A device was busy for so much longer (steps, encoding, decoding, held time)."""

    def finished(self, duration_seconds: float) -> None:
        """The pixels of one image were handed over and released, this long after its admission."""

    def failed(self, duration_seconds: float) -> None:
        """One admitted image ended with `RequestFailed`."""

    def cancelled(self, stage: Stage, remaining_work_seconds: float, duration_seconds: float) -> None:
        """One admitted image was given up by its client."""

    def worker_exited(self, index: int, reason: str) -> None:
        """A worker process ended without having been asked to."""

    def start_stage(self, stages: Mapping[str, float]) -> None:
        """A worker is ready; seconds it spent on each stage of its start (`contract.START_STAGES`)."""
