"""What is said. Every message is a frozen dataclass; `kind` tells them apart on the wire.

    HTTP process                worker
        Configure ────────────────▶     load, warm up, calibrate
                  ◀──────────────── Ready | NotStarted
        Submit, Cancel, SetBatchSize ▶
                  ◀──────────────── Started, Encoded, StepDone, Finished (+ pixels) | Failed, RowsLowered

Closing the socket is the word for the end, in both directions: a worker without its HTTP process exits at once.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.outcomes import StartFailure
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.choice import Forwards
from fluxpool_inference.scheduling.costs import Calibration, Known
from fluxpool_inference.scheduling.memory import Memory
from fluxpool_inference.values import GraphTiming, ImageRequest, ModelInfo


@dataclass(frozen=True, slots=True)
class Configure:
    """The first message: what to load and where to run it. `since` is the moment from which this start counts."""

    config: EngineConfig
    since: float
    kind: Literal["configure"] = "configure"


@dataclass(frozen=True, slots=True)
class Submit:
    """Make this image. The worker keeps it until it says Finished or Failed, or is told Cancel."""

    number: int
    request: ImageRequest
    bucket: Bucket
    deadline: float
    kind: Literal["submit"] = "submit"


@dataclass(frozen=True, slots=True)
class Cancel:
    """Forget this image before the next step. A Finished or Failed of it may already be under way."""

    number: int
    kind: Literal["cancel"] = "cancel"


@dataclass(frozen=True, slots=True)
class SetBatchSize:
    """The ceiling of rows, from the next step on."""

    rows: int
    kind: Literal["set_batch_size"] = "set_batch_size"


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker serves.

    Attributes:
        model: What was loaded.
        calibration: What its steps cost.
        rows_held: Rows of the default size that memory held at warm-up; None if it held all that were tried.
        device_uuid: The UUID of the GPU, or of the MIG slice of one, as CUDA says it; None on CPU.
        hardware: What kind of device it is.
        known: What an earlier server knew of its costs, on such a device and with this configuration.
        stages: Seconds of each stage of the start.
        memory: What its device's memory holds; None where that is not measured.
        graphs: What CUDA graphs are worth to it; empty without.
    """

    model: ModelInfo
    calibration: Calibration
    rows_held: int | None
    device_uuid: str | None
    hardware: str
    known: Known | None
    stages: dict[str, float]
    memory: Memory | None = None
    graphs: tuple[GraphTiming, ...] = ()
    kind: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The worker cannot serve, and exits."""

    reason: StartFailure
    message: str
    kind: Literal["not_started"] = "not_started"


@dataclass(frozen=True, slots=True)
class Started:
    """Work on an image began at the moment `at`: its prompt is encoded next."""

    number: int
    at: float
    kind: Literal["started"] = "started"


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt of an image is encoded, by the cache (`hit`) or by the text encoders. Said of all of them together."""

    number: int
    bucket: Bucket
    hit: bool
    seconds: float
    kind: Literal["encoded"] = "encoded"


@dataclass(frozen=True, slots=True)
class StepDone:
    """One step ran over these images.

    Attributes:
        numbers: Of the images.
        bucket: Of all of them.
        forwards: How it ran: a pair of true CFG is two rows.
        seconds: Of all forwards, held time included.
        overran: Whether that is more than the pace; None at full speed.
    """

    numbers: tuple[int, ...]
    bucket: Bucket
    forwards: Forwards
    seconds: float
    overran: bool | None
    kind: Literal["step_done"] = "step_done"


@dataclass(frozen=True, slots=True)
class Finished:
    """An image is done; the descriptor of its pixels (height x width x 3 bytes) comes with this frame.

    The steps' seconds are those of the whole steps that the image was in, whoever else was. Truncated tokens are those
    of the prompt, and of the negative prompt, that did not fit.
    """

    number: int
    bucket: Bucket
    encode_seconds: float
    denoise_seconds: float
    decode_seconds: float
    truncated_tokens: int
    negative_truncated_tokens: int = 0
    kind: Literal["finished"] = "finished"


@dataclass(frozen=True, slots=True)
class Failed:
    """An image cannot be made."""

    number: int
    message: str
    kind: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class RowsLowered:
    """Memory did not hold more than `rows` rows of this bucket."""

    bucket: Bucket
    rows: int
    kind: Literal["rows_lowered"] = "rows_lowered"


ToWorker = Configure | Submit | Cancel | SetBatchSize
FromWorker = Ready | NotStarted | Started | Encoded | StepDone | Finished | Failed | RowsLowered

TO_WORKER: Final[TypeAdapter[ToWorker]] = TypeAdapter(Annotated[ToWorker, Field(discriminator="kind")])
FROM_WORKER: Final[TypeAdapter[FromWorker]] = TypeAdapter(Annotated[FromWorker, Field(discriminator="kind")])
