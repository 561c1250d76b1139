"""What every decoder must make of our PNG files: the pixels that went in."""

import io
import random
import struct
import threading
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fluxpool_inference import png


def decoded(file: bytes) -> Image.Image:
    """By Pillow and zlib, which check every checksum."""
    image = Image.open(io.BytesIO(file))
    image.load()
    return image


def picture(width: int, height: int, data: bytes) -> memoryview:
    return memoryview(data).cast("B", (height, width, 3))


@st.composite
def pictures(draw: st.DrawFn) -> memoryview:
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    size = 3 * width * height
    if draw(st.booleans()):
        return picture(width, height, random.Random(draw(st.integers(0, 2**32))).randbytes(size))
    slope = draw(st.integers(1, 9))
    return picture(width, height, bytes(index // slope % 256 for index in range(size)))


@given(pictures())
def test_it_decodes_to_the_pixels_that_went_in(pixels: memoryview) -> None:
    image = decoded(png.encode(pixels))
    assert pixels.shape
    assert (image.mode, image.size) == ("RGB", (pixels.shape[1], pixels.shape[0]))
    assert image.tobytes() == pixels.tobytes()


@pytest.mark.parametrize("pixel", [b"\x00\x00\x00", b"\xff\xff\xff", b"\x01\x02\x03"])
def test_one_colour_makes_a_small_file(pixel: bytes) -> None:
    pixels = picture(256, 256, pixel * 256 * 256)
    file = png.encode(pixels)
    assert decoded(file).tobytes() == pixels.tobytes()
    assert len(file) < 4000


def test_a_photograph_is_no_larger_than_pillow_s_fastest_makes_it() -> None:
    """Slopes and grain, as photographs have them; on the diagonal, so that no filter is at an advantage."""
    grain = random.Random(1)
    side = 128
    values = (min(255, max(0, (x + y) // 2 + grain.randint(-3, 3))) for y in range(side) for x in range(side))
    data = b"".join(bytes((value, value // 2, 255 - value)) for value in values)
    theirs = io.BytesIO()
    Image.frombytes("RGB", (side, side), data).save(theirs, "PNG", compress_level=1)
    assert len(png.encode(picture(side, side, data))) <= 1.1 * len(theirs.getvalue())


def test_the_chunks_are_those_of_the_specification() -> None:
    file = png.encode(picture(3, 2, bytes(range(18))))
    assert file.startswith(png.SIGNATURE)
    rest, kinds = file[len(png.SIGNATURE) :], []
    while rest:
        length, kind = struct.unpack(">I4s", rest[:8])
        (checksum,) = struct.unpack(">I", rest[8 + length : 12 + length])
        assert checksum == zlib.crc32(rest[4 : 8 + length])
        kinds.append(kind)
        if kind == b"IDAT":
            # none for the first row, the difference to it for the second: 9 everywhere
            assert zlib.decompress(rest[8 : 8 + length]) == b"\x00" + bytes(range(9)) + b"\x02" + bytes([9] * 9)
        rest = rest[12 + length :]
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


def test_many_threads_at_once_encode_each_its_own_picture() -> None:
    pictures = [picture(64, 48, random.Random(seed).randbytes(64 * 48 * 3)) for seed in range(16)]
    files: dict[int, list[bytes]] = {number: [] for number in range(len(pictures))}

    def work(number: int) -> None:
        files[number] = [png.encode(pictures[number]) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(number,)) for number in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, made in files.items():
        assert len(set(made)) == 1
        assert decoded(made[0]).tobytes() == pictures[number].tobytes()
