"""What an engine is told before it starts. Imports nothing of ours."""

from dataclasses import dataclass, field
from typing import Literal, get_args

Precision = Literal["bfloat16", "float16", "float32"]
QuantizeForm = Literal["none", "int8wo", "int8", "fp8", "bnb-nf4", "bnb-fp4", "gguf"]
QUANTIZE_FORMS: tuple[QuantizeForm, ...] = get_args(QuantizeForm)
AttentionBackend = Literal["native", "cudnn", "flash2", "flash3", "sage"]
CompileMode = Literal["off", "blocks"]
OffloadMode = Literal["none", "text", "group"]
CudaGraphs = Literal["off", "auto"]


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
        max_queue_seconds: Admission: the longest wait; see `scheduling.admission`.
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
