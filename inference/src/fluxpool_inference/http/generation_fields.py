"""What `POST /v1/images/generations` takes: OpenAI's fields and FLUX's, with this server's bounds.

A field that cannot be honoured is refused rather than ignored, but for a few of OpenAI's that its clients send as a
matter of course (`quality`, `style`, `user`, …).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fluxpool_inference.encode import LONGEST_SIDES
from fluxpool_inference.http.fields import (
    Boolean,
    Choice,
    Field,
    Ignored,
    Integer,
    Number,
    OptionalText,
    Refused,
    Schema,
    String,
    Text,
    object_schema,
)
from fluxpool_inference.size import Size

MAX_SEED = 2**64 - 1
MAX_GUIDANCE = 100.0
NO_TRUE_CFG = 1.0
"""The scale at which true classifier-free guidance changes nothing."""

_IGNORED = ("background", "complexity", "moderation", "quality", "safety_identifier", "style", "user")
_NO_URL = "must be 'b64_json' or left out: this server stores no images, so it has no URL to give"
_NOT_STREAMED = "or left out: this server does not stream"
_LONGEST = f"A side has at most {' and '.join(f'{side} pixels in {name}' for name, side in LONGEST_SIDES.items())}."
_NO_ANIMATION = "must be left out: this server makes no GIF or SVG"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What this server allows in a request."""

    model_names: Sequence[str]
    max_steps: int
    max_images: int
    min_side: int
    max_pixels: int
    default_size: Size
    image_formats: Sequence[str]
    max_prompt_chars: int


class GenerationFields:
    """Each field by its name in Python; iterating gives all of them."""

    def __init__(self, bounds: Bounds) -> None:
        self.model = String(
            "model",
            f"The model's id; this server serves {_listed(bounds.model_names)}. The first of them if left out.",
            f"the model's id, '{bounds.model_names[0]}'",
        )
        self.prompt = Text("prompt", "What to draw.", bounds.max_prompt_chars)
        self.n = Integer("n", "Number of images; 1 if left out.", 1, bounds.max_images)
        self.size = String("size", *_size(bounds), r"^(auto|\d{1,5}x\d{1,5})$")
        self.steps = Integer(
            "num_inference_steps",
            "Denoising steps; if left out the model's own number: 28, or 4 for a distilled one such as FLUX.1-schnell.",
            1,
            bounds.max_steps,
        )
        self.guidance = Number(
            "guidance_scale",
            "How closely the prompt is followed; the model's own scale if left out, 3.5 for FLUX.1-dev. Refused where"
            " the model has no guidance embedding, as FLUX.1-schnell.",
            0,
            MAX_GUIDANCE,
        )
        self.negative_prompt = OptionalText(
            "negative_prompt",
            "What not to draw; may be empty. Only with a `true_cfg_scale` above 1, without which it has no effect.",
            bounds.max_prompt_chars,
        )
        self.true_cfg_scale = Number(
            "true_cfg_scale",
            "How far to go away from `negative_prompt`, without which it must be 1 or left out. Each step then counts"
            " twice, once for each prompt. Works with any model, and beside `guidance_scale`.",
            NO_TRUE_CFG,
            MAX_GUIDANCE,
        )
        self.seed = Integer(
            "seed",
            "Image k of n has seed + k, which may not exceed the maximum. Drawn if left out; each image's seed is in"
            " the response.",
            0,
            MAX_SEED,
        )
        self.reproducible = Boolean(
            "reproducible",
            "Make the same pixels whenever model, software and kind of device are the same. Costs speed: nothing else"
            " is in a step with these images. Without it, what else is there may change roundings.",
        )
        self.output_format = Choice("output_format", f"Of the image files. {_LONGEST}", bounds.image_formats)
        self.output_compression = Integer(
            "output_compression",
            "Quality of JPEG and WebP, 95 if left out; only 100 goes with PNG, which is lossless.",
            0,
            100,
        )
        self.refused = (
            Refused("response_format", _NO_URL, ("b64_json",)),
            Refused("stream", f"must be false {_NOT_STREAMED}", (False,)),
            Refused("partial_images", f"must be 0 {_NOT_STREAMED}", (0,)),
            *(Refused(name, _NO_ANIMATION) for name in ("frame_count", "frame_duration_ms", "svg")),
        )
        self._ignored = [Ignored(name, "OpenAI's; accepted, and without a meaning for FLUX.") for name in _IGNORED]

    def __iter__(self) -> Iterator[Field]:
        yield from (self.prompt, self.model, self.n, self.size, self.steps, self.guidance)
        yield from (self.negative_prompt, self.true_cfg_scale, self.seed, self.reproducible)
        yield from (self.output_format, self.output_compression)
        yield from self._ignored
        yield from self.refused

    def schema(self) -> Schema:
        """The JSON Schema of a request's body."""
        text, scale = self.negative_prompt.name, self.true_cfg_scale.name
        neither = {text: {"type": "null"}, scale: {"enum": [NO_TRUE_CFG, None]}}
        both = {text: {"type": "string"}, scale: {"type": "number", "exclusiveMinimum": NO_TRUE_CFG}}
        return {
            **object_schema("CreateImageRequest", self),
            "anyOf": [{"properties": neither}, {"properties": both, "required": [*both]}],
        }


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _size(bounds: Bounds) -> tuple[str, str]:
    """Description, and what completes "must be …"."""
    rule = f"with both divisible by 16, at least {bounds.min_side}, and at most {bounds.max_pixels} pixels in all"
    return (
        f"`WIDTHxHEIGHT` in pixels, {rule}; `auto`, or left out, is {bounds.default_size}.",
        f"'auto' or 'WIDTHxHEIGHT' {rule}",
    )
