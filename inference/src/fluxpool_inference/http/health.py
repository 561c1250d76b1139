"""Probes and metrics: `/healthz`, `/readyz`, `/metrics`."""

from starlette.requests import Request
from starlette.responses import Response

from fluxpool_inference.http.replies import JsonReply
from fluxpool_inference.metrics import CONTENT_TYPE, Metrics
from fluxpool_inference.readiness import Readiness


class Health:
    """The endpoints."""

    def __init__(self, readiness: Readiness, metrics: Metrics) -> None:
        self._readiness = readiness
        self._metrics = metrics

    async def live(self, _request: Request) -> Response:
        """200 while a worker lives or is being started; that it answers at all shows that the event loop turns."""
        if self._readiness.alive():
            return JsonReply({"status": "alive"})
        return JsonReply({"status": "dead", "message": "No worker process is left."}, status_code=503)

    async def ready(self, _request: Request) -> Response:
        """200 while requests are taken; else 503 with the reason and how far the start has come."""
        unready = self._readiness.problem()
        if unready is None:
            return JsonReply({"status": "ready"})
        return JsonReply({"status": unready.reason, "message": unready.message}, status_code=503)

    async def metrics(self, _request: Request) -> Response:
        """Prometheus' text format."""
        return Response(self._metrics.exposition(), media_type=CONTENT_TYPE)
