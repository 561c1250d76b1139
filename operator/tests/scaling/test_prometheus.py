"""The client against answers of every kind, without a network."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from scaling.stage import URL, failure, vector

from fluxpool_operator.scaling import Prometheus
from fluxpool_operator.scaling.errors import (
    BadResponseError,
    PrometheusError,
    QueryError,
    UnauthorizedError,
    UnreachableError,
)
from fluxpool_operator.scaling.prometheus import Sample

Handler = Callable[[httpx.Request], httpx.Response]


def client(answer: httpx.Response | Exception | Handler, url: str = URL, **options: object) -> Prometheus:
    def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)

    return Prometheus(url, transport=httpx.MockTransport(handle), **options)  # type: ignore[arg-type]


async def test_an_instant_vector_becomes_samples() -> None:
    answer = vector(({"__name__": "up", "job": "a"}, 1), ({"job": "b"}, "2.5e3"), at=1790000000.123)
    assert await client(answer).query("up") == [
        Sample({"__name__": "up", "job": "a"}, 1.0, 1790000000.123),
        Sample({"job": "b"}, 2500.0, 1790000000.123),
    ]


async def test_nan_and_infinity_are_numbers_of_prometheus() -> None:
    samples = await client(vector(({}, "NaN"), ({}, "+Inf"), ({}, "-Inf"))).query("up")
    assert math.isnan(samples[0].value)
    assert [sample.value for sample in samples[1:]] == [math.inf, -math.inf]


async def test_an_empty_vector_is_no_error() -> None:
    assert await client(vector()).query("up") == []


async def test_the_query_is_posted_to_the_api_below_the_path_of_the_url() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return vector()

    await client(handle, "https://mimir.test/prometheus/").query('up{a="b c"}')
    assert (seen[0].method, str(seen[0].url)) == ("POST", "https://mimir.test/prometheus/api/v1/query")
    assert seen[0].content == b"query=up%7Ba%3D%22b+c%22%7D"


async def test_headers_are_sent_and_the_token_is_read_anew_for_every_query(tmp_path: Path) -> None:
    token, seen = tmp_path / "token", []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append((request.headers["Authorization"], request.headers["X-Scope-OrgID"]))
        return vector()

    prometheus = client(handle, token_file=token, headers={"X-Scope-OrgID": "team"})
    for text in ("one\n", "two"):
        token.write_text(text)
        await prometheus.query("up")
    assert seen == [("Bearer one", "team"), ("Bearer two", "team")]


async def test_a_token_file_that_cannot_be_read_is_unauthorized(tmp_path: Path) -> None:
    with pytest.raises(UnauthorizedError, match=r"token file for Prometheus cannot be read: .*No such file"):
        await client(vector(), token_file=tmp_path / "absent").query("up")


HTML = httpx.Response(200, text="<html>welcome</html>")
MATRIX = httpx.Response(200, json={"status": "success", "data": {"resultType": "matrix", "result": []}})
HISTOGRAM = httpx.Response(
    200, json={"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "histogram": [0, {}]}]}}
)
ANSWERS = [
    (httpx.ConnectError("connection refused"), UnreachableError, "cannot be reached: connection refused"),
    (httpx.ConnectError("certificate verify failed"), UnreachableError, "certificate verify failed"),
    (httpx.ReadTimeout("slow"), UnreachableError, "did not answer within 5 s"),
    (httpx.RemoteProtocolError(""), UnreachableError, "cannot be reached: RemoteProtocolError"),
    (httpx.Response(401, text="who?"), UnauthorizedError, "answered 401 Unauthorized"),
    (failure(403, "x", "y"), UnauthorizedError, "answered 403 Forbidden"),
    (failure(400, "bad_data", "parse error"), QueryError, "answered 400 Bad Request: bad_data: parse error"),
    (
        failure(422, "execution", "too many samples"),
        QueryError,
        "answered 422 .*: execution: too many samples",
    ),
    (failure(503, "timeout", "query timed out"), QueryError, "503 Service Unavailable: timeout: query timed out"),
    (httpx.Response(500, text="boom"), QueryError, "answered 500 Internal Server Error"),
    (httpx.Response(502), QueryError, "answered 502 Bad Gateway"),
    (
        httpx.Response(404, text="no"),
        BadResponseError,
        "answered 404 Not Found, which is not an answer",
    ),
    (httpx.Response(302, headers={"Location": "/login"}), BadResponseError, "answered 302 Found, which is not"),
    (HTML, BadResponseError, "answered 200 OK, which is not an answer of a Prometheus"),
    (httpx.Response(200, json=[1]), BadResponseError, "which is not an answer of a Prometheus"),
    (httpx.Response(200, json={"status": "success"}), BadResponseError, "but no instant vector: KeyError"),
    (MATRIX, BadResponseError, "but no instant vector: .*resultType is matrix"),
    (HISTOGRAM, BadResponseError, "but no instant vector"),
]


@pytest.mark.parametrize(("answer", "error", "message"), ANSWERS)
async def test_whatever_else_comes_is_an_error_that_says_so(
    answer: httpx.Response | Exception, error: type[PrometheusError], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        await client(answer).query("up")
    assert str(raised.value).startswith("http://prometheus.test:9090 ")


async def test_an_answer_that_trickles_in_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxpool_operator.scaling.prometheus.TIMEOUT_SECONDS", 0.01)

    class Never(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError

    with pytest.raises(UnreachableError, match="did not answer within"):
        await Prometheus(URL, transport=Never()).query("up")


async def test_credentials_of_the_url_are_sent_but_never_said() -> None:
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        return httpx.Response(500)

    with pytest.raises(QueryError) as raised:
        await client(handle, "http://me:secret@prometheus.test").query("up")
    assert seen == ["Basic bWU6c2VjcmV0"]
    assert str(raised.value) == "http://prometheus.test answered 500 Internal Server Error"


async def test_a_ca_file_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("nothing")
    with pytest.raises(OSError, match=r"NO_CERTIFICATE_OR_CRL_FOUND|no certificate or crl found"):
        Prometheus(URL, ca_file=empty)


async def test_closing_closes_the_connections() -> None:
    prometheus = client(vector())
    await prometheus.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await prometheus.query("up")
