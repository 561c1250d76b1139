import asyncio
import base64
import io
import random
import threading

import pytest
from PIL import Image

from fluxpool_inference.encode import LONGEST_SIDES, Encoder


def noise(width: int, height: int, seed: int = 1) -> memoryview:
    return memoryview(random.Random(seed).randbytes(width * height * 3)).cast("B", (height, width, 3))


async def encode(pixels: memoryview, image_format: str, quality: int = 95) -> bytes:
    encoder = Encoder(threads=1)
    try:
        return base64.b64decode(await encoder.encode(pixels, image_format, quality))
    finally:
        encoder.close()


async def test_png_keeps_every_pixel_in_its_place() -> None:
    pixels = noise(48, 32)
    picture = Image.open(io.BytesIO(await encode(pixels, "png")))
    assert picture.size == (48, 32)
    assert picture.tobytes() == pixels.tobytes()


@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
async def test_quality_changes_the_size_of_lossy_files(image_format: str) -> None:
    pixels = noise(64, 64)
    small, large = [len(await encode(pixels, image_format, quality)) for quality in (10, 95)]
    assert small < large / 2


@pytest.mark.parametrize("image_format", sorted(LONGEST_SIDES))
async def test_the_longest_side_of_a_format_is_what_its_library_takes(image_format: str) -> None:
    longest = LONGEST_SIDES[image_format]
    for width, height in ((longest, 1), (1, longest)):
        await encode(memoryview(bytes(3 * longest)).cast("B", (height, width, 3)), image_format)
    with pytest.raises((OSError, ValueError)):
        await encode(memoryview(bytes(3 * (longest + 1))).cast("B", (1, longest + 1, 3)), image_format)


async def test_encoding_runs_in_a_thread_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    save = Image.Image.save

    def spy(image: Image.Image, *arguments: object, **options: object) -> None:
        threads.append(threading.current_thread().name)
        save(image, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "save", spy)
    await encode(noise(16, 16), "jpeg")
    assert [name.split("_")[0] for name in threads] == ["encode"]


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
async def test_many_at_once_in_many_threads_are_each_what_they_are_alone(image_format: str) -> None:
    pictures = [noise(64, 48, seed) for seed in range(40)]
    alone = [await encode(pixels, image_format) for pixels in pictures]
    encoder = Encoder(threads=8)
    try:
        together = await asyncio.gather(*(encoder.encode(pixels, image_format, 95) for pixels in pictures))
    finally:
        encoder.close()
    assert [base64.b64decode(file) for file in together] == alone
    assert len(set(alone)) == len(pictures)
