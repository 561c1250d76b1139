"""The metrics that are read at each scrape, from what the engine says of itself; some of them only ever count up."""

import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fluxpool_inference import contract
from fluxpool_inference.engine import EngineStatus, WorkerState
from fluxpool_inference.process_start import started_at
from fluxpool_inference.readiness import Readiness
from fluxpool_inference.version import VERSION


class Gauges(Collector):
    """One snapshot of the engine per scrape, so that the gauges agree with one another."""

    def __init__(self, identity: Mapping[str, str], status: Callable[[], EngineStatus], readiness: Readiness) -> None:
        self._identity = identity
        self._status = status
        self._readiness = readiness
        self._start_time = time.time() - (time.monotonic() - started_at())

    def collect(self) -> Iterable[Metric]:
        """Read the status and yield each gauge."""
        status = self._status()
        ready = self._readiness.problem() is None
        build = {
            "version": VERSION,
            "paced": str(status.pace is not None).lower(),
            "device": status.model.device if status.model else "",
        }
        yield self._gauge(contract.METRIC_READY, "1 if /readyz is 200.", float(ready))
        yield self._gauge(contract.METRIC_BUILD_INFO, "Always 1; the labels say what runs.", 1, build)
        yield self._gauge(contract.METRIC_PROCESS_START_TIME, "Unix time of the start.", self._start_time)
        yield self._gauge(
            contract.METRIC_REQUESTS_WAITING, "Images admitted, no step of which has run.", status.waiting
        )
        yield self._gauge(contract.METRIC_REQUESTS_RUNNING, "Images with a step run, until answered.", status.running)
        yield self._gauge(contract.METRIC_QUEUED_WORK, "Remaining work of those that wait.", status.queued_work_seconds)
        yield self._gauge(
            contract.METRIC_RUNNING_WORK, "Remaining work of those that run.", status.running_work_seconds
        )
        yield self._gauge(contract.METRIC_BATCH_SIZE_LIMIT, "Most rows of a denoising step.", status.batch_size)
        yield self._gauge(
            contract.METRIC_STEP_FIXED, "a of t(rows) = a + c rows at the default size.", status.step_fixed_seconds
        )
        yield self._gauge(
            contract.METRIC_STEP_PER_ROW, "c of t(rows) = a + c rows at the default size.", status.step_per_row_seconds
        )
        yield self._gauge(
            contract.METRIC_GPU_UTILIZATION,
            "Share of the last seconds in which the devices were busy.",
            status.utilization.ratio,
            {"source": status.utilization.source},
        )
        yield self._memory(status)
        yield from self._workers(status)

    def _workers(self, status: EngineStatus) -> Iterable[Metric]:
        names = [*self._identity, "worker"]
        ready = GaugeMetricFamily(contract.METRIC_WORKER_READY, "1 if this worker serves.", labels=names)
        deaths = CounterMetricFamily(
            contract.METRIC_WORKER_DEATHS, "Its processes that died, hung, or did not start.", labels=names
        )
        work = GaugeMetricFamily(contract.METRIC_WORKER_WORK, "Remaining work of its images.", labels=names)
        for worker in status.workers:
            labels = [*self._identity.values(), str(worker.index)]
            ready.add_metric(labels, float(worker.state is WorkerState.READY))
            deaths.add_metric(labels, worker.deaths)
            work.add_metric(labels, worker.remaining_work_seconds)
        return ready, deaths, work

    def _gauge(self, name: str, text: str, value: float, labels: Mapping[str, str] | None = None) -> GaugeMetricFamily:
        own = dict(labels or {})
        family = GaugeMetricFamily(name, text, labels=[*self._identity, *own])
        family.add_metric([*self._identity.values(), *own.values()], value)
        return family

    def _memory(self, status: EngineStatus) -> GaugeMetricFamily:
        family = self._gauge(
            contract.METRIC_GPU_MEMORY,
            "Memory of the devices; 0 without a GPU.",
            status.memory.used_bytes,
            {"kind": "used"},
        )
        family.add_metric([*self._identity.values(), "total"], status.memory.total_bytes)
        return family
