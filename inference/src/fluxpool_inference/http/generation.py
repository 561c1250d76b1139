"""The body of `POST /v1/images/generations`: OpenAI's fields and FLUX's, to typed image requests. Pure.

Image k of n has seed + k. A field that cannot be honoured is refused rather than ignored, but for a few of OpenAI's
that its clients send as a matter of course (`quality`, `style`, `user`, …).
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fluxpool_inference.engine import ImageRequest, ModelInfo
from fluxpool_inference.errors import InvalidRequestError, NotFoundError
from fluxpool_inference.http.fields import Fields
from fluxpool_inference.size import Size

MAX_SEED = 2**64 - 1
MAX_GUIDANCE = 100.0
DRAWN_SEED_BITS = 32
"""A drawn seed stays exact in clients whose numbers are doubles."""
DEFAULT_QUALITY = 95
"""Of JPEG and WebP: above it Pillow's files grow and pictures do not improve."""

IGNORED = ("background", "complexity", "moderation", "quality", "safety_identifier", "style", "user")
"""OpenAI's fields without a meaning for FLUX."""


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


@dataclass(frozen=True, slots=True)
class Generation:
    """One request: the images to make, and how to encode them. `quality` is 0 to 100, for JPEG and WebP."""

    images: tuple[ImageRequest, ...]
    size: Size
    image_format: str
    quality: int


def draw_seed() -> int:
    """A seed for a request that gave none."""
    return secrets.randbits(DRAWN_SEED_BITS)


def parse_generation(
    body: Mapping[str, object], bounds: Bounds, model: ModelInfo, seed_source: Callable[[], int] = draw_seed
) -> Generation:
    """Read a request body. Raises InvalidRequestError for the first wrong field, NotFoundError for another model."""
    fields = Fields(body)
    _model(fields, bounds.model_names)
    prompt = fields.text("prompt", max_chars=bounds.max_prompt_chars)
    count = fields.integer("n", minimum=1, maximum=bounds.max_images) or 1
    size = _size(fields, bounds)
    steps = fields.integer("num_inference_steps", minimum=1, maximum=bounds.max_steps)
    guidance = _guidance(fields, model)
    seed = fields.integer("seed", minimum=0, maximum=MAX_SEED - (count - 1))
    image_format, quality = _encoding(fields, bounds.image_formats)
    _unsupported(fields)
    fields.refuse_unknown()
    first_seed = seed_source() if seed is None else seed
    return Generation(
        images=tuple(
            ImageRequest(
                prompt=prompt,
                width=size.width,
                height=size.height,
                steps=steps or min(model.default_steps, bounds.max_steps),
                guidance=guidance,
                seed=first_seed + k,
            )
            for k in range(count)
        ),
        size=size,
        image_format=image_format,
        quality=quality,
    )


def _model(fields: Fields, names: Sequence[str]) -> None:
    name = fields.string("model", f"the model's id, '{names[0]}'")
    if name is not None and name not in names:
        raise model_not_found(name, names)


def model_not_found(name: str, names: Sequence[str]) -> NotFoundError:
    """The error for a model that this server does not serve."""
    return NotFoundError(
        f"The model '{name[:200]}' does not exist; this server serves '{names[0]}'.",
        param="model",
        code="model_not_found",
    )


def _size(fields: Fields, bounds: Bounds) -> Size:
    expected = (
        f"'auto' or 'WIDTHxHEIGHT' with both divisible by 16, at least {bounds.min_side},"
        f" and at most {bounds.max_pixels} pixels in all"
    )
    text = fields.string("size", expected)
    if text is None or text == "auto":
        return bounds.default_size
    try:
        size = Size.parse(text)
    except ValueError:
        raise InvalidRequestError(f"'size' must be {expected}, and is '{text[:100]}'.", param="size") from None
    problem = size.problem(bounds.min_side, bounds.max_pixels)
    if problem:
        raise InvalidRequestError(f"'size' {problem}.", param="size")
    return size


def _guidance(fields: Fields, model: ModelInfo) -> float | None:
    guidance = fields.number("guidance_scale", minimum=0, maximum=MAX_GUIDANCE)
    if guidance is not None and not model.guidance_embeds:
        raise InvalidRequestError(
            "'guidance_scale' must be left out: this model has no guidance embedding (as FLUX.1-schnell).",
            param="guidance_scale",
            code="unsupported_parameter",
        )
    return guidance


def _encoding(fields: Fields, allowed: Sequence[str]) -> tuple[str, int]:
    response_format = fields.choice("response_format", ("b64_json", "url"), "b64_json")
    if response_format == "url":
        raise InvalidRequestError(
            "'response_format' must be 'b64_json': this server stores no images, so it has no URL to give.",
            param="response_format",
            code="unsupported_parameter",
        )
    image_format = fields.choice("output_format", allowed, allowed[0])
    quality = fields.integer("output_compression", minimum=0, maximum=100)
    if image_format == "png" and quality not in {None, 100}:
        raise InvalidRequestError(
            "'output_compression' must be 100 or left out where 'output_format' is png, which is lossless.",
            param="output_compression",
        )
    return image_format, DEFAULT_QUALITY if quality is None else quality


def _unsupported(fields: Fields) -> None:
    fields.ignore(IGNORED)
    fields.refuse("stream", "must be false or left out: this server does not stream", allowed=(False,))
    fields.refuse("partial_images", "must be 0 or left out: this server does not stream", allowed=(0,))
    for name in ("frame_count", "frame_duration_ms", "svg"):
        fields.refuse(name, "must be left out: this server makes no GIF or SVG")
