"""The form of an error, whoever makes it: a wrong path or method, the framework, a bug."""

import json

import pytest
from edge_client import URL, Client, error
from starlette.exceptions import HTTPException
from starlette.requests import Request

from fluxpool_inference.http.replies import http_error


async def test_an_unknown_path_is_a_404_and_a_wrong_method_a_405(client: Client) -> None:
    assert error(await client.api.get("/v1/nothing"), 404)["code"] == "not_found"
    assert error(await client.api.get("/v1/models/"), 404)["code"] == "model_not_found"
    response = await client.api.get(URL)
    assert error(response, 405)["code"] == "method_not_allowed"
    assert response.headers["allow"] == "POST"


async def test_a_path_or_method_of_any_length_is_quoted_in_part_only(client: Client) -> None:
    found = error(await client.api.get("/" + "x" * 10_000), 404)
    assert len(str(found["message"])) < 300
    found = error(await client.api.request("X" * 10_000, URL), 405)
    assert len(str(found["message"])) < 300


async def test_whatever_else_the_framework_refuses_has_the_same_shape() -> None:
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": []})
    reply = await http_error(request, HTTPException(411, "A length is required."))
    assert reply.status_code == 411
    assert json.loads(reply.body)["error"]["message"] == "A length is required."


async def test_a_bug_is_a_500_that_tells_nothing_of_the_inside(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.engine, "admit", None)
    found = error(await client.generate(), 500)
    assert found["code"] == "internal_error"
    assert "NoneType" not in str(found["message"])


async def test_errors_are_json_in_ascii_whatever_the_client_sent(client: Client) -> None:
    response = await client.generate(model="モデル\u2028")
    assert response.content.isascii()
    assert "モデル" in json.loads(response.content)["error"]["message"]
