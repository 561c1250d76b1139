"""Images of the official client, as files and as pixels."""

import base64
import io
from typing import Any

import numpy as np
import openai
from PIL import Image

from fluxpool_inference.values import ImageRequest


async def generate(client: openai.AsyncOpenAI, request: ImageRequest, **more: Any) -> list[bytes]:
    """The files of one call."""
    extra: dict[str, Any] = {"seed": request.seed, "num_inference_steps": request.steps}
    if request.guidance is not None:
        extra["guidance_scale"] = request.guidance
    if request.true_cfg is not None:
        extra |= {"negative_prompt": request.true_cfg.negative_prompt, "true_cfg_scale": request.true_cfg.scale}
    size: Any = f"{request.width}x{request.height}"
    response = await client.images.generate(prompt=request.prompt, size=size, extra_body=extra, **more)
    return [base64.b64decode(item.b64_json or "") for item in response.data or []]


def pixels(file: bytes) -> "np.ndarray[Any, Any]":
    return np.asarray(Image.open(io.BytesIO(file)))
