"""The bodies of all replies, as documented; the small ones are made of these types too."""

from typing import Literal

from pydantic import BaseModel, Field

from fluxpool_inference.contract import IMAGE_FORMATS
from fluxpool_inference.engine import Pace, Runtime, WorkerStatus


class ErrorDetail(BaseModel):
    """What is wrong, for people and for programs."""

    message: str = Field(description="A sentence that names the field and what is allowed.")
    type: str = Field(description="The coarse class, such as `invalid_request_error` or `rate_limit_error`.")
    param: str | None = Field(description="The field of the request, where one is to blame.")
    code: str = Field(description="The fine class, such as `invalid_type` or `queue_full`.")


class ErrorReply(BaseModel):
    """OpenAI's shape of an error; every status from 400 up has it."""

    error: ErrorDetail


class ImageItem(BaseModel):
    """One image."""

    b64_json: str = Field(description="The file in base64.", json_schema_extra={"contentEncoding": "base64"})
    seed: int = Field(description="With this seed, n = 1 and the rest equal it is made again.")


class ImagesResponse(BaseModel):
    """The images of one request, in the order of their seeds."""

    created: int = Field(description="Unix time in seconds.")
    output_format: str = Field(json_schema_extra={"enum": [*IMAGE_FORMATS]})
    size: str = Field(description="`WIDTHxHEIGHT` in pixels.")
    data: list[ImageItem]


class Model(BaseModel):
    """The model that this server serves."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Unix time in seconds of the server's start.")
    owned_by: Literal["fluxpool"] = "fluxpool"


class ModelList(BaseModel):
    """All models: one."""

    object: Literal["list"] = "list"
    data: list[Model]


class ProbeReply(BaseModel):
    """The answer to a probe."""

    status: str = Field(description="`alive`, `dead`, `ready`, `not_ready` or `draining`.")
    message: str | None = Field(default=None, description="Why not; absent if all is well.")


class StepSeconds(BaseModel):
    """t(rows) = fixed + per_row x rows."""

    fixed: float
    per_row: float


class BucketItem(BaseModel):
    """A size, and what a step of it costs."""

    width: int
    height: int
    step_seconds: StepSeconds


class AdminStatus(BaseModel):
    """What the engine does now. Work is in seconds of one row alone on this device."""

    model: str
    batch_size: int = Field(
        description="Most rows of a denoising step. A drain runs more where admission had counted on more."
    )
    batch_size_min: int
    batch_size_max: int
    waiting: int = Field(description="Images admitted, no step of which has run.")
    running: int = Field(description="Images with a step run, until answered.")
    queued_work_seconds: float
    running_work_seconds: float
    warm_buckets: list[BucketItem] = Field(description="Sizes that were measured at warm-up.")
    predicted_buckets: list[BucketItem] = Field(
        description="The last other sizes that were admitted. Their costs are predicted: scaled by their operations."
    )
    draining: bool
    ready: bool
    runtime: Runtime | None = Field(description="How the model runs; null until it is loaded.")
    paced: Pace | None = Field(description="null at full speed.")
    workers: list[WorkerStatus]
    version: str


class BatchSize(BaseModel):
    """The batch size that holds from the next step on."""

    batch_size: int
