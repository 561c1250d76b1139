"""The values of which every part speaks: a request, a model, what came of them.

Times are seconds. A moment is a reading of `time.monotonic()`, which on Linux is one clock for every process of the
machine; a duration ends in `_seconds`. Work is in work-seconds: what one row alone does in one second on this device.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from fluxpool_inference.configuration import AttentionBackend, CompileMode, CudaGraphs, OffloadMode, Precision

LATENT_MULTIPLE = 16
"""Width and height are multiples of this: the VAE divides by 8, the transformer packs latents 2 x 2."""


class Priority(StrEnum):
    """Sets the deadline: arrival + 2, 4 or 16 times the time the image takes alone. Low waits longer, but ages."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


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
