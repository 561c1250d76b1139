"""The images that `POST /v1/images/generations` makes, what is said of them, and what reaches the engine."""

import asyncio
import base64
import io

import httpx
import pytest
from edge_client import Client, make_client
from PIL import Image
from waiting import until

from fluxpool_inference.values import ImageRequest, ModelInfo, TrueCfg


def pictures(response: httpx.Response) -> list[Image.Image]:
    assert response.status_code == 200, response.text
    return [Image.open(io.BytesIO(base64.b64decode(item["b64_json"]))) for item in response.json()["data"]]


async def requests_made(client: Client, images: int = 1, **fields: object) -> list[ImageRequest]:
    """What reaches the engine of a body."""
    client.engine.gate.clear()
    making = asyncio.create_task(client.generate(n=images, **fields))
    await until(lambda: len(client.engine.tickets) == images)
    requests = [ticket.request for ticket in client.engine.tickets]
    client.engine.gate.set()
    pictures(await making)
    return requests


async def test_an_image_has_the_size_asked_for_and_its_seed_is_reported(client: Client) -> None:
    response = await client.generate(seed=77)
    (picture,) = pictures(response)
    assert picture.size == (64, 64)
    assert picture.format == "PNG"
    assert picture.getpixel((63, 63)) == (77, 0, 7)
    assert response.json()["data"][0]["seed"] == 77
    assert set(response.json()) == {"created", "output_format", "size", "data"}
    assert int(response.headers["content-length"]) == len(response.content)


async def test_image_k_of_n_has_seed_plus_k(client: Client) -> None:
    response = await client.generate(seed=10, n=3)
    assert [item["seed"] for item in response.json()["data"]] == [10, 11, 12]
    assert [picture.getpixel((0, 0)) for picture in pictures(response)] == [(10, 0, 7), (11, 0, 7), (12, 0, 7)]


async def test_without_a_seed_one_is_drawn_and_returned(client: Client) -> None:
    seeds = [(await client.generate()).json()["data"][0]["seed"] for _ in range(3)]
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**32 for seed in seeds)


async def test_the_largest_seed_is_taken(client: Client) -> None:
    assert (await client.generate(seed=2**64 - 1)).json()["data"][0]["seed"] == 2**64 - 1


@pytest.mark.parametrize("size", [{"size": "auto"}, {"size": None}])
async def test_auto_and_null_are_the_default_size(client: Client, size: dict[str, object]) -> None:
    response = await client.generate(**size)
    assert pictures(response)[0].size == (128, 128)
    assert response.json()["size"] == "128x128"


@pytest.mark.parametrize(("name", "pillow"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
async def test_each_format_is_what_it_says(client: Client, name: str, pillow: str) -> None:
    response = await client.generate(output_format=name)
    assert pictures(response)[0].format == pillow
    assert response.json()["output_format"] == name


async def test_openais_own_fields_are_accepted_and_null_means_absent(client: Client) -> None:
    response = await client.generate(
        model="acme/flux",
        quality="high",
        style="vivid",
        user="u",
        background="auto",
        moderation="low",
        safety_identifier="s",
        response_format="b64_json",
        stream=False,
        partial_images=0,
        n=None,
        seed=None,
        num_inference_steps=None,
        guidance_scale=None,
        output_compression=None,
        output_format=None,
        svg=None,
    )
    assert len(pictures(response)) == 1


async def test_steps_and_guidance_reach_the_engine(client: Client) -> None:
    (request,) = await requests_made(client, num_inference_steps=7, guidance_scale=2)
    assert (request.steps, request.guidance, request.prompt) == (7, 2.0, "a tree")


async def test_the_models_own_steps_are_the_default_within_the_limit() -> None:
    (request,) = await requests_made(await make_client(max_steps=20))
    assert request.steps == 20


async def test_a_truncated_prompt_is_told_in_a_header(client: Client) -> None:
    long = await client.generate(prompt="one two three four five six seven eight nine ten")
    assert long.headers["x-fluxpool-truncated-tokens"] == "2"
    assert "x-fluxpool-truncated-tokens" not in (await client.generate()).headers


async def test_a_truncated_negative_prompt_is_told_in_a_header_of_its_own(client: Client) -> None:
    long = await client.generate(negative_prompt="one two three four five six seven eight nine", true_cfg_scale=2)
    assert long.headers["x-fluxpool-negative-truncated-tokens"] == "1"
    assert "x-fluxpool-truncated-tokens" not in long.headers
    short = await client.generate(negative_prompt="one", true_cfg_scale=2)
    assert "x-fluxpool-negative-truncated-tokens" not in short.headers


@pytest.mark.parametrize(
    ("fields", "reaches"),
    [
        ({"negative_prompt": "a leaf", "true_cfg_scale": 3.5}, TrueCfg("a leaf", 3.5)),
        ({"negative_prompt": "", "true_cfg_scale": 100}, TrueCfg("", 100.0)),
        ({"negative_prompt": " ", "true_cfg_scale": 1.001, "guidance_scale": 7}, TrueCfg(" ", 1.001)),
        ({"negative_prompt": None, "true_cfg_scale": None}, None),
        ({"true_cfg_scale": 1}, None),
        ({"true_cfg_scale": 1.0, "negative_prompt": None}, None),
        ({}, None),
    ],
)
async def test_true_cfg_reaches_the_engine_for_each_image(
    client: Client, fields: dict[str, object], reaches: TrueCfg | None
) -> None:
    assert [request.true_cfg for request in await requests_made(client, 2, **fields)] == [reaches, reaches]


@pytest.mark.parametrize(("given", "reaches"), [(True, True), (False, False), (None, False)])
async def test_whether_it_must_be_reproducible_reaches_the_engine(
    client: Client, given: bool | None, reaches: bool
) -> None:
    (request,) = await requests_made(client, reproducible=given)
    assert request.reproducible is reaches


async def test_a_model_without_guidance_embedding_takes_true_cfg(client: Client) -> None:
    client.engine.model_info = ModelInfo("m", "flux-schnell", False, None, 4, 256, "float32", "cpu", 1000)
    pictures(await client.generate(negative_prompt="a leaf", true_cfg_scale=2))
