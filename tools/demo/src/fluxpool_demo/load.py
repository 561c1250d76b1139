"""An open-loop load of image requests by the official `openai` client, with its default retries.

Every request has a time at which it is due. Its latency counts from then, not from when it was sent: if the machine or
the client falls behind, the wait is seen and not hidden (no coordinated omission). A request that the client gave up on
after its retries is failed. What retries would hide is counted apart: answers of 429, and attempts without any answer.
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from openai import AsyncOpenAI, DefaultAsyncHttpxClient, OpenAIError

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class ImageJob:
    """What is asked for: one image."""

    model: str
    prompt: str
    steps: int
    seed: int
    size: str


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """How one request went. Times are seconds on the run's clock.

    Attributes:
        due_at: when the schedule wanted it sent.
        done_at: when its final outcome was known.
        ok: whether an image came.
        rejections: answers of 429 on the way, which the client retried or gave up on.
        unanswered: attempts that ended without an answer: connection refused, broken, or timed out.
        error: what the client raised in the end; None if ok.
    """

    due_at: float
    sent_at: float
    done_at: float
    ok: bool
    rejections: int = 0
    unanswered: int = 0
    error: str | None = None

    @property
    def latency_seconds(self) -> float:
        """From when the request was due to its final outcome."""
        return self.done_at - self.due_at


@dataclass(slots=True)
class _Attempts:
    sent: int = 0
    answered: int = 0
    rejected: int = 0


_attempts_of_request: ContextVar[_Attempts] = ContextVar("attempts")


class _Request(Protocol):
    headers: MutableMapping[str, str]


class _Response(Protocol):
    status_code: int


async def _before(request: _Request) -> None:
    _attempts_of_request.get().sent += 1
    # A key that fluxpool does not ask for, and that `kubectl proxy` would hand to the API server in place of its own.
    request.headers.pop("Authorization", None)


async def _after(response: _Response) -> None:
    attempts = _attempts_of_request.get()
    attempts.answered += 1
    attempts.rejected += response.status_code == HTTPStatus.TOO_MANY_REQUESTS


@asynccontextmanager
async def image_client(base_url: str) -> AsyncIterator["ImageClient"]:
    """A client of one endpoint.

    Args:
        base_url: up to and without `/v1`.
    """
    transport = DefaultAsyncHttpxClient(event_hooks={"request": [_before], "response": [_after]})
    async with AsyncOpenAI(base_url=f"{base_url}/v1", api_key="none", http_client=transport) as client:
        yield ImageClient(client)


class ImageClient:
    """Asks for single images and tells how it went."""

    def __init__(self, client: AsyncOpenAI, clock: Clock = time.monotonic) -> None:
        self._client = client
        self._clock = clock

    async def models(self) -> list[str]:
        """Ids of the models the endpoint serves."""
        _attempts_of_request.set(_Attempts())
        return [model.id async for model in self._client.models.list()]

    async def ask(self, job: ImageJob, due_at: float | None = None) -> tuple[RequestRecord, bytes | None]:
        """Ask for one image. Returns the record and the PNG, or None in its place if the request failed.

        Args:
            job: what to ask for.
            due_at: when the request was due; now if None.
        """
        attempts = _Attempts()
        _attempts_of_request.set(attempts)
        sent_at = self._clock()
        image, error = None, None
        try:
            image = await self._generate(job)
        except OpenAIError as raised:
            error = f"{type(raised).__name__}: {raised}"
        record = RequestRecord(
            due_at=sent_at if due_at is None else due_at,
            sent_at=sent_at,
            done_at=self._clock(),
            ok=error is None,
            rejections=attempts.rejected,
            unanswered=attempts.sent - attempts.answered,
            error=error,
        )
        return record, image

    async def _generate(self, job: ImageJob) -> bytes:
        answer = await self._client.images.generate(
            model=job.model,
            prompt=job.prompt,
            size=job.size,
            response_format="b64_json",
            extra_body={"num_inference_steps": job.steps, "seed": job.seed},
        )
        encoded = answer.data[0].b64_json if answer.data else None
        if encoded is None:
            raise OpenAIError("the answer holds no image")
        return base64.b64decode(encoded)


@dataclass(slots=True)
class OpenLoop:
    """Sends each job at its time, however the earlier ones fare, and keeps the records in order of completion."""

    client: ImageClient
    clock: Clock = time.monotonic
    on_image: Callable[[ImageJob, bytes], None] = lambda _job, _image: None
    records: list[RequestRecord] = field(default_factory=list)
    sent: int = 0

    @property
    def in_flight(self) -> int:
        """Requests sent and not answered."""
        return self.sent - len(self.records)

    async def run(self, arrivals: Iterable[tuple[float, ImageJob]]) -> None:
        """Send everything and wait for every final outcome. Cancelling it cancels what is in flight.

        Args:
            arrivals: times on the clock, ascending, and what to ask for then.
        """
        async with asyncio.TaskGroup() as tasks:
            for due_at, job in arrivals:
                await asyncio.sleep(max(0.0, due_at - self.clock()))
                self.sent += 1
                tasks.create_task(self._one(job, due_at))

    async def _one(self, job: ImageJob, due_at: float) -> None:
        record, image = await self.client.ask(job, due_at)
        self.records.append(record)
        if image is not None:
            self.on_image(job, image)
