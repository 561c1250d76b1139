"""The peers that need no framework of their own, with a tiny model: what they batch, and whose image goes to whom.

mosec and LitServe are in environments of their own; what their workers call, `Pipeline.mixed`, is held here.
"""

import asyncio
import base64
import importlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from fluxpool_inference.tiny_model import write_tiny_model

KIT, FASTAPI = (Path(__file__).parents[1] / "peers" / folder for folder in ("kit/src", "fastapi"))
sys.path[:0] = [str(KIT), str(FASTAPI)]

from flux_peer_kit.contract import PATH, ImageRequest  # noqa: E402 - after the path
from flux_peer_kit.pipeline import Pipeline  # noqa: E402
from flux_peer_kit.settings import Settings  # noqa: E402

batcher, original = (importlib.import_module(name) for name in ("batcher", "original"))

FOX, OAK = (ImageRequest(prompt, 64, 64, 2, seed) for seed, prompt in enumerate(("1 a red fox", "2 an old oak")))
LONG_FOX, LONG_OAK = (replace(one, steps=3) for one in (FOX, OAK))
FOREVER_SECONDS = 3600.0


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two rows, and batches that wait until they are full."""
    model = tmp_path_factory.mktemp("model")
    write_tiny_model(model)
    cpus = frozenset(os.sched_getaffinity(0))
    return Settings(model, 0, 2, FOREVER_SECONDS, text_tokens=32, threads=1, pipelines=1, device_cpus=cpus)


class Noted(Pipeline):
    """Remembers its batches."""

    def __init__(self, settings: Settings) -> None:
        self.batches: list[list[ImageRequest]] = []
        super().__init__(settings)

    def batch(self, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        self.batches.append(list(requests))
        return super().batch(requests)


@pytest.fixture(scope="module")
def loaded(settings: Settings) -> Noted:
    return Noted(settings)


@pytest.fixture
def pipeline(loaded: Noted) -> Noted:
    loaded.batches.clear()
    return loaded


def is_of(image: Image.Image, request: ImageRequest, pipeline: Noted) -> bool:
    """Whether an image is what this request has alone, but for the rounding of its batch."""
    (alone,) = Pipeline.batch(pipeline, [request])
    return bool(np.abs(np.asarray(image, int) - np.asarray(alone, int)).max() <= 1)


async def asked(application: FastAPI, requests: Sequence[ImageRequest]) -> list[Image.Image]:
    """The images of requests that come at once, one after the other."""
    transport = httpx.ASGITransport(application)
    async with (
        asyncio.timeout(60),
        application.router.lifespan_context(application),
        httpx.AsyncClient(transport=transport, base_url="http://peer") as client,
    ):
        answers = await asyncio.gather(*(client.post(PATH, json=body(one)) for one in requests))
    found = [base64.b64decode(answer.raise_for_status().json()["data"][0]["b64_json"]) for answer in answers]
    return [Image.open(io.BytesIO(data)) for data in found]


def body(request: ImageRequest) -> dict[str, Any]:
    """As the load generator sends it."""
    size = f"{request.width}x{request.height}"
    return {"prompt": request.prompt, "size": size, "num_inference_steps": request.steps, "seed": request.seed, "n": 1}


def test_requests_of_any_shapes_are_one_call_for_each_shape_and_come_back_in_order(pipeline: Noted) -> None:
    requests = [FOX, LONG_FOX, OAK]
    images = pipeline.mixed(requests)
    assert pipeline.batches == [[FOX, OAK], [LONG_FOX]]
    assert all(is_of(image, one, pipeline) for image, one in zip(images, requests, strict=True))
    assert not is_of(images[0], OAK, pipeline)


async def test_the_batcher_puts_requests_of_one_shape_into_full_batches_and_gives_each_its_image(
    settings: Settings, pipeline: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher, "Pipeline", lambda _: pipeline)
    requests = [FOX, LONG_FOX, OAK, LONG_OAK]
    images = await asked(batcher.application(settings), requests)
    assert pipeline.batches == [[FOX, OAK], [LONG_FOX, LONG_OAK]]
    assert all(is_of(image, one, pipeline) for image, one in zip(images, requests, strict=True))


async def test_a_batch_that_is_not_full_is_made_after_its_wait(
    settings: Settings, pipeline: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher, "Pipeline", lambda _: pipeline)
    (image,) = await asked(batcher.application(replace(settings, wait_seconds=0.01)), [OAK])
    assert is_of(image, OAK, pipeline)


class Meeting:
    """A pipeline whose images are made once as many are being made as a barrier waits for."""

    def __init__(self, met: threading.Barrier) -> None:
        self._met = met
        self._busy = threading.Lock()

    def batch(self, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        assert len(requests) == 1
        assert self._busy.acquire(blocking=False), "a pipeline is used by one request at a time"
        try:
            self._met.wait(timeout=60)
        finally:
            self._busy.release()
        return [Image.new("RGB", (64, 64))]


@pytest.mark.parametrize("pipelines", [1, 2])
async def test_the_original_makes_as_many_images_at_once_as_it_has_pipelines_and_each_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, pipelines: int
) -> None:
    met = threading.Barrier(pipelines)
    monkeypatch.setattr(original, "Pipeline", lambda _: Meeting(met))
    pool = original.Pool(replace(settings, pipelines=pipelines))
    images = await asked(original.application(pool), [FOX, OAK, LONG_FOX, LONG_OAK])
    assert len(images) == 4


BARE = """
import sys, types
from PIL import Image

class Pipeline:
    def __init__(self, settings):
        print("loaded")

    def batch(self, requests):
        print("rows", len(requests))
        return [Image.new("RGB", (one.width, one.height)) for one in requests]

sys.modules["flux_peer_kit.pipeline"] = types.SimpleNamespace(Pipeline=Pipeline)
from flux_peer_kit.bare import main
main()
"""


def test_the_bare_loop_makes_full_batches_and_says_nothing_but_its_answers(settings: Settings) -> None:
    told = asdict(settings) | {"device_cpus": "0"}
    environment = {f"PEER_{name.upper()}": str(value) for name, value in told.items()} | {"PYTHONPATH": str(KIT)}
    asks = json.dumps({"bodies": [body(FOX)] * 5}) + "\n"
    command = [sys.executable, "-c", BARE]
    done = subprocess.run(command, input=asks, env=environment, capture_output=True, text=True, check=True, timeout=60)
    ready, answer = done.stdout.splitlines()
    assert ready == "ready"
    assert json.loads(answer)["seconds"] > 0
    assert done.stderr.splitlines() == ["loaded", "rows 2", "rows 2", "rows 1"]
