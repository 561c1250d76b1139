"""The client of Prometheus' HTTP API: instant queries, typed samples, typed errors. The only user of that API.

https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries. Anything that speaks it will do: Thanos,
Mimir, VictoriaMetrics, a proxy that asks for a token.
"""

import asyncio
import json
import ssl
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from fluxpool_operator.scaling.errors import BadResponseError, QueryError, UnauthorizedError, UnreachableError

TIMEOUT_SECONDS = 5.0
"""For one query. The next tick asks again, so a slow answer is worth no more than none."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One element of an instant vector.

    Attributes:
        labels: of the series; `__name__` is the metric, if the expression kept it.
        value: the value, which may be NaN or infinite.
        at: Unix time the query was evaluated at, by Prometheus' own clock.
    """

    labels: Mapping[str, str]
    value: float
    at: float


class Prometheus:
    """A connection to one Prometheus.

    Args:
        url: base URL; a path is kept.
        token_file: file with a bearer token, read anew for every query, for tokens are rotated.
        ca_file: PEM file of the CA to trust instead of the system's.
        headers: sent with every query.
        transport: in place of the network, for tests.

    Raises:
        OSError: `ca_file` cannot be read (ssl.SSLError: it is not a PEM file).
    """

    def __init__(
        self,
        url: str,
        *,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._endpoint = httpx.URL(url.rstrip("/") + "/api/v1/query")
        self._name = str(httpx.URL(url).copy_with(username=None, password=None)).rstrip("/")
        self._client = httpx.AsyncClient(
            auth=_TokenFile(token_file) if token_file else None,
            verify=ssl.create_default_context(cafile=ca_file) if ca_file else True,
            headers=dict(headers or {}),
            transport=transport,
            timeout=TIMEOUT_SECONDS,
        )

    async def query(self, promql: str) -> list[Sample]:
        """Evaluate an instant query now.

        Raises:
            PrometheusError: nothing could be read.
        """
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                response = await self._client.post(self._endpoint, data={"query": promql})
        except (TimeoutError, httpx.TimeoutException):
            raise UnreachableError(f"{self._name} did not answer within {TIMEOUT_SECONDS:g} s") from None
        except httpx.HTTPError as error:
            raise UnreachableError(f"{self._name} cannot be reached: {str(error) or type(error).__name__}") from error
        return self._read(response)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _read(self, response: httpx.Response) -> list[Sample]:
        answer = f"{self._name} answered {response.status_code} {response.reason_phrase}".rstrip()
        if response.status_code in {401, 403}:
            raise UnauthorizedError(answer)
        body = _json(response)
        if body.get("status") == "error":
            raise QueryError(f"{answer}: {body.get('errorType')}: {body.get('error')}")
        if response.is_server_error:
            raise QueryError(answer)
        if not response.is_success or body.get("status") != "success":
            raise BadResponseError(f"{answer}, which is not an answer of a Prometheus")
        try:
            return _vector(body["data"])
        except (KeyError, TypeError, ValueError) as error:
            raise BadResponseError(f"{answer}, but no instant vector: {error!r}") from error


class _TokenFile(httpx.Auth):
    """Sends the token that the file holds at that moment."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        try:
            token = self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UnauthorizedError(f"the token file for Prometheus cannot be read: {error}") from error
        request.headers["Authorization"] = f"Bearer {token}"
        yield request


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        body = json.loads(response.content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _vector(data: Mapping[str, Any]) -> list[Sample]:
    if data["resultType"] != "vector":
        raise ValueError(f"resultType is {data['resultType']}")
    return [_sample(element) for element in data["result"]]


def _sample(element: Mapping[str, Any]) -> Sample:
    at, value = element["value"]
    return Sample(dict(element["metric"]), float(value), float(at))
