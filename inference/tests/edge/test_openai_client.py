"""The official client against the server on a real socket."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator

import openai
import pytest
from edge_client import Client
from PIL import Image
from waiting import until

from fluxpool_inference.engine import Rejected, RejectReason


@pytest.fixture
async def official(base_url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=base_url + "/v1", api_key="none", max_retries=0) as made:
        yield made


async def test_it_makes_images_with_its_own_and_with_fluxs_fields(official: openai.AsyncOpenAI) -> None:
    response = await official.images.generate(
        prompt="a tree",
        model="acme/flux",
        n=2,
        size="64x64",  # type: ignore[call-overload]  # any size, not only OpenAI's
        output_format="webp",
        output_compression=80,
        quality="high",
        response_format="b64_json",
        user="u",
        extra_body={
            "seed": 5,
            "num_inference_steps": 2,
            "guidance_scale": 3.0,
            "negative_prompt": "a leaf",
            "true_cfg_scale": 2.5,
        },
    )
    pictures = [Image.open(io.BytesIO(base64.b64decode(item.b64_json or ""))) for item in response.data]
    assert [(picture.format, picture.size) for picture in pictures] == [("WEBP", (64, 64))] * 2
    assert [item.model_extra for item in response.data] == [{"seed": 5}, {"seed": 6}]
    assert (response.output_format, response.size) == ("webp", "64x64")
    assert response.created > 0


async def test_it_finds_the_model(official: openai.AsyncOpenAI) -> None:
    (model,) = [model async for model in official.models.list()]
    assert (model.id, model.owned_by) == ("acme/flux", "fluxpool")
    assert await official.models.retrieve("acme/flux") == model
    with pytest.raises(openai.NotFoundError) as raised:
        await official.models.retrieve("dall-e-3")
    assert raised.value.code == "model_not_found"


async def test_it_raises_its_own_errors_with_field_and_code(official: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="from 1 to 4, and is 9") as raised:
        await official.images.generate(prompt="a", n=9)
    assert (raised.value.param, raised.value.code) == ("n", "integer_above_max_value")
    assert raised.value.type == "invalid_request_error"
    assert raised.value.request_id
    assert raised.value.request_id.startswith("req_")
    with pytest.raises(openai.BadRequestError, match="needs a 'true_cfg_scale' above 1") as raised:
        await official.images.generate(prompt="a", extra_body={"negative_prompt": "b"})
    assert (raised.value.param, raised.value.code) == ("negative_prompt", "unsupported_parameter")
    with pytest.raises(openai.BadRequestError, match="needs a 'negative_prompt'") as raised:
        await official.images.generate(prompt="a", extra_body={"true_cfg_scale": 4.0})
    assert (raised.value.param, raised.value.code) == ("true_cfg_scale", "unsupported_parameter")
    with pytest.raises(openai.BadRequestError, match="Did you mean 'seed'"):
        await official.images.generate(prompt="a", extra_body={"seeds": 1})
    with pytest.raises(openai.NotFoundError, match="this server serves 'acme/flux'"):
        await official.images.generate(prompt="a", model="dall-e-3")
    with pytest.raises(openai.InternalServerError, match="the latents are not finite"):
        await official.images.generate(prompt="fail")


async def test_a_rejection_is_retried_after_the_time_it_names_and_does_not_count_as_new_work(
    client: Client, official: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        client.engine.rejection = None

    monkeypatch.setattr("anyio.sleep", sleep)
    client.engine.rejection = Rejected(RejectReason.WAIT_TOO_LONG, 7.0, "The wait is too long.")
    response = await official.with_options(max_retries=2).images.generate(prompt="a")
    assert len(response.data) == 1
    assert slept == [7.0]
    assert client.engine.admitted_with["first_attempt"] is False
    assert await client.value("fluxpool_rejected_total", reason="wait_too_long") == 1


async def test_without_retries_a_rejection_is_its_rate_limit_error(
    client: Client, official: openai.AsyncOpenAI
) -> None:
    client.engine.rejection = Rejected(RejectReason.DEADLINE, 7.0, "Too late.")
    with pytest.raises(openai.RateLimitError, match="Too late") as raised:
        await official.images.generate(prompt="a")
    assert raised.value.code == "deadline"
    assert raised.value.response.headers["retry-after"] == "7"


async def test_its_timeout_is_the_requests_deadline(client: Client, official: openai.AsyncOpenAI) -> None:
    await official.images.generate(prompt="a", timeout=42)
    assert client.engine.admitted_with == {"first_attempt": True, "deadline_seconds": 42}
    await official.images.generate(prompt="a")
    assert client.engine.admitted_with["deadline_seconds"] == 600  # its default


async def test_its_own_timeout_frees_the_image(client: Client, official: openai.AsyncOpenAI) -> None:
    client.engine.gate.clear()
    with pytest.raises(openai.APITimeoutError):
        await official.images.generate(prompt="a", timeout=0.2)
    await until(lambda: not client.engine.tickets)


async def test_many_at_once_are_all_answered(official: openai.AsyncOpenAI) -> None:
    responses = await asyncio.gather(
        *(official.images.generate(prompt="a", extra_body={"seed": seed}) for seed in range(40))
    )
    assert [response.data[0].model_extra for response in responses] == [{"seed": seed} for seed in range(40)]
