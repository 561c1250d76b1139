"""The admin port: what the operator reads and sets. Everything on it needs the bearer token."""

import hmac
import logging
from collections.abc import Callable
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fluxpool_inference.engine import BucketCost, Engine, EngineStatus
from fluxpool_inference.errors import UnauthorizedError
from fluxpool_inference.http.body import read_json_object
from fluxpool_inference.http.context import facts
from fluxpool_inference.http.fields import RequiredInteger, Schema, object_schema, refuse_unknown
from fluxpool_inference.http.replies import JsonReply
from fluxpool_inference.http.schemas import AdminStatus, BatchSize, BucketItem, StepSeconds
from fluxpool_inference.readiness import Readiness
from fluxpool_inference.version import VERSION

MAX_BODY_BYTES = 4096

logger = logging.getLogger(__name__)


def token_from_file(path: Path) -> Callable[[], str]:
    """Reads the token anew at each call, so that a changed Secret needs no restart.

    The reader returns "", with which nobody gets in, where there is no readable token.
    """

    def read() -> str:
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            logger.error("the admin token cannot be read: %s", error)  # noqa: TRY400 - the reason is all there is to say
            return ""

    return read


class BearerAuth:
    """Lets a request through to `app` if it carries the token; compares in the same time wherever they differ."""

    def __init__(self, app: ASGIApp, token: Callable[[], str]) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 401."""
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        token = self._token()
        if token and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
            await self._app(scope, receive, send)
            return
        error = UnauthorizedError(
            "The admin API needs the header 'Authorization: Bearer <token>' with this pool's token."
        )
        await JsonReply(error.body(), error.status, {"www-authenticate": "Bearer"})(scope, receive, send)


class Admin:
    """The endpoints."""

    def __init__(self, engine: Engine, readiness: Readiness, model_name: str) -> None:
        self._engine = engine
        self._readiness = readiness
        self._model_name = model_name
        status = engine.status()
        self._batch_size = RequiredInteger(
            "batch_size", "Most rows of a denoising step.", status.batch_size_min, status.batch_size_max
        )

    async def status(self) -> Response:
        """What the engine does now."""
        return JsonReply(self._status(self._engine.status()).model_dump())

    async def set_batch_size(self, request: Request) -> Response:
        """Set the rows per step, from the next step on. Raises InvalidRequestError outside the bounds."""
        body = await read_json_object(request, MAX_BODY_BYTES)
        rows = self._batch_size.read(body)
        refuse_unknown(body, [self._batch_size])
        facts(request).update(batch_size=rows, batch_size_before=self._engine.status().batch_size)
        return JsonReply(BatchSize(batch_size=await self._engine.set_batch_size(rows)).model_dump())

    def batch_size_schema(self) -> Schema:
        """The JSON Schema of the body that `set_batch_size` takes."""
        return object_schema("SetBatchSizeRequest", [self._batch_size])

    def _status(self, status: EngineStatus) -> AdminStatus:
        return AdminStatus(
            model=self._model_name,
            batch_size=status.batch_size,
            batch_size_min=status.batch_size_min,
            batch_size_max=status.batch_size_max,
            waiting=status.waiting,
            running=status.running,
            queued_work_seconds=status.queued_work_seconds,
            running_work_seconds=status.running_work_seconds,
            warm_buckets=[_item(bucket) for bucket in status.warm_buckets],
            predicted_buckets=[_item(bucket) for bucket in status.predicted_buckets],
            draining=self._readiness.draining,
            ready=self._readiness.problem() is None,
            runtime=status.model.runtime if status.model else None,
            paced=status.pace,
            workers=list(status.workers),
            version=VERSION,
        )


def _item(bucket: BucketCost) -> BucketItem:
    step = StepSeconds(fixed=bucket.fixed_seconds, per_row=bucket.per_row_seconds)
    return BucketItem(width=bucket.width, height=bucket.height, step_seconds=step)
