"""Instant queries of a Prometheus, as the operator makes them."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from fluxpool_demo.errors import UnreachableError

POD_UID = "fluxpool_pod_uid"
WAITING = "fluxpool_requests_waiting"
RUNNING = "fluxpool_requests_running"
BATCH_SIZE = "fluxpool_batch_size_limit"
PACE_STEPS = "fluxpool_pace_steps_total"
PACE_OVERRUNS = "fluxpool_pace_overruns_total"


@dataclass(frozen=True, slots=True)
class Reading:
    """One series at one moment."""

    labels: Mapping[str, str]
    value: float


class Prometheus:
    """One server.

    Args:
        http: a client whose base URL is the server's.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def query(self, expression: str) -> list[Reading]:
        """The value of each series now.

        Raises:
            UnreachableError: no answer, or an error.
        """
        try:
            answer = await self._http.get("/api/v1/query", params={"query": expression})
            answer.raise_for_status()
            found = answer.json()["data"]["result"]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise UnreachableError(f"Prometheus does not answer: {error!r}") from error
        return [Reading(series["metric"], float(series["value"][1])) for series in found]


def of_pool(namespace: str, pool: str, *metrics: str) -> str:
    """A selector of these metrics of one pool's pods."""
    return f'{{__name__=~"{"|".join(metrics)}",fluxpool_namespace="{namespace}",fluxpool_pool="{pool}"}}'
