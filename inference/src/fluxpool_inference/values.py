"""The values of which every part speaks: a request, a configuration, a model. They import nothing of ours.

Times are seconds. A moment is a reading of `time.monotonic()`, which on Linux is one clock for every process of the
machine; a duration ends in `_seconds`. Work is in work-seconds: what one row alone does in one second on this device.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, get_args

Precision = Literal["bfloat16", "float16", "float32"]
QuantizeForm = Literal["none", "int8wo", "int8", "fp8", "bnb-nf4", "bnb-fp4", "gguf"]
QUANTIZE_FORMS: tuple[QuantizeForm, ...] = get_args(QuantizeForm)
AttentionBackend = Literal["native", "cudnn", "flash2", "flash3", "sage"]
CompileMode = Literal["off", "blocks"]
OffloadMode = Literal["none", "text", "group"]
CudaGraphs = Literal["off", "auto"]

LATENT_MULTIPLE = 16
"""Width and height are multiples of this: the VAE divides by 8, the transformer packs latents 2 x 2."""


class StartFailure(StrEnum):
    """Why an engine cannot start, as the termination message of a pod says it."""

    MODEL_LOAD_FAILED = "ModelLoadFailed"
    INVALID_CONFIGURATION = "InvalidConfiguration"
    DEVICE_UNAVAILABLE = "DeviceUnavailable"


class RejectReason(StrEnum):
    """Why a request was not admitted. The first three are capacity rejections: the same request may succeed later."""

    QUEUE_FULL = "queue_full"
    WAIT_TOO_LONG = "wait_too_long"
    DEADLINE = "deadline"
    DRAINING = "draining"
    NOT_READY = "not_ready"


class StartError(Exception):
    """The engine cannot serve with this configuration, model or device.

    Attributes:
        reason: One of the three reasons of the wire contract.
        message: One sentence that names the file, tensor or setting to look at.
    """

    def __init__(self, reason: StartFailure, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class TooLarge(Exception):  # noqa: N818 - an answer to the client, not a fault
    """No image of this size can be made: the device's memory does not hold one. Another server's may.

    Attributes:
        problem: Completes a sentence that begins with the size's name; says what is possible.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"size {problem}")
        self.problem = problem


class Rejected(Exception):  # noqa: N818 - an answer to the client, not a fault
    """The request was not admitted; nothing of it was started.

    Attributes:
        reason: Why.
        retry_after_seconds: When the same request would be admitted, as estimated, with jitter.
        message: A sentence for the client.
    """

    def __init__(self, reason: RejectReason, retry_after_seconds: float, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds
        self.message = message


class RequestFailed(Exception):  # noqa: N818 - "request failed" is the field's word
    """An admitted image could not be made: out of memory alone, non-finite latents, or a worker that died twice."""


class Priority(StrEnum):
    """Sets the deadline: arrival + 2, 4 or 16 times the time the image takes alone. Low waits longer, but ages."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Pace:
    """Holds each denoising step until `fixed_seconds + per_row_seconds * rows` have passed since it began.

    For machines without a GPU: the real pipeline runs, yet a pod has the capacity of a device of that speed, so
    replicas add capacity even where pods share cores. Held time counts as busy.
    """

    fixed_seconds: float
    per_row_seconds: float

    def step_seconds(self, rows: int) -> float:
        """The shortest duration of a step over `rows` rows."""
        return self.fixed_seconds + self.per_row_seconds * rows


QUANTIZE_LIBRARIES: dict[QuantizeForm, str | None] = {
    "none": None,
    "int8wo": "torchao",
    "int8": "torchao",
    "fp8": "torchao",
    "bnb-nf4": "bitsandbytes",
    "bnb-fp4": "bitsandbytes",
    "gguf": "gguf",
}


@dataclass(frozen=True, slots=True)
class Quantize:
    """In which form the transformer keeps its weights.

    Attributes:
        form: `none` is the configured precision; `gguf` is what the file has.
        file: Of `gguf`; empty for all others.
    """

    form: QuantizeForm
    file: str = ""

    @property
    def library(self) -> str | None:
        """The package that this form needs."""
        return QUANTIZE_LIBRARIES[self.form]

    def __str__(self) -> str:
        """As the option is written."""
        return f"{self.form}:{self.file}" if self.file else self.form


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Everything the engine and its worker need to know, in base units.

    Attributes:
        model: A directory with `model_index.json`, or a hub id.
        revision: Hub revision; None is the hub's default.
        token: Hub token; never logged.
        dtype: Precision of weights and latents.
        device: `auto` takes the GPU where there is one.
        workers: Worker processes, each with a copy of the model: one per GPU of the pod, any number on CPU.
        threads: CPU threads of torch in each worker; None is what the cgroup allows, shared among them.
        default_width: Pixels; this size is warmed and calibrated at start.
        default_height: Pixels.
        batch_size: Rows per denoising step at start.
        batch_size_min: Lower bound of `Engine.set_batch_size`.
        batch_size_max: Upper bound of `Engine.set_batch_size`.
        knee_gain: What one more row of a step must lower the time per row by, as a share; see `StepCurve.knee`.
        decode_batch_size: Images decoded by one call at most.
        max_steps: Most steps of one image that the edge lets through.
        max_images: Most images of one HTTP request that the edge lets through.
        max_pixels: Most pixels of one image that the edge lets through.
        max_sequence_length: T5 tokens per prompt; None is the model's own (512 dev, 256 schnell).
        max_queue_seconds: Admission: the longest estimated wait.
        max_waiting: Admission: memory guard, bound of the images that wait.
        drain_seconds: The longest time from SIGTERM to exit.
        watchdog_seconds: A worker that is silent for longer, and for many times what its work takes, is killed.
        cache_dir: Folder for what a restarted server should know; None keeps nothing.
        prompt_cache_bytes: Bound of the cache of prompt embeddings, in bytes of tensors.
        quantize: See `Quantize`.
        compile: Whether the transformer's blocks are compiled.
        compile_cache: Directory of what was compiled; None is torch's own, which does not survive a container.
        cuda_graphs: Whether steps of the default size are replayed as CUDA graphs where that is faster.
        offload: What is kept in the host's memory: nothing, the text encoders, or the transformer's blocks as well.
        attention: By what attention is computed; `auto` is the best that works.
        tf32: Whether products of float32 may round their factors to 10 bits on a GPU.
        vae_tiling: Whether large images are decoded in overlapping tiles, for less memory and faint seams.
        vae_channels_last: Memory layout of the VAE; None is channels last on a GPU only.
        pace: See `Pace`; None runs at full speed.
        log_format: Of the worker's own lines on stderr.
        log_level: Of the same.
    """

    model: str
    revision: str | None = None
    token: str | None = field(default=None, repr=False)
    dtype: Precision = "bfloat16"
    device: Literal["auto", "cuda", "cpu"] = "auto"
    workers: int = 1
    threads: int | None = None
    default_width: int = 1024
    default_height: int = 1024
    batch_size: int = 8
    batch_size_min: int = 1
    batch_size_max: int = 32
    knee_gain: float = 0.03
    decode_batch_size: int = 1
    max_steps: int = 50
    max_images: int = 4
    max_pixels: int = 2_097_152
    max_sequence_length: int | None = None
    max_queue_seconds: float = 30.0
    max_waiting: int = 1000
    drain_seconds: float = 300.0
    watchdog_seconds: float = 120.0
    cache_dir: str | None = None
    prompt_cache_bytes: int = 256 * 1024 * 1024
    quantize: Quantize = Quantize("none")
    compile: CompileMode = "off"
    compile_cache: str | None = None
    cuda_graphs: CudaGraphs = "off"
    offload: OffloadMode = "none"
    attention: AttentionBackend | Literal["auto"] = "auto"
    tf32: bool = False
    vae_tiling: bool = False
    vae_channels_last: bool | None = None
    pace: Pace | None = None
    log_format: Literal["json", "text"] = "text"
    log_level: str = "info"


@dataclass(frozen=True, slots=True)
class TrueCfg:
    """True classifier-free guidance: each step goes along negative + scale x (positive - negative), of two velocities.

    Attributes:
        negative_prompt: Valid Unicode, may be empty; encoded by CLIP (pooled) and T5 as the prompt is.
        scale: Above 1; 1 would be the prompt alone.
    """

    negative_prompt: str
    scale: float

    def __post_init__(self) -> None:
        _require_unicode("negative_prompt", self.negative_prompt)
        if not 1 < self.scale < math.inf:
            raise ValueError("the scale of true CFG must be finite and above 1")


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One image to make. `seed` seeds a CPU generator that draws this image's noise and nothing else.

    Attributes:
        prompt: Valid Unicode; encoded by CLIP (pooled) and T5.
        width: Pixels, a multiple of 16.
        height: Pixels, a multiple of 16.
        steps: Denoising steps, at least 1.
        guidance: Guidance scale; None is the model's default. Must be None where the model has no guidance embedding.
        seed: 0 to 2**64 - 1.
        max_sequence_length: T5 tokens; None is the engine's setting.
        priority: See `Priority`.
        true_cfg: See `TrueCfg`; None is without.
        reproducible: Whether each row of its steps has a forward of its own, so that no company changes a bit of it.
    """

    prompt: str
    width: int
    height: int
    steps: int
    guidance: float | None
    seed: int
    max_sequence_length: int | None = None
    priority: Priority = Priority.NORMAL
    true_cfg: TrueCfg | None = None
    reproducible: bool = False

    def __post_init__(self) -> None:
        if (
            min(self.width, self.height) < LATENT_MULTIPLE
            or self.width % LATENT_MULTIPLE
            or self.height % LATENT_MULTIPLE
        ):
            raise ValueError(f"width and height must be positive multiples of {LATENT_MULTIPLE}")
        if self.steps < 1:
            raise ValueError("steps must be at least 1")
        if not 0 <= self.seed < 2**64:
            raise ValueError("seed must be 0 to 2**64 - 1")
        _require_unicode("prompt", self.prompt)

    @property
    def prompts(self) -> tuple[str, ...]:
        """What is to be encoded: the prompt, then the negative prompt if there is one."""
        return (self.prompt,) if self.true_cfg is None else (self.prompt, self.true_cfg.negative_prompt)

    @property
    def rows(self) -> int:
        """Rows of each of its steps: one for each prompt."""
        return 1 if self.true_cfg is None else 2


def _require_unicode(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be valid Unicode, without lone surrogates") from None


@dataclass(frozen=True, slots=True)
class Runtime:
    """How a loaded model runs.

    Attributes:
        attention: By what attention is computed.
        quantize: As the option is written.
        compile: As configured.
        cuda_graphs: As configured.
        offload: As configured.
        tf32: As configured.
        transformer_bytes: Of its weights, scales and all.
    """

    attention: AttentionBackend = "native"
    quantize: str = "none"
    compile: CompileMode = "off"
    cuda_graphs: CudaGraphs = "off"
    offload: OffloadMode = "none"
    tf32: bool = False
    transformer_bytes: int = 0


@dataclass(frozen=True, slots=True)
class GraphTiming:
    """What a CUDA graph is worth to steps of so many rows of the default size; median seconds of a step.

    Attributes:
        rows: Of the step.
        captured_rows: Of the graph, up to which these are padded.
        eager_seconds: Without it; None if it was not captured.
        replay_seconds: With it; the same.
        kept: Whether such steps are replayed.
        problem: Why it was not captured; None if it was.
    """

    rows: int
    captured_rows: int
    eager_seconds: float | None = None
    replay_seconds: float | None = None
    kept: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the loaded model is, for the edge's checks and defaults.

    Attributes:
        name: As configured: directory or hub id.
        family: `flux-dev` (guidance embedding) or `flux-schnell` (none).
        guidance_embeds: Whether a guidance scale has any effect.
        default_guidance: Used where a request gives none; None without guidance embedding.
        default_steps: 28 with guidance embedding, else 4 (distilled).
        max_sequence_length: T5 tokens per prompt unless a request says otherwise.
        dtype: Precision of the weights.
        device: torch's name of the device, such as `cuda:0` or `cpu`.
        parameters: Number of the transformer's parameters.
        runtime: How it runs.
    """

    name: str
    family: str
    guidance_embeds: bool
    default_guidance: float | None
    default_steps: int
    max_sequence_length: int
    dtype: Precision
    device: str
    parameters: int
    runtime: Runtime = Runtime()


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of one image went. Their sum is less than `total_seconds` by the pauses between its steps."""

    wait_seconds: float
    encode_seconds: float
    denoise_seconds: float
    decode_seconds: float
    total_seconds: float
