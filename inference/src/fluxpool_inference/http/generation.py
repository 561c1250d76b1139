"""The body of `POST /v1/images/generations` to typed image requests. Pure. Image k of n has seed + k."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from fluxpool_inference.encode import LONGEST_SIDES
from fluxpool_inference.engine import ImageRequest, ModelInfo, Priority, TrueCfg
from fluxpool_inference.errors import InvalidRequestError, NotFoundError
from fluxpool_inference.http.fields import Body, refuse_unknown
from fluxpool_inference.http.generation_fields import MAX_SEED, NO_TRUE_CFG, Bounds, GenerationFields
from fluxpool_inference.size import Size

DRAWN_SEED_BITS = 32
"""A drawn seed stays exact in clients whose numbers are doubles."""
DEFAULT_QUALITY = 95
"""Of JPEG and WebP: above it Pillow's files grow and pictures do not improve."""


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


class GenerationParser:
    """Reads request bodies within bounds; `fields` says which fields there are."""

    def __init__(self, bounds: Bounds, seed_source: Callable[[], int] = draw_seed) -> None:
        self.fields = GenerationFields(bounds)
        self._bounds = bounds
        self._seed_source = seed_source

    def parse(self, body: Body, model: ModelInfo, priority: Priority = Priority.NORMAL) -> Generation:
        """Raises InvalidRequestError for the first wrong field, NotFoundError for another model."""
        fields = self.fields
        self._require_model(body)
        prompt = fields.prompt.read(body)
        count = fields.n.read(body) or 1
        size = self._size(body)
        steps = fields.steps.read(body) or min(model.default_steps, self._bounds.max_steps)
        guidance = self._guidance(body, model)
        true_cfg = self._true_cfg(body)
        seed = replace(fields.seed, maximum=MAX_SEED - (count - 1)).read(body)
        image_format, quality = self._encoding(body)
        self._require_sides(size, image_format)
        for field in fields.refused:
            field.check(body)
        refuse_unknown(body, fields)
        first_seed = self._seed_source() if seed is None else seed
        image = ImageRequest(
            prompt,
            size.width,
            size.height,
            steps,
            guidance,
            first_seed,
            priority=priority,
            true_cfg=true_cfg,
            reproducible=fields.reproducible.read(body),
        )
        images = tuple(replace(image, seed=first_seed + k) for k in range(count))
        return Generation(images, size, image_format, quality)

    def _require_model(self, body: Body) -> None:
        name = self.fields.model.read(body)
        if name is not None and name not in self._bounds.model_names:
            raise model_not_found(name, self._bounds.model_names[0])

    def _size(self, body: Body) -> Size:
        field = self.fields.size
        text = field.read(body)
        if text is None or text == "auto":
            return self._bounds.default_size
        try:
            size = Size.parse(text)
        except ValueError:
            raise InvalidRequestError(
                f"'size' must be {field.expected}, and is '{text[:100]}'.", param=field.name
            ) from None
        problem = size.problem(self._bounds.min_side, self._bounds.max_pixels)
        if problem:
            raise InvalidRequestError(f"'size' {problem}.", param=field.name)
        return size

    def _require_sides(self, size: Size, image_format: str) -> None:
        longest = LONGEST_SIDES.get(image_format)
        if longest is not None and max(size.width, size.height) > longest:
            raise InvalidRequestError(
                f"'{self.fields.size.name}' must have a width and height of at most {longest} pixels where"
                f" '{self.fields.output_format.name}' is {image_format}, and is {size}.",
                param=self.fields.size.name,
            )

    def _guidance(self, body: Body, model: ModelInfo) -> float | None:
        field = self.fields.guidance
        guidance = field.read(body)
        if guidance is not None and not model.guidance_embeds:
            raise InvalidRequestError(
                f"'{field.name}' must be left out: this model has no guidance embedding (as FLUX.1-schnell).",
                param=field.name,
                code="unsupported_parameter",
            )
        return guidance

    def _true_cfg(self, body: Body) -> TrueCfg | None:
        text, number = self.fields.negative_prompt, self.fields.true_cfg_scale
        negative_prompt, scale = text.read(body), number.read(body)
        guided = scale is not None and scale > NO_TRUE_CFG
        if negative_prompt is not None and not guided:
            raise InvalidRequestError(
                f"'{text.name}' needs a '{number.name}' above {NO_TRUE_CFG:g}: without it, it has no effect.",
                param=text.name if scale is None else number.name,
                code="unsupported_parameter",
            )
        if negative_prompt is None and guided:
            raise InvalidRequestError(
                f"'{number.name}' above {NO_TRUE_CFG:g} needs a '{text.name}', which may be empty: without it, it has"
                " no effect.",
                param=number.name,
                code="unsupported_parameter",
            )
        return None if negative_prompt is None or scale is None else TrueCfg(negative_prompt, scale)

    def _encoding(self, body: Body) -> tuple[str, int]:
        image_format = self.fields.output_format.read(body)
        field = self.fields.output_compression
        quality = field.read(body)
        if image_format == "png" and quality not in {None, 100}:
            raise InvalidRequestError(
                f"'{field.name}' must be 100 or left out where 'output_format' is png, which is lossless.",
                param=field.name,
            )
        return image_format, DEFAULT_QUALITY if quality is None else quality


def model_not_found(name: str, served: str) -> NotFoundError:
    """The error for a model that this server does not serve."""
    return NotFoundError(
        f"The model '{name[:200]}' does not exist; this server serves '{served}'.",
        param="model",
        code="model_not_found",
    )
