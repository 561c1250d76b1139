"""What `POST /v1/images/generations` answers, good and bad, over an in-memory engine."""

import asyncio
import base64
import io
import json

import httpx
import pytest
from edge_client import URL, Client, error, make_client
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from waiting import until

from fluxpool_inference.engine import Rejected, RejectReason, TooLarge, TooLong
from fluxpool_inference.http import body as body_module
from fluxpool_inference.http.replies import http_error
from fluxpool_inference.values import ModelInfo, TrueCfg


def pictures(response: httpx.Response) -> list[Image.Image]:
    assert response.status_code == 200, response.text
    return [Image.open(io.BytesIO(base64.b64decode(item["b64_json"]))) for item in response.json()["data"]]


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
    client.engine.gate.clear()
    task = asyncio.create_task(client.generate(num_inference_steps=7, guidance_scale=2))
    await until(lambda: bool(client.engine.tickets))
    request = client.engine.tickets[0].request
    client.engine.gate.set()
    pictures(await task)
    assert (request.steps, request.guidance, request.prompt) == (7, 2.0, "a tree")


async def test_the_models_own_steps_are_the_default_within_the_limit() -> None:
    client = await make_client(max_steps=20)
    client.engine.gate.clear()
    task = asyncio.create_task(client.generate())
    await until(lambda: bool(client.engine.tickets))
    assert client.engine.tickets[0].request.steps == 20
    client.engine.gate.set()
    pictures(await task)


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
    client.engine.gate.clear()
    task = asyncio.create_task(client.generate(n=2, **fields))
    await until(lambda: len(client.engine.tickets) == 2)
    found = [ticket.request.true_cfg for ticket in client.engine.tickets]
    client.engine.gate.set()
    pictures(await task)
    assert found == [reaches, reaches]


@pytest.mark.parametrize(("given", "reaches"), [(True, True), (False, False), (None, False)])
async def test_whether_it_must_be_reproducible_reaches_the_engine(
    client: Client, given: bool | None, reaches: bool
) -> None:
    client.engine.gate.clear()
    task = asyncio.create_task(client.generate(reproducible=given))
    await until(lambda: bool(client.engine.tickets))
    found = client.engine.tickets[0].request.reproducible
    client.engine.gate.set()
    pictures(await task)
    assert found is reaches


async def test_a_model_without_guidance_embedding_takes_true_cfg(client: Client) -> None:
    client.engine.model_info = ModelInfo("m", "flux-schnell", False, None, 4, 256, "float32", "cpu", 1000)
    pictures(await client.generate(negative_prompt="a leaf", true_cfg_scale=2))


BAD_BODIES: list[tuple[dict[str, object], str, str]] = [
    ({"prompt": None}, "prompt", "'prompt' is required: a string of 1 to 32000 characters."),
    ({"prompt": ""}, "prompt", "1 to 32000 characters"),
    ({"prompt": " \n\t"}, "prompt", "1 to 32000 characters"),
    ({"prompt": "x" * 32_001}, "prompt", "at most 32000 characters, and has 32001"),
    ({"prompt": 5}, "prompt", "a string of 1 to 32000 characters, and is an integer"),
    ({"prompt": ["a"]}, "prompt", "and is an array"),
    ({"prompt": {"a": 1}}, "prompt", "and is an object"),
    ({"prompt": "\ud800"}, "prompt", "valid Unicode"),
    ({"model": 3}, "model", "'acme/flux'"),
    ({"n": 0}, "n", "an integer from 1 to 4, and is 0"),
    ({"n": 5}, "n", "an integer from 1 to 4, and is 5"),
    ({"n": -1}, "n", "an integer from 1 to 4"),
    ({"n": "2"}, "n", "an integer from 1 to 4, and is a string"),
    ({"n": 1.0}, "n", "an integer from 1 to 4, and is a number"),
    ({"n": True}, "n", "an integer from 1 to 4, and is a boolean"),
    ({"n": 10**1000}, "n", "an integer from 1 to 4, and is out of range"),
    ({"size": "65x64"}, "size", "divisible by 16, and is 65x64"),
    ({"size": "64x72"}, "size", "divisible by 16"),
    ({"size": "48x64"}, "size", "at least 64 pixels"),
    ({"size": "64x0"}, "size", "at least 64 pixels"),
    ({"size": "1024x1024"}, "size", "at most 262144 pixels"),
    ({"size": "99999x16"}, "size", "divisible by 16"),
    ({"size": "large"}, "size", "'auto' or 'WIDTHxHEIGHT'"),
    ({"size": "64X64"}, "size", "'auto' or 'WIDTHxHEIGHT'"),
    ({"size": "64x64 "}, "size", "'auto' or 'WIDTHxHEIGHT'"),
    ({"size": "٦٤x64"}, "size", "'auto' or 'WIDTHxHEIGHT'"),
    ({"size": 64}, "size", "'auto' or 'WIDTHxHEIGHT'"),
    ({"seed": -1}, "seed", "from 0 to 18446744073709551615"),
    ({"seed": 2**64}, "seed", "from 0 to 18446744073709551615"),
    ({"seed": 2**64 - 1, "n": 2}, "seed", "from 0 to 18446744073709551614"),
    ({"seed": "1"}, "seed", "and is a string"),
    ({"seed": 1.5}, "seed", "and is a number"),
    ({"num_inference_steps": 0}, "num_inference_steps", "from 1 to 50"),
    ({"num_inference_steps": 51}, "num_inference_steps", "from 1 to 50"),
    ({"num_inference_steps": "4"}, "num_inference_steps", "from 1 to 50"),
    ({"guidance_scale": -0.1}, "guidance_scale", "from 0 to 100"),
    ({"guidance_scale": 100.5}, "guidance_scale", "from 0 to 100"),
    ({"guidance_scale": "3"}, "guidance_scale", "a number from 0 to 100"),
    ({"guidance_scale": False}, "guidance_scale", "a number from 0 to 100"),
    ({"negative_prompt": "a"}, "negative_prompt", "needs a 'true_cfg_scale' above 1"),
    ({"negative_prompt": ""}, "negative_prompt", "needs a 'true_cfg_scale' above 1"),
    ({"negative_prompt": "a", "true_cfg_scale": None}, "negative_prompt", "needs a 'true_cfg_scale' above 1"),
    ({"negative_prompt": "a", "true_cfg_scale": 1}, "true_cfg_scale", "'negative_prompt' needs a 'true_cfg_scale'"),
    ({"true_cfg_scale": 2}, "true_cfg_scale", "above 1 needs a 'negative_prompt', which may be empty"),
    ({"true_cfg_scale": 2, "negative_prompt": None}, "true_cfg_scale", "needs a 'negative_prompt'"),
    ({"true_cfg_scale": 0.9}, "true_cfg_scale", "a number from 1 to 100, and is 0.9"),
    ({"true_cfg_scale": 100.5, "negative_prompt": "a"}, "true_cfg_scale", "a number from 1 to 100"),
    ({"true_cfg_scale": "2", "negative_prompt": "a"}, "true_cfg_scale", "a number from 1 to 100, and is a string"),
    ({"true_cfg_scale": True, "negative_prompt": "a"}, "true_cfg_scale", "and is a boolean"),
    ({"negative_prompt": ["a"], "true_cfg_scale": 2}, "negative_prompt", "at most 32000 characters, and is an array"),
    ({"negative_prompt": "x" * 32_001, "true_cfg_scale": 2}, "negative_prompt", "characters, and has 32001"),
    ({"negative_prompt": "\ud800", "true_cfg_scale": 2}, "negative_prompt", "valid Unicode"),
    ({"reproducible": 1}, "reproducible", "true or false, and is an integer"),
    ({"reproducible": "true"}, "reproducible", "true or false, and is a string"),
    ({"negative_promt": "a"}, "negative_promt", "Did you mean 'negative_prompt'?"),
    ({"cfg_scale": 2}, "cfg_scale", "Did you mean 'true_cfg_scale'?"),
    ({"output_format": "gif"}, "output_format", "one of 'png', 'jpeg', 'webp', and is 'gif'"),
    ({"output_format": 1}, "output_format", "one of 'png', 'jpeg', 'webp'"),
    ({"output_compression": 101, "output_format": "jpeg"}, "output_compression", "from 0 to 100"),
    ({"output_compression": -1, "output_format": "webp"}, "output_compression", "from 0 to 100"),
    ({"output_compression": 50}, "output_compression", "must be 100 or left out"),
    ({"response_format": "url"}, "response_format", "must be 'b64_json'"),
    ({"response_format": "png"}, "response_format", "must be 'b64_json'"),
    ({"response_format": 1}, "response_format", "must be 'b64_json'"),
    ({"stream": True}, "stream", "must be false or left out"),
    ({"stream": 0}, "stream", "must be false or left out"),
    ({"partial_images": False}, "partial_images", "must be 0 or left out"),
    ({"partial_images": 2}, "partial_images", "must be 0 or left out"),
    ({"frame_count": 4}, "frame_count", "must be left out"),
    ({"svg": {}}, "svg", "must be left out"),
    ({"num_inference_step": 4}, "num_inference_step", "Did you mean 'num_inference_steps'?"),
    ({"guidance": 4}, "guidance", "Did you mean 'guidance_scale'?"),
    ({"lora": "x"}, "lora", "Known fields: background, complexity"),
    ({"\ud800": "x"}, "\ud800", "Unknown field"),
    ({"x" * 5000: "x"}, "x" * 100, "Unknown field"),
]


@pytest.mark.parametrize(("body", "param", "says"), BAD_BODIES, ids=lambda value: ascii(value)[:40])
async def test_a_bad_field_is_a_400_that_names_it_and_what_is_allowed(
    client: Client, body: dict[str, object], param: str, says: str
) -> None:
    found = error(await client.generate(**body), 400)
    assert found["type"] == "invalid_request_error"
    assert found["param"] == param
    assert says in str(found["message"])
    assert f"'{param}'" in str(found["message"])
    assert len(str(found["message"])) < 700
    assert await client.value("fluxpool_rejected_total", reason="invalid_request") == 1
    assert await client.value("fluxpool_admitted_images_total") == 0


async def test_a_guidance_scale_for_a_model_without_guidance_is_a_400(client: Client) -> None:
    client.engine.model_info = ModelInfo("m", "flux-schnell", False, None, 4, 256, "float32", "cpu", 1000)
    found = error(await client.generate(guidance_scale=3.5), 400)
    assert found["param"] == "guidance_scale"
    assert "no guidance embedding" in str(found["message"])
    assert (await client.generate()).status_code == 200


async def test_a_size_that_memory_does_not_hold_is_a_400_that_says_which_is_possible(client: Client) -> None:
    client.engine.rejection = TooLarge("must have at most 65536 pixels, and is 2048x2048")
    response = await client.generate()
    assert error(response, 400) == {
        "message": "'size' must have at most 65536 pixels, and is 2048x2048.",
        "type": "invalid_request_error",
        "param": "size",
        "code": "size_too_large",
    }
    assert await client.value("fluxpool_rejected_total", reason="invalid_request") == 1


async def test_a_pair_that_takes_longer_than_a_drain_is_a_400_that_says_what_would_do(client: Client) -> None:
    client.engine.rejection = TooLong("takes 330 s, and at most 270 s are possible: ask for less")
    response = await client.generate(negative_prompt="rain", true_cfg_scale=4)
    assert error(response, 400) == {
        "message": "The request takes 330 s, and at most 270 s are possible: ask for less.",
        "type": "invalid_request_error",
        "param": "negative_prompt",
        "code": "request_too_long",
    }
    assert await client.value("fluxpool_rejected_total", reason="invalid_request") == 1


async def test_another_model_is_a_404(client: Client) -> None:
    found = error(await client.generate(model="dall-e-3"), 404)
    assert (found["code"], found["param"]) == ("model_not_found", "model")
    assert found["message"] == "The model 'dall-e-3' does not exist; this server serves 'acme/flux'."


async def test_aliases_of_the_model_are_served() -> None:
    client = await make_client(served_model_name="flux, gpt-image-1")
    assert (await client.generate(model="gpt-image-1")).status_code == 200
    assert (await client.generate(model="flux")).status_code == 200
    error(await client.generate(model="acme/flux"), 404)
    assert (await client.api.get("/v1/models")).json()["data"][0]["id"] == "flux"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"prompt": "a",}',
        b'{"prompt": NaN}',
        b'{"seed": Infinity}',
        b'{"prompt": "\xff"}',
        b"[" * 20_000,
        b'{"seed": ' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "cut", "array", "string", "null", "comma", "nan", "infinity", "latin-1", "deep", "digits"],
)
async def test_what_is_not_a_json_object_is_a_400(client: Client, content: bytes) -> None:
    response = await client.api.post(URL, content=content, headers={"content-type": "application/json"})
    assert error(response, 400)["code"] == "invalid_json"


@pytest.mark.parametrize("content_type", [None, "text/plain", "multipart/form-data; boundary=x", "application/jsonp"])
async def test_another_content_type_is_a_415(client: Client, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    response = await client.api.post(URL, content=b'{"prompt": "a"}', headers=headers)
    assert error(response, 415)["code"] == "unsupported_content_type"


async def test_a_charset_is_fine_and_a_compressed_body_is_a_415(client: Client) -> None:
    content = b'{"prompt": "a"}'
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert (await client.api.post(URL, content=content, headers=headers)).status_code == 200
    response = await client.api.post(URL, content=content, headers={**headers, "content-encoding": "gzip"})
    assert error(response, 415)["code"] == "unsupported_content_encoding"


async def test_a_body_of_the_largest_size_passes_and_one_more_byte_is_a_413() -> None:
    client = await make_client(max_body_bytes=1024)
    content = b'{"prompt": "a"}'.ljust(1024)
    headers = {"content-type": "application/json"}
    assert (await client.api.post(URL, content=content, headers=headers)).status_code == 200
    found = error(await client.api.post(URL, content=content + b" ", headers=headers), 413)
    assert found["message"] == "The body must have at most 1024 bytes."


async def test_an_unknown_path_is_a_404_and_a_wrong_method_a_405(client: Client) -> None:
    assert error(await client.api.get("/v1/nothing"), 404)["code"] == "not_found"
    assert error(await client.api.get("/v1/models/"), 404)["code"] == "model_not_found"
    response = await client.api.get(URL)
    assert error(response, 405)["code"] == "method_not_allowed"
    assert response.headers["allow"] == "POST"


async def test_whatever_else_the_framework_refuses_has_the_same_shape() -> None:
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": []})
    reply = await http_error(request, HTTPException(411, "A length is required."))
    assert reply.status_code == 411
    assert json.loads(reply.body)["error"]["message"] == "A length is required."


@pytest.mark.parametrize("reason", [RejectReason.QUEUE_FULL, RejectReason.WAIT_TOO_LONG, RejectReason.DEADLINE])
async def test_a_rejection_for_capacity_is_a_429_with_retry_after(client: Client, reason: RejectReason) -> None:
    client.engine.rejection = Rejected(reason, 12.2, "the wait would be 40 s")
    response = await client.generate(n=2)
    found = error(response, 429)
    assert found["message"] == "The wait would be 40 s."
    assert (found["code"], found["type"]) == (reason, "rate_limit_error")
    assert response.headers["retry-after"] == "13"
    assert await client.value("fluxpool_rejected_total", reason=reason) == 1
    assert await client.value("fluxpool_rejected_work_seconds_total", reason=reason) == 4


@pytest.mark.parametrize("reason", [RejectReason.DRAINING, RejectReason.NOT_READY])
async def test_a_rejection_for_the_servers_state_is_a_503_with_retry_after(
    client: Client, reason: RejectReason
) -> None:
    client.engine.rejection = Rejected(reason, 0.0, "Try another.")
    response = await client.generate()
    assert error(response, 503)["code"] == reason
    assert response.headers["retry-after"] == "1"


async def test_one_failed_image_fails_its_request_and_frees_the_others(client: Client) -> None:
    found = error(await client.generate(prompt="fail", n=3), 500)
    assert found["code"] == "generation_failed"
    assert "the latents are not finite" in str(found["message"])
    assert client.engine.tickets == []


async def test_one_bad_image_of_several_fails_the_request_and_gives_up_the_rest(client: Client) -> None:
    client.engine.gate.clear()
    client.engine.failing_seeds = {11}
    task = asyncio.create_task(client.generate(seed=10, n=3))
    await until(lambda: len(client.engine.tickets) == 3)
    client.engine.gate.set()
    assert "the latents are not finite" in str(error(await task, 500)["message"])
    assert client.engine.tickets == []
    assert await client.value("fluxpool_request_duration_seconds_count", outcome="failed") == 1
    assert await client.value("fluxpool_images_total", format="png") == 0
    assert (await client.generate(seed=12)).status_code == 200


async def test_an_image_that_cannot_be_encoded_is_a_500_and_is_given_up(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def encode(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(client.edge.encoder, "encode", encode)
    assert error(await client.generate(n=2), 500)["code"] == "internal_error"
    assert client.engine.tickets == []
    assert await client.value("fluxpool_request_duration_seconds_count", outcome="ok") == 0


async def test_a_client_that_leaves_while_its_image_is_encoded_is_not_counted_as_answered(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoding = asyncio.Event()

    async def encode(*_: object) -> bytes:
        encoding.set()
        await asyncio.Event().wait()
        return b""

    monkeypatch.setattr(client.edge.encoder, "encode", encode)
    leaving = asyncio.create_task(client.generate())
    await encoding.wait()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert client.engine.tickets == []
    assert await client.value("fluxpool_cancelled_total", stage="respond") == 1
    assert await client.value("fluxpool_request_duration_seconds_count", outcome="cancelled") == 1
    assert await client.value("fluxpool_request_duration_seconds_count", outcome="ok") == 0


async def test_a_path_or_method_of_any_length_is_quoted_in_part_only(client: Client) -> None:
    found = error(await client.api.get("/" + "x" * 10_000), 404)
    assert len(str(found["message"])) < 300
    found = error(await client.api.request("X" * 10_000, URL), 405)
    assert len(str(found["message"])) < 300


async def test_a_bug_is_a_500_that_tells_nothing_of_the_inside(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.engine, "admit", None)
    found = error(await client.generate(), 500)
    assert found["code"] == "internal_error"
    assert "NoneType" not in str(found["message"])


async def test_the_log_tells_true_cfg_and_no_prompt(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "fluxpool.access")
    await client.generate()
    await client.generate(negative_prompt="a secret", true_cfg_scale=2)
    lines = [record.__dict__["fields"] for record in caplog.records if record.name == "fluxpool.access"]
    assert [line.get("true_cfg_scale") for line in lines] == [None, 2.0]
    assert "secret" not in str(lines)


async def test_the_log_flags_a_request_whose_cost_is_predicted_and_also_one_refused_for_it(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "fluxpool.access")
    await client.generate(size="64x64")
    await client.generate(size="128x64")
    client.engine.rejection = Rejected(RejectReason.WAIT_TOO_LONG, 3, "the estimated wait is too long")
    await client.generate(size="128x64")
    lines = [record.__dict__["fields"] for record in caplog.records if record.name == "fluxpool.access"]
    assert [line["status"] for line in lines] == [200, 200, 429]
    assert [line.get("predicted_cost") for line in lines] == [None, True, True]


async def test_replies_of_the_api_end_their_connection_and_probes_do_not(client: Client) -> None:
    assert (await client.generate()).headers["connection"] == "close"
    assert (await client.generate(n=0)).headers["connection"] == "close"
    assert "connection" not in (await client.api.get("/healthz")).headers
    kept = await make_client(connection_close=False)
    assert "connection" not in (await kept.generate()).headers


async def test_a_body_that_never_comes_is_a_408(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "READ_TIMEOUT_SECONDS", 0.01)

    async def body() -> object:
        yield b'{"prompt": '
        await asyncio.Event().wait()

    response = await client.api.post(URL, content=body(), headers={"content-type": "application/json"})
    assert error(response, 408)["code"] == "body_timeout"


async def test_errors_are_json_in_ascii_whatever_the_client_sent(client: Client) -> None:
    response = await client.generate(model="モデル\u2028")
    assert response.content.isascii()
    assert "モデル" in json.loads(response.content)["error"]["message"]


async def test_the_models_are_listed_and_found_by_id(client: Client) -> None:
    listing = (await client.api.get("/v1/models")).json()
    assert listing["object"] == "list"
    (model,) = listing["data"]
    assert model["id"] == "acme/flux"
    assert (await client.api.get("/v1/models/acme/flux")).json() == model
    assert error(await client.api.get("/v1/models/other"), 404)["code"] == "model_not_found"
