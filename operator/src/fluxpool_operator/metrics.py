"""What the operator tells Prometheus about itself and about each pool.

`fluxpool_desired_replicas`, `fluxpool_desired_batch_size` and `fluxpool_current_replicas` are for users and other
controllers (`docs/contract.md`); `fluxpool_operator_…` is the operator's own business. Counters whose label values are
known in advance are there at 0 from the start, so that a first error is a rate and not a new series.
"""

from collections.abc import Iterable
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from fluxpool_operator import contract

POOL = ("namespace", "pool")
RULES = (
    *(("replicas", rule) for rule in ("queue_depth", "gpu_utilization", "none")),
    *(("batch_size", rule) for rule in ("waiting", "latency", "none")),
)
RECONCILE_OUTCOMES = ("ok", "gone", "conflict", "error", "bug")
PUSH_RESULTS = ("ok", "failed")
disable_created_metrics()  # type: ignore[no-untyped-call]  # one gauge more for every counter and bucket, which nobody reads

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All metrics of one operator process, in a registry of its own.

    Args:
        version: of the operator.
        writes: every pair of kind and verb the operator ever writes.
        watched: every kind it watches.
        query_errors: every reason why a query to Prometheus fails.
    """

    def __init__(
        self,
        version: str,
        *,
        writes: Iterable[tuple[str, str]] = (),
        watched: Iterable[str] = (),
        query_errors: Iterable[str] = (),
    ) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        Info("fluxpool_operator_build", "Version of the operator.", registry=self.registry).info({"version": version})
        self._make_pool_gauges()
        self._make_reconcile_metrics()
        self._make_effect_metrics(writes, watched)
        self._make_scaling_metrics(query_errors)

    def render(self) -> bytes:
        """The exposition in text form."""
        return generate_latest(self.registry)

    # ---- per pool ---------------------------------------------------------------------------------------------------

    def _make_pool_gauges(self) -> None:
        self._desired_replicas = self._gauge(
            contract.METRIC_DESIRED_REPLICAS, "Replicas the autoscaler finds right, whatever the mode.", POOL
        )
        self._desired_batch_size = self._gauge(
            contract.METRIC_DESIRED_BATCH_SIZE, "Batch size the autoscaler finds right, whatever the mode.", POOL
        )
        self._current_replicas = self._gauge(
            contract.METRIC_CURRENT_REPLICAS, "Replicas the pool's Deployment asks for.", POOL
        )
        self.pools = self._gauge("fluxpool_operator_pools", "FluxPools there are.")

    def set_pool(self, namespace: str, pool: str, desired: int | None, batch_size: int | None, current: int) -> None:
        """Export one pool's numbers; a number that is None has no series."""
        self._current_replicas.labels(namespace, pool).set(current)
        for gauge, number in ((self._desired_replicas, desired), (self._desired_batch_size, batch_size)):
            if number is None:
                gauge.remove(namespace, pool)
            else:
                gauge.labels(namespace, pool).set(number)

    def forget_pool(self, namespace: str, pool: str) -> None:
        """Drop the series of a pool that is gone."""
        for gauge in (self._desired_replicas, self._desired_batch_size, self._current_replicas):
            gauge.remove(namespace, pool)

    # ---- reconciling ------------------------------------------------------------------------------------------------

    def _make_reconcile_metrics(self) -> None:
        self.reconciles = self._counter(
            "fluxpool_operator_reconciles", "Reconciliations of one pool by outcome.", ("outcome",)
        )
        for outcome in RECONCILE_OUTCOMES:
            self.reconciles.labels(outcome)
        self.reconcile_seconds = self._histogram(
            "fluxpool_operator_reconcile_duration_seconds", "One reconciliation, its writes included."
        )
        self.queue_depth = self._gauge("fluxpool_operator_queue_depth", "Pools that wait for a worker.")
        self.queue_seconds = self._histogram(
            "fluxpool_operator_queue_wait_seconds", "From being queued to being taken by a worker."
        )
        self.retries = self._counter("fluxpool_operator_retries", "Reconciliations that will be tried again.")

    # ---- effects ----------------------------------------------------------------------------------------------------

    def _make_effect_metrics(self, writes: Iterable[tuple[str, str]], watched: Iterable[str]) -> None:
        self._writes = self._counter(
            "fluxpool_operator_writes", "Writes to the API server.", ("kind", "verb", "result")
        )
        for kind, verb in writes:
            self._writes.labels(kind, verb, "ok")
        self._watch_events = self._counter(
            "fluxpool_operator_watch_events", "Events received from the API server.", ("kind", "type")
        )
        for kind, event in product(watched, ("LISTED", "ADDED", "MODIFIED", "DELETED")):
            self._watch_events.labels(kind, event)
        self.missed_deletions = self._counter(
            "fluxpool_operator_missed_deletions", "Objects that went away without an event, found by the audit."
        )
        self.batch_pushes = self._counter("fluxpool_operator_batch_pushes", "Batch sizes pushed to a pod.", ("result",))
        for result in PUSH_RESULTS:
            self.batch_pushes.labels(result)

    def count_write(self, kind: str, verb: str, result: str) -> None:
        """Count one write to the API server."""
        self._writes.labels(kind, verb, result).inc()

    def count_watch_event(self, kind: str, event: str | None) -> None:
        """Count one event of a watch; None is the type of objects listed at its start."""
        self._watch_events.labels(kind, event or "LISTED").inc()

    # ---- scaling ----------------------------------------------------------------------------------------------------

    def _make_scaling_metrics(self, query_errors: Iterable[str]) -> None:
        self.ticks = self._histogram("fluxpool_operator_scale_tick_seconds", "One look of the autoscaler at all pools.")
        self.tick_errors = self._counter(
            "fluxpool_operator_scale_tick_errors", "Pools that could not be judged because of a bug."
        )
        self.decisions = self._counter(
            "fluxpool_operator_decisions", "Changes of a desired number by the rule that won.", ("knob", "rule")
        )
        for knob, rule in RULES:
            self.decisions.labels(knob, rule)
        self.query_errors = self._counter(
            "fluxpool_operator_prometheus_query_errors", "Failed queries to Prometheus by reason.", ("reason",)
        )
        for reason in query_errors:
            self.query_errors.labels(reason)

    # ---- construction -----------------------------------------------------------------------------------------------

    def _gauge(self, name: str, documentation: str, labels: Iterable[str] = ()) -> Gauge:
        return Gauge(name, documentation, labels, registry=self.registry)

    def _counter(self, name: str, documentation: str, labels: Iterable[str] = ()) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)

    def _histogram(self, name: str, documentation: str) -> Histogram:
        return Histogram(name, documentation, buckets=SECONDS, registry=self.registry)
