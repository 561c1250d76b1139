"""Pixels to files, JPEG and WebP by Pillow, in threads, so that neither the event loop nor the device waits."""

import asyncio
import base64
import io
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from fluxpool_inference import png

LONGEST_SIDES = {"jpeg": 65500, "webp": 16383}
"""In pixels, as libjpeg and libwebp have it. PNG has no limit that an image reaches."""


class Encoder:
    """A small pool of threads; whatever compresses lets go of the interpreter's lock meanwhile."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="encode")

    async def encode(self, pixels: memoryview, image_format: str, quality: int) -> bytes:
        """Base64 of the file with these pixels (height x width x 3 bytes). `quality` is 0 to 100, for JPEG and WebP."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _encode, pixels, image_format, quality)

    def close(self) -> None:
        """Finish nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _encode(pixels: memoryview, image_format: str, quality: int) -> bytes:
    return base64.b64encode(png.encode(pixels) if image_format == "png" else _lossy(pixels, image_format, quality))


def _lossy(pixels: memoryview, image_format: str, quality: int) -> memoryview:
    height, width, _ = pixels.shape or (0, 0, 0)
    image = Image.frombuffer("RGB", (width, height), pixels, "raw", "RGB", 0, 1)  # type: ignore[arg-type]  # any buffer
    file = io.BytesIO()
    image.save(file, image_format.upper(), quality=quality)
    return file.getbuffer()
