"""Probes and metrics: `/healthz`, `/readyz`, `/metrics`."""

from starlette.responses import Response

from fluxpool_inference.http.replies import JsonReply
from fluxpool_inference.http.schemas import ProbeReply
from fluxpool_inference.metrics import CONTENT_TYPE, Metrics
from fluxpool_inference.readiness import Readiness


class Health:
    """The endpoints."""

    def __init__(self, readiness: Readiness, metrics: Metrics) -> None:
        self._readiness = readiness
        self._metrics = metrics

    async def live(self) -> Response:
        """200 while a worker lives or is being started; that it answers at all shows that the event loop turns."""
        if self._readiness.alive():
            return _probe("alive")
        return _probe("dead", "No worker process is left.")

    async def ready(self) -> Response:
        """200 while requests are taken; else 503 with the reason; of a start, also for how long it has run."""
        unready = self._readiness.problem()
        if unready is None:
            return _probe("ready")
        return _probe(unready.reason, unready.message)

    async def metrics(self) -> Response:
        """Prometheus' text format."""
        return Response(self._metrics.exposition(), media_type=CONTENT_TYPE)


def _probe(status: str, problem: str | None = None) -> Response:
    body = ProbeReply(status=status, message=problem).model_dump(exclude_none=True)
    return JsonReply(body, status_code=503 if problem else 200)
