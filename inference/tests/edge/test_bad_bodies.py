"""Bodies that are refused before their fields are looked at: no JSON, too large, or never complete."""

import asyncio

import pytest
from edge_client import URL, Client, error, make_client

from fluxpool_inference.http import body as body_module


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


async def test_a_number_of_too_many_digits_is_told_in_words_of_the_api_and_not_of_python(client: Client) -> None:
    for content in (b'{"seed": ' + b"9" * 5000 + b"}", b'{"seed": ' + b"9" * 4001 + b"}"):
        response = await client.api.post(URL, content=content, headers={"content-type": "application/json"})
        found = error(response, 400)
        assert found["message"] == "The body is not valid JSON: a number has more than 4000 digits."


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


async def test_a_body_that_never_comes_is_a_408(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "READ_TIMEOUT_SECONDS", 0.01)

    async def body() -> object:
        yield b'{"prompt": '
        await asyncio.Event().wait()

    response = await client.api.post(URL, content=body(), headers={"content-type": "application/json"})
    assert error(response, 408)["code"] == "body_timeout"
