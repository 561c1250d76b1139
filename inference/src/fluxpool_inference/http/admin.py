"""The admin port: what the operator reads and sets. Everything on it needs the bearer token."""

import hmac
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fluxpool_inference.engine import Engine, EngineStatus
from fluxpool_inference.errors import InvalidRequestError, UnauthorizedError
from fluxpool_inference.http.body import read_json_object
from fluxpool_inference.http.context import facts
from fluxpool_inference.http.fields import Fields
from fluxpool_inference.http.replies import JsonReply
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

    async def status(self, _request: Request) -> Response:
        """What the engine does now."""
        unready = self._readiness.problem()
        return JsonReply(
            _status_body(self._engine.status(), self._model_name)
            | {"ready": unready is None, "draining": self._readiness.draining}
        )

    async def set_batch_size(self, request: Request) -> Response:
        """Set the rows per step, from the next step on. Raises InvalidRequestError outside the bounds."""
        status = self._engine.status()
        fields = Fields(await read_json_object(request, MAX_BODY_BYTES))
        rows = fields.integer("batch_size", minimum=status.batch_size_min, maximum=status.batch_size_max)
        fields.refuse_unknown()
        if rows is None:
            raise InvalidRequestError(
                f"'batch_size' is required: an integer from {status.batch_size_min} to {status.batch_size_max}.",
                param="batch_size",
                code="missing_required_parameter",
            )
        facts(request).update(batch_size=rows, batch_size_before=status.batch_size)
        return JsonReply({"batch_size": await self._engine.set_batch_size(rows)})


def _status_body(status: EngineStatus, model_name: str) -> dict[str, object]:
    return {
        "model": model_name,
        "batch_size": status.batch_size,
        "batch_size_min": status.batch_size_min,
        "batch_size_max": status.batch_size_max,
        "waiting": status.waiting,
        "running": status.running,
        "queued_work_seconds": status.queued_work_seconds,
        "running_work_seconds": status.running_work_seconds,
        "warm_buckets": [
            {
                "width": bucket.width,
                "height": bucket.height,
                "step_seconds": {"fixed": bucket.fixed_seconds, "per_row": bucket.per_row_seconds},
            }
            for bucket in status.warm_buckets
        ],
        "paced": asdict(status.pace) if status.pace else None,
        "workers": [asdict(worker) for worker in status.workers],
        "version": VERSION,
    }
