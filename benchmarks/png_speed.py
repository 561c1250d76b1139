"""What an image costs between shared memory and the wire: PNG, base64, JSON, HTTP. Recorded in `results/engine.json`.

    inference/.venv/bin/python benchmarks/png_speed.py

A server on a port of its own, in this process, answers with one image of 1024 x 1024, by the server's own encoder,
reply and sockets; another process asks for it. Counted is all CPU time of this process from one answer to the next, on
all threads, the parsing of the request included. The pictures have the spectrum of photographs (amplitude 1 / f, with
grain); noise, which nothing compresses, is the worst case. Beside it, in turn, the file alone by our encoder and by
Pillow at zlib's fastest level: the CPU time and the size of ours as a share of Pillow's.
"""

import argparse
import asyncio
import io
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from PIL import Image
from record import Part, at_most, record, reported
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fluxpool_inference import png
from fluxpool_inference.encode import Encoder
from fluxpool_inference.http.replies import ImagesReply
from fluxpool_inference.ipc import pixels as shared
from fluxpool_inference.servers import Servers

SIDE = 1024
AIM_MS = 15.0


def photograph(grain: float, seed: int = 0) -> bytes:
    """RGB pixels whose amplitudes fall as 1 / f, as those of natural scenes do, and noise of `grain` grey levels."""
    draw = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    frequency[0, 0] = 1 / SIDE
    channels = []
    for _ in range(3):
        spectrum = (draw.normal(size=frequency.shape) + 1j * draw.normal(size=frequency.shape)) / frequency
        scene = np.fft.ifft2(spectrum).real
        channels.append(128 + 50 * scene / scene.std() + draw.normal(scale=grain, size=scene.shape))
    return np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8).tobytes()


def pictures() -> dict[str, bytes]:
    """By name."""
    return {
        "photograph": photograph(grain=1.0),
        "grainy photograph": photograph(grain=4.0),
        "noise": np.random.default_rng(0).bytes(3 * SIDE * SIDE),
    }


def answering(data: bytes, encoder: Encoder) -> Callable[[Scope, Receive, Send], object]:
    """An app whose every answer is the image `data`, taken from shared memory as the engine hands it over."""
    view = memoryview(data)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        memory = shared.take(shared.share(view))
        pixels = memoryview(memory).toreadonly().cast("B", (SIDE, SIDE, 3))
        encoded = await encoder.encode(pixels, "png", 95)
        reply: Response = ImagesReply(
            created=0, images=[(encoded, 0)], image_format="png", size=f"{SIDE}x{SIDE}", headers={}
        )
        await reply(scope, receive, send)

    return app


async def cpu_ms(data: bytes, answers: int) -> float:
    """Median milliseconds of CPU per answer. The copy into shared memory, which is the worker's, is taken off."""
    encoder, servers = Encoder(threads=2), Servers()
    address = servers.listen(answering(data, encoder), "127.0.0.1", 0)
    servers.start()
    client = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--fetch", f"http://{address}/", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert client.stdin
    assert client.stdout
    spent = []
    for _ in range(answers):
        began = time.process_time()
        client.stdin.write(b"\n")
        await client.stdout.readline()
        spent.append(1000 * (time.process_time() - began))
    client.stdin.close()
    await client.wait()
    await servers.close()
    encoder.close()
    return statistics.median(spent) - sharing_ms(data)


def sharing_ms(data: bytes) -> float:
    """Median milliseconds of CPU of what the worker does: a copy into a memory file."""
    spent = []
    for _ in range(30):
        began = time.process_time()
        shared.take(shared.share(memoryview(data))).close()
        spent.append(1000 * (time.process_time() - began))
    return statistics.median(spent)


def against_pillow(data: bytes, rounds: int = 15) -> tuple[float, float]:
    """CPU time (median of the rounds' ratios) and size of our file over those of Pillow's at level 1."""
    picture, pixels = Image.frombytes("RGB", (SIDE, SIDE), data), memoryview(data).cast("B", (SIDE, SIDE, 3))
    ratios = []
    for _ in range(rounds):
        began, pillows = time.process_time(), io.BytesIO()
        picture.save(pillows, "PNG", compress_level=1)
        between = time.process_time()
        ours = png.encode(pixels)
        ratios.append((time.process_time() - between) / (between - began))
    return statistics.median(ratios), len(ours) / pillows.tell()


def fetch(url: str) -> None:
    """The other process: one GET for each line that comes, and a line back when its last byte has come."""
    for _ in sys.stdin:
        with urllib.request.urlopen(url) as answer:
            size = len(answer.read())
        print(size, flush=True)


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--answers", type=int, default=100)
    parser.add_argument("--fetch", metavar="URL", help="be the client")
    options = parser.parse_args()
    if options.fetch:
        fetch(options.fetch)
        return
    measured = {name: asyncio.run(cpu_ms(data, options.answers)) for name, data in pictures().items()}
    aims = [at_most("png_1024_cpu_ms", AIM_MS, round(measured["photograph"], 2))]
    aims += [reported(f"png_1024_cpu_ms of {name}", round(measured[name], 2)) for name in list(measured)[1:]]
    shares = {name: against_pillow(data) for name, data in pictures().items()}
    for name, (cpu, size) in shares.items():
        aims.append(reported(f"CPU time of a PNG file over Pillow's at level 1, {name}", round(cpu, 3)))
        aims.append(reported(f"size of a PNG file over Pillow's at level 1, {name}", round(size, 3)))
    versions = {"isal": version("isal"), "pillow": Image.__version__, "uvicorn": version("uvicorn")}
    path = record("engine", Part("png", "inference/.venv/bin/python benchmarks/png_speed.py", versions, aims, measured))
    for aim in aims:
        print(f"{aim.name}: {aim.value}")
    print(path)


if __name__ == "__main__":
    main()
