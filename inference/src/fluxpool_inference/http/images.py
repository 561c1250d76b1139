"""`POST /v1/images/generations`: admit all images of a request or none, make and encode them, answer."""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TypeVar

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from fluxpool_inference.encode import Encoder
from fluxpool_inference.engine import Engine, Rejected, RejectReason, RequestFailed, Ticket, TooLarge, TooLong
from fluxpool_inference.errors import (
    ApiError,
    ClientGoneError,
    GenerationFailedError,
    InvalidRequestError,
    OverloadedError,
    UnavailableError,
)
from fluxpool_inference.http.body import read_json_object
from fluxpool_inference.http.context import facts
from fluxpool_inference.http.fields import Schema
from fluxpool_inference.http.generation import Generation, GenerationParser
from fluxpool_inference.http.generation_fields import Bounds
from fluxpool_inference.http.hints import deadline_seconds, is_first_attempt, priority
from fluxpool_inference.http.replies import ImagesReply
from fluxpool_inference.metrics import Metrics
from fluxpool_inference.readiness import Readiness, Unready

TRUNCATED_HEADER = "x-fluxpool-truncated-tokens"
"""How many T5 tokens of the prompt did not fit and had no effect; absent if none."""
NEGATIVE_TRUNCATED_HEADER = "x-fluxpool-negative-truncated-tokens"
"""The same of the negative prompt."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Finished:
    """One image, encoded."""

    base64: bytes
    seed: int
    wait_seconds: float
    wait_estimate_seconds: float
    truncated_tokens: int
    negative_truncated_tokens: int


class Images:
    """The endpoint and what it works with."""

    def __init__(
        self,
        engine: Engine,
        encoder: Encoder,
        metrics: Metrics,
        readiness: Readiness,
        *,
        bounds: Bounds,
        max_body_bytes: int,
    ) -> None:
        self._engine = engine
        self._encoder = encoder
        self._metrics = metrics
        self._readiness = readiness
        self._parser = GenerationParser(bounds)
        self._max_body_bytes = max_body_bytes

    async def generate(self, request: Request) -> Response:
        """The handler. A client that goes away ends the work at once."""
        self._require_ready()
        try:
            body = await read_json_object(request, self._max_body_bytes)
            generation = self._parser.parse(body, self._engine.model, priority(request.headers))
            deadline = deadline_seconds(request.headers)
        except ClientGoneError:
            raise
        except InvalidRequestError:
            self._metrics.invalid_request()
            raise
        first = generation.images[0]
        facts(request).update(
            images=len(generation.images), size=str(generation.size), steps=first.steps, seed=first.seed
        )
        if first.true_cfg is not None:
            facts(request)["true_cfg_scale"] = first.true_cfg.scale
        if self._engine.cost_is_predicted(first):
            facts(request)["predicted_cost"] = True
        work = self._make(generation, request.headers, deadline)
        finished = await self._unless_in_vain(request.receive, work)
        facts(request).update(
            wait_seconds=round(max(image.wait_seconds for image in finished), 4),
            wait_estimate_seconds=round(max(image.wait_estimate_seconds for image in finished), 4),
        )
        return self._reply(generation, finished)

    def schema(self) -> Schema:
        """The JSON Schema of the body that `generate` takes."""
        return self._parser.fields.schema()

    def _require_ready(self) -> None:
        unready = self._readiness.problem()
        if unready:
            self._metrics.refused(unready.reason)
            raise _unavailable(unready)

    async def _unless_in_vain(self, receive: Receive, work: Coroutine[object, object, T]) -> T:
        """The result of `work`, which is cancelled if the client goes away or the server drops what it has admitted.

        Raises ClientGoneError or UnavailableError then.
        """
        making = asyncio.create_task(work)
        gone = asyncio.create_task(_disconnected(receive))
        dropped = asyncio.create_task(self._readiness.dropped())
        try:
            await asyncio.wait({making, gone, dropped}, return_when=asyncio.FIRST_COMPLETED)
            if making.done():
                return making.result()
            if dropped.done():
                raise _unavailable(dropped.result())
            raise ClientGoneError("The client closed the connection.")
        finally:
            for task in (making, gone, dropped):
                task.cancel()
            await asyncio.gather(making, gone, dropped, return_exceptions=True)

    async def _make(self, generation: Generation, headers: Headers, deadline: float | None) -> list[_Finished]:
        try:
            tickets = await self._engine.admit(
                generation.images, first_attempt=is_first_attempt(headers), deadline_seconds=deadline
            )
        except Rejected as rejected:
            raise _refusal(rejected) from None
        except TooLarge as too_large:
            self._metrics.invalid_request()
            raise InvalidRequestError(f"'size' {too_large.problem}.", param="size", code="size_too_large") from None
        except TooLong as too_long:
            self._metrics.invalid_request()
            raise InvalidRequestError(
                f"The request {too_long.problem}.", param="negative_prompt", code="request_too_long"
            ) from None
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._finish(ticket, generation)) for ticket in tickets]
        except* RequestFailed as failures:
            reason = str(failures.exceptions[0]).removesuffix(".")
            raise GenerationFailedError(f"The image could not be made: {reason}.") from failures
        finally:
            for ticket in tickets:
                ticket.cancel()
        return [task.result() for task in tasks]

    async def _finish(self, ticket: Ticket, generation: Generation) -> _Finished:
        image = await ticket.result()
        try:
            encoded = await self._encoder.encode(image.pixels, generation.image_format, generation.quality)
        except BaseException:
            ticket.cancel()  # before its pixels are released, which says that it was answered
            raise
        with image:
            self._metrics.image_encoded(generation.image_format)
            return _Finished(
                encoded,
                image.request.seed,
                image.timings.wait_seconds,
                ticket.wait_estimate_seconds,
                image.truncated_tokens,
                image.negative_truncated_tokens,
            )

    def _reply(self, generation: Generation, finished: Sequence[_Finished]) -> Response:
        first = finished[0]  # all have the same prompts
        truncated = {
            TRUNCATED_HEADER: first.truncated_tokens,
            NEGATIVE_TRUNCATED_HEADER: first.negative_truncated_tokens,
        }
        return ImagesReply(
            created=int(time.time()),
            images=[(image.base64, image.seed) for image in finished],
            image_format=generation.image_format,
            size=str(generation.size),
            headers={name: str(tokens) for name, tokens in truncated.items() if tokens},
        )


def _refusal(rejected: Rejected) -> ApiError:
    unavailable = rejected.reason in {RejectReason.DRAINING, RejectReason.NOT_READY}
    kind = UnavailableError if unavailable else OverloadedError
    message = f"{rejected.message[:1].upper()}{rejected.message[1:].removesuffix('.')}."
    return kind(message, code=rejected.reason.value, retry_after_seconds=rejected.retry_after_seconds)


def _unavailable(unready: Unready) -> UnavailableError:
    return UnavailableError(unready.message, code=unready.reason, retry_after_seconds=unready.retry_after_seconds)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
