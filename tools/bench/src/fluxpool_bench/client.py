"""Asks once. No retries: a refused request is a result, not something to hide."""

import asyncio
import time
from dataclasses import dataclass
from enum import StrEnum

import httpx

from fluxpool_bench.workload import Request

METRICS_SECONDS = 5.0


class Outcome(StrEnum):
    """How a request ended: answered whole, refused for lack of room (429, 503), given up as its kind says, or else."""

    OK = "ok"
    REFUSED = "refused"
    GAVE_UP = "gave up"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Record:
    """One request's life, in seconds from the start of the run.

    Attributes:
        due: When the schedule wanted it sent; in a closed loop, when it was sent.
        sent: When it was sent.
        done: When the last byte of the answer was there.
        images: Images in the answer.
        detail: HTTP status and the server's message, for what is not ok.
    """

    index: int
    kind: str
    due: float
    sent: float
    done: float
    outcome: Outcome
    images: int
    bytes: int
    detail: str = ""

    @property
    def latency(self) -> float:
        """Seconds from due to done: what a user who wanted the image then has waited."""
        return self.done - self.due


class Target:
    """One server.

    Args:
        base_url: What an OpenAI client would be given, such as http://127.0.0.1:8000/v1.
        model: Name to send; None sends none.
        timeout_seconds: For the whole of a request, to the last byte of its answer.
        api_key: Sent as the bearer's token.
    """

    def __init__(self, base_url: str, model: str | None, timeout_seconds: float, api_key: str = "none") -> None:
        self.base_url = base_url.rstrip("/")
        self._model = model
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        headers = {"Authorization": f"Bearer {api_key}"}
        self._timeout_seconds = timeout_seconds
        # httpx would limit each read on its own, and an answer that trickles would never be too late.
        self._http = httpx.AsyncClient(timeout=None, limits=limits, headers=headers)  # noqa: S113 - `ask` has a limit

    async def ask(self, request: Request, start: float, due: float | None = None) -> Record:
        """Send one request and read the whole answer. Never raises for what a server or a network can do.

        Args:
            request: What to ask.
            start: `time.perf_counter()` at the start of the run.
            due: When it was due, in seconds from `start`; None in a closed loop.
        """
        sent = time.perf_counter() - start
        body = request.kind.body(self._model, request.prompt, request.seed)
        outcome, images, size, detail = Outcome.FAILED, 0, 0, ""
        patience = request.kind.give_up_seconds
        limit = self._timeout_seconds if patience is None else min(patience, self._timeout_seconds)
        try:
            async with asyncio.timeout(limit):
                response = await self._http.post(f"{self.base_url}/images/generations", json=body)
            done = time.perf_counter() - start  # strictly before the answer is parsed: that is the client's time
            size = len(response.content)
            outcome, images, detail = _judge(response, request.kind.n)
        except TimeoutError:
            done = time.perf_counter() - start
            if limit == patience:
                outcome = Outcome.GAVE_UP
            else:
                detail = f"no whole answer within {limit:g} s"
        except httpx.HTTPError as error:
            done = time.perf_counter() - start
            detail = f"{type(error).__name__}: {error}".removesuffix(": ")
        return Record(
            request.index, request.kind.name, sent if due is None else due, sent, done, outcome, images, size, detail
        )

    async def metrics(self) -> str | None:
        """The text of `/metrics` at the server's root; None where there is none."""
        root = self.base_url.removesuffix("/v1")
        try:
            async with asyncio.timeout(METRICS_SECONDS):
                response = await self._http.get(f"{root}/metrics")
        except (httpx.HTTPError, TimeoutError):
            return None
        return response.text if response.status_code == httpx.codes.OK else None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _judge(response: httpx.Response, wanted: int) -> tuple[Outcome, int, str]:
    if response.status_code == httpx.codes.OK:
        try:
            images = sum(1 for item in response.json()["data"] if item.get("b64_json") or item.get("url"))
        except (ValueError, KeyError, TypeError, AttributeError):
            return Outcome.FAILED, 0, "200, but not an image response"
        if images < wanted:
            return Outcome.FAILED, 0, f"200, but only {images} of {wanted} images"
        return Outcome.OK, images, ""
    refused = response.status_code in {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE}
    detail = f"{response.status_code}: {response.text[:200]}"
    return (Outcome.REFUSED if refused else Outcome.FAILED), 0, detail
