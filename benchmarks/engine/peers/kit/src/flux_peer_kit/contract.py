"""The part of OpenAI's Images API that the comparison speaks: one prompt in, one PNG in base64 out."""

import base64
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from PIL.Image import Image

PATH = "/v1/images/generations"
PNG_LEVEL = 1
"""zlib's fastest, as fluxpool has it: the comparison is not about Pillow's default."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One image."""

    prompt: str
    width: int
    height: int
    steps: int
    seed: int

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Read a body. Raises KeyError or ValueError for one that the load generator does not send."""
        width, height = (int(side) for side in body["size"].split("x"))
        return cls(body["prompt"], width, height, int(body["num_inference_steps"]), int(body["seed"]))

    @property
    def shape(self) -> tuple[int, int, int]:
        """What one call of the stock pipeline has in common for all its images."""
        return self.width, self.height, self.steps


def reply(image: Image) -> dict[str, Any]:
    """The body of the answer."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=PNG_LEVEL)
    data = [{"b64_json": base64.b64encode(file.getbuffer()).decode()}]
    return {"created": int(time.time()), "data": data}
