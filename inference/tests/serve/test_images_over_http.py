"""`fluxpool-inference serve` on a tiny model: images of the official client are those of the stock pipeline."""

import asyncio
import io
from typing import Any

import numpy as np
import pytest
from bench import image, pair
from files import generate, pixels
from PIL import Image
from served import Served, libraries, open_files
from stock import Stock
from waiting import until


async def test_a_png_is_the_image_of_the_stock_pipeline_to_the_last_bit(dev_server: Served, stock: Stock) -> None:
    request = image("a cat on a hill", seed=2**64 - 1, steps=5, guidance=4.5, width=96, height=64)
    async with dev_server.client() as client:
        (file,) = await generate(client, request)
    np.testing.assert_array_equal(pixels(file), stock.pixels(request))


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
async def test_other_formats_hold_the_same_pixels(dev_server: Served, stock: Stock, kind: Any) -> None:
    request = image("a cat on a hill", seed=11, steps=3)
    async with dev_server.client() as client:
        (file,) = await generate(client, request, output_format=kind, output_compression=90)
    wanted = io.BytesIO()
    Image.fromarray(stock.pixels(request)).save(wanted, kind.upper(), quality=90)
    assert file == wanted.getvalue()


async def test_image_k_of_n_has_the_seed_plus_k(dev_server: Served, stock: Stock) -> None:
    async with dev_server.client() as client:
        files = await generate(client, image("a dog", seed=7, steps=4), n=3)
    for k, file in enumerate(files):
        difference = pixels(file).astype(int) - stock.pixels(image("a dog", seed=7 + k, steps=4))
        assert np.abs(difference).max() <= 1


async def test_requests_of_every_kind_at_once_are_each_that_of_the_stock_pipeline(
    dev_server: Served, stock: Stock
) -> None:
    requests = [
        image(prompt, seed=seed, steps=8 + 5 * seed, guidance=1.0 + seed, width=width, height=height)
        for seed, prompt in enumerate(["a cat", "a dog", "a bird", "a cat"])
        for width, height in ((64, 64), (64, 96))
    ]
    requests += [pair("a cat", negative="a dog", seed=seed, steps=10, scale=1.0 + seed) for seed in (1, 2)]
    before = dev_server.metric("fluxpool_batch_rows_count")
    async with dev_server.client() as client:
        files = await asyncio.gather(*(generate(client, request) for request in requests))
    for (file,), request in zip(files, requests, strict=True):
        assert np.abs(pixels(file).astype(int) - stock.pixels(request)).max() <= 1, request
    steps = dev_server.metric("fluxpool_batch_rows_count") - before
    assert steps < sum(request.steps for request in requests), "steps were shared"


async def test_the_batch_size_is_changed_live(dev_server: Served) -> None:
    assert dev_server.set_batch_size(3) == 200
    assert dev_server.metric("fluxpool_batch_size_limit") == 3
    assert dev_server.set_batch_size(0) == 400
    assert dev_server.set_batch_size(8) == 200


async def test_the_work_of_a_client_that_leaves_is_given_up(dev_server: Served) -> None:
    async with dev_server.client() as client:
        leaving = asyncio.create_task(generate(client, image(seed=1, steps=1000)))
        await until(lambda: dev_server.metric("fluxpool_requests_running") == 1)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await until(lambda: dev_server.metric("fluxpool_cancelled_total", stage="denoise") == 1)
        assert dev_server.metric("fluxpool_cancelled_work_seconds_total") > 0
        assert dev_server.metric("fluxpool_requests_running") == 0
        await generate(client, image(steps=1))


async def test_a_prompt_said_again_comes_from_the_cache(dev_server: Served) -> None:
    async with dev_server.client() as client:
        for _ in range(2):
            await generate(client, image("a prompt that no other test says", steps=1))
    assert dev_server.metric("fluxpool_prompt_cache_total", result="hit") >= 1
    assert dev_server.metric("fluxpool_prompt_cache_total", result="miss") >= 1


async def test_only_the_worker_has_torch(dev_server: Served) -> None:
    assert "libtorch" in libraries(dev_server.worker_pid)
    served = libraries(dev_server.process.pid)
    assert "libtorch" not in served
    assert "/torch/" not in served
    assert "numpy" not in served


async def test_in_the_end_the_metrics_add_up_nothing_is_left_and_the_log_is_clean(dev_server: Served) -> None:
    async with dev_server.client() as client:
        await generate(client, image(steps=2))
    dev_server.assert_everything_adds_up()
    dev_server.assert_every_line_of_the_log_is_json()
    for pid in (dev_server.process.pid, dev_server.worker_pid):
        assert "memfd:fluxpool" not in libraries(pid)
        assert not any("memfd" in file for file in open_files(pid))
