"""What the tests of scaling play on: a Prometheus made of numbers, pods, and a clock that is turned by hand."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import httpx
from api.pools import pool as fluxpool

from fluxpool_operator import contract
from fluxpool_operator.api import FluxPool
from fluxpool_operator.scaling import Autoscaler, Prometheus
from fluxpool_operator.scaling.outcome import Outcome
from fluxpool_operator.world import PodView

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
URL = "http://prometheus.test:9090"
Reply = httpx.Response | Exception
QUICK = {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 10}}}
"""Changes of `scaling` after which a pool shrinks within a few ticks."""


def pod(name: str, *, ready: bool = True, **changes: Any) -> PodView:
    """A pod that became ready ten minutes before the start of the test, and whose container started before that."""
    seen: dict[str, Any] = {
        "uid": f"uid-{name}",
        "name": name,
        "ip": "10.0.0.1",
        "node": "n1",
        "created_at": START - timedelta(seconds=640),
        "scheduled_at": START - timedelta(seconds=640),
        "started_at": START - timedelta(seconds=630),
        "ready_at": START - timedelta(seconds=600) if ready else None,
        "ready": ready,
        "template_hash": "t1",
    }
    return PodView(**seen | changes)


def vector(*elements: tuple[dict[str, str], float | str], at: float = 0.0) -> httpx.Response:
    """The answer to an instant query."""
    result = [{"metric": labels, "value": [at, str(value)]} for labels, value in elements]
    return httpx.Response(200, json={"status": "success", "data": {"resultType": "vector", "result": result}})


def failure(status: int, kind: str, message: str) -> httpx.Response:
    """How Prometheus says that a query failed."""
    return httpx.Response(status, json={"status": "error", "errorType": kind, "error": message})


@dataclass
class Gauges:
    """What one pod's newest scrape says."""

    waiting: float | str = 0
    running: float | str = 0
    utilization: float | str = 0
    limit: float = 8
    age: float = 1.0
    process_started_at: float = (START - timedelta(seconds=629)).timestamp()
    absent: tuple[str, ...] = ()

    def samples(self, labels: dict[str, str], now: float) -> list[tuple[dict[str, str], float | str]]:
        values: dict[str, float | str] = {
            contract.METRIC_REQUESTS_WAITING: self.waiting,
            contract.METRIC_REQUESTS_RUNNING: self.running,
            contract.METRIC_GPU_UTILIZATION: self.utilization,
            contract.METRIC_BATCH_SIZE_LIMIT: self.limit,
            contract.METRIC_PROCESS_START_TIME: self.process_started_at,
            contract.METRIC_STEP_FIXED: 0.3,
            contract.METRIC_STEP_PER_ROW: 0.1,
            "fluxpool_scraped_at_seconds": now - self.age,
        }
        return [({"__name__": name, **labels}, value) for name, value in values.items() if name not in self.absent]


@dataclass
class Stage:
    """One pool, its pods and their gauges, and time. `tick` polls and evaluates."""

    spec: dict[str, Any] = field(default_factory=dict)
    pods: list[PodView] = field(default_factory=list)
    gauges: dict[str, Gauges] = field(default_factory=dict)
    mean_work: float | str | None = None
    replicas: int | None = None
    status: dict[str, Any] | None = None
    mean_work_broken: httpx.Response | None = None
    broken: Callable[[], Reply] | None = None
    seconds: float = 0.0
    queries: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.autoscaler = Autoscaler(
            Prometheus(URL, transport=httpx.MockTransport(self._answer)), clock=lambda: self.seconds
        )

    def serve(self, count: int, **gauges: Any) -> None:
        """`count` ready pods, all with these gauges."""
        self.pods = [pod(f"pod-{number}") for number in range(count)]
        self.gauges = {one.uid: Gauges(**gauges) for one in self.pods}

    def tick(self, seconds: float = 2.0, *, name: str = "demo") -> Outcome:
        """Let time pass, poll, evaluate."""
        self.seconds += seconds
        asyncio.run(self.autoscaler.poll())
        return self.evaluate(name)

    def evaluate(self, name: str = "demo") -> Outcome:
        replicas = len(self.pods) if self.replicas is None else self.replicas
        now = START + timedelta(seconds=self.seconds)
        return self.autoscaler.evaluate(self.pool(name), self.pods, replicas, now)

    def pool(self, name: str = "demo") -> FluxPool:
        return fluxpool(name, status=self.status, **self.spec)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        query = parse_qs(request.content.decode())["query"][0]
        self.queries.append(query)
        if self.broken:
            reply = self.broken()
            if isinstance(reply, Exception):
                raise reply
            return reply
        pool = {contract.METRIC_LABEL_NAMESPACE: "default", contract.METRIC_LABEL_POOL: "demo"}
        now = START.timestamp() + self.seconds
        if "increase" in query:
            if self.mean_work_broken:
                return self.mean_work_broken
            return vector(*([] if self.mean_work is None else [(pool, self.mean_work)]), at=now)
        samples = [
            sample
            for uid, gauges in self.gauges.items()
            for sample in gauges.samples({**pool, contract.METRIC_LABEL_POD_UID: uid}, now)
        ]
        return vector(*samples, at=now)


def scaling(**changes: Any) -> dict[str, Any]:
    """A spec of one to four replicas, with these changes of its `scaling`."""
    return {"scaling": {"minReplicas": 1, "maxReplicas": 4, **changes}}


def stage(count: int, spec: dict[str, Any] | None = None, **gauges: Any) -> Stage:
    """`count` ready pods of a pool, all with these gauges."""
    made = Stage(spec=spec or scaling())
    made.serve(count, **gauges)
    return made


def conditions(outcome: Outcome) -> tuple[tuple[str, str], tuple[str, str]]:
    """Status and reason of `ScalingActive`, and of `MetricsAvailable`."""
    active, metrics = outcome.scaling_active, outcome.metrics_available
    return (active.status, active.reason), (metrics.status, metrics.reason)
