"""The metrics of `docs/contract.md`: what the engine tells of, as it happens; `gauges` has what is read at each scrape.

Every series carries the pod's identity, and every label value exists at 0 from the start, so that a rate never begins
at a first, unseen increment. No prompt and no request id is ever a label.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from fluxpool_inference import contract
from fluxpool_inference.engine import EngineStatus, RejectReason, Stage
from fluxpool_inference.gauges import Gauges
from fluxpool_inference.readiness import Readiness, Refusal

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_WAIT_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)
_DURATION_SECONDS = (0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600)
_ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)
_MEBI = 1024 * 1024

logger = logging.getLogger(__name__)


def pixel_bucket(pixels: int) -> str:
    """The least class of `contract.STEP_BUCKETS` that holds so many pixels; the last one for more."""
    return next((b for b in contract.STEP_BUCKETS if pixels <= float(b) * _MEBI), contract.STEP_BUCKETS[-1])


class _Series:
    """Makes metrics that carry the identity labels, with every value of their own label initialised."""

    def __init__(self, registry: CollectorRegistry, identity: Mapping[str, str]) -> None:
        self._registry = registry
        self._identity = identity

    def counter(self, name: str, text: str) -> Counter:
        metric = Counter(name, text, [*self._identity], registry=self._registry)
        return metric.labels(*self._identity.values())

    def counters(self, name: str, text: str, label: str, values: Sequence[str]) -> dict[str, Counter]:
        metric = Counter(name, text, [*self._identity, label], registry=self._registry)
        return {value: metric.labels(*self._identity.values(), value) for value in values}

    def gauges(self, name: str, text: str, label: str, values: Sequence[str]) -> dict[str, Gauge]:
        metric = Gauge(name, text, [*self._identity, label], registry=self._registry)
        return {value: metric.labels(*self._identity.values(), value) for value in values}

    def histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        metric = Histogram(name, text, [*self._identity], buckets=buckets, registry=self._registry)
        return metric.labels(*self._identity.values())

    def histograms(
        self, name: str, text: str, buckets: Sequence[float], label: str, values: Sequence[str]
    ) -> dict[str, Histogram]:
        metric = Histogram(name, text, [*self._identity, label], buckets=buckets, registry=self._registry)
        return {value: metric.labels(*self._identity.values(), value) for value in values}

    def step_durations(self, batch_size_max: int) -> dict[tuple[str, int], Summary]:
        metric = Summary(
            contract.METRIC_STEP_DURATION,
            "Time of a denoising step, by megapixels of its images and by its rows.",
            [*self._identity, "bucket", "rows"],
            registry=self._registry,
        )
        return {
            (bucket, rows): metric.labels(*self._identity.values(), bucket, str(rows))
            for bucket in contract.STEP_BUCKETS
            for rows in range(1, batch_size_max + 1)
        }


class Metrics:
    """Implements `EngineObserver` and counts what only the edge knows. Belongs to the event loop's thread."""

    def __init__(self, *, namespace: str, pool: str, pod_uid: str, batch_size_max: int) -> None:
        # `_created` series are not in the contract; the library has one switch for all.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._identity = {
            contract.METRIC_LABEL_NAMESPACE: namespace,
            contract.METRIC_LABEL_POOL: pool,
            contract.METRIC_LABEL_POD_UID: pod_uid,
        }
        self._registry = CollectorRegistry()
        series = _Series(self._registry, self._identity)
        self._admitted_work = series.counter(contract.METRIC_ADMITTED_WORK, "Work admitted.")
        self._admitted_images = series.counter(contract.METRIC_ADMITTED_IMAGES, "Images admitted.")
        self._rejected_work = series.counters(
            contract.METRIC_REJECTED_WORK,
            "Work refused for want of capacity, at the client's first attempt.",
            "reason",
            contract.CAPACITY_REJECTIONS,
        )
        self._rejected = series.counters(
            contract.METRIC_REJECTED,
            "Requests refused.",
            "reason",
            (*contract.CAPACITY_REJECTIONS, *contract.OTHER_REJECTIONS),
        )
        self._cancelled_work = series.counter(contract.METRIC_CANCELLED_WORK, "Work not done because the client left.")
        self._cancelled = series.counters(
            contract.METRIC_CANCELLED,
            "Images whose client left, by how far they had come.",
            "stage",
            contract.CANCEL_STAGES,
        )
        self._batch_rows = series.histogram(contract.METRIC_BATCH_ROWS, "Rows of each denoising step.", _ROWS)
        self._steps = series.step_durations(batch_size_max)
        self._busy = series.counter(
            contract.METRIC_ENGINE_BUSY, "Time the devices were busy; time held by a pace counts."
        )
        self._wait = series.histogram(
            contract.METRIC_QUEUE_WAIT, "Time from admission to the first work.", _WAIT_SECONDS
        )
        self._wait_estimate = series.histogram(
            contract.METRIC_QUEUE_WAIT_ESTIMATE, "The same as it was estimated at admission.", _WAIT_SECONDS
        )
        self._duration = series.histograms(
            contract.METRIC_REQUEST_DURATION,
            "Time from an image's admission to its end.",
            _DURATION_SECONDS,
            "outcome",
            contract.OUTCOMES,
        )
        self._images = series.counters(contract.METRIC_IMAGES, "Images encoded.", "format", contract.IMAGE_FORMATS)
        self._prompt_cache = series.counters(
            contract.METRIC_PROMPT_CACHE, "Look-ups of prompt embeddings.", "result", contract.CACHE_RESULTS
        )
        self._pace_overruns = series.counter(contract.METRIC_PACE_OVERRUNS, "Steps that took longer than the pace.")
        self._pace_steps = series.counter(contract.METRIC_PACE_STEPS, "Steps under a pace.")

        self._start_stages = series.gauges(
            contract.METRIC_START_STAGE,
            "Time that the last start of a worker took, by stage.",
            "stage",
            contract.START_STAGES,
        )

    def watch(self, status: Callable[[], EngineStatus], readiness: Readiness) -> None:
        """Export the gauges too. Call once, when the engine exists."""
        self._registry.register(Gauges(self._identity, status, readiness))

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    # ---- what the edge knows

    def invalid_request(self) -> None:
        """A request was refused for what it says."""
        self._rejected["invalid_request"].inc()

    def refused(self, reason: Refusal) -> None:
        """A request was refused for the state of this server, before the engine saw it."""
        self._rejected[reason].inc()

    def image_encoded(self, image_format: str) -> None:
        """An image is ready to be sent; whether its client still waits for it is another matter."""
        self._images[image_format].inc()

    # ---- EngineObserver

    def admitted(self, work_seconds: float, wait_estimate_seconds: float) -> None:
        """See EngineObserver."""
        self._admitted_work.inc(work_seconds)
        self._admitted_images.inc()
        self._wait_estimate.observe(wait_estimate_seconds)

    def rejected(self, reason: RejectReason, images: int, work_seconds: float, first_attempt: bool) -> None:  # noqa: ARG002 - requests are counted, not images
        """See EngineObserver."""
        self._rejected[reason].inc()
        if first_attempt and reason in self._rejected_work:
            self._rejected_work[reason].inc(work_seconds)

    def started(self, wait_seconds: float) -> None:
        """See EngineObserver."""
        self._wait.observe(wait_seconds)

    def prompt_encoded(self, hit: bool) -> None:
        """See EngineObserver."""
        self._prompt_cache["hit" if hit else "miss"].inc()

    def step_done(self, pixels: int, rows: int, duration_seconds: float) -> None:
        """See EngineObserver."""
        self._batch_rows.observe(rows)
        self._steps[pixel_bucket(pixels), rows].observe(duration_seconds)

    def paced_step(self, overran: bool) -> None:
        """See EngineObserver."""
        self._pace_steps.inc()
        if overran:
            self._pace_overruns.inc()

    def busy(self, seconds: float) -> None:
        """See EngineObserver."""
        self._busy.inc(seconds)

    def finished(self, duration_seconds: float) -> None:
        """See EngineObserver."""
        self._duration["ok"].observe(duration_seconds)

    def failed(self, duration_seconds: float) -> None:
        """See EngineObserver."""
        self._duration["failed"].observe(duration_seconds)

    def cancelled(self, stage: Stage, remaining_work_seconds: float, duration_seconds: float) -> None:
        """See EngineObserver."""
        self._cancelled[stage].inc()
        self._cancelled_work.inc(remaining_work_seconds)
        self._duration["cancelled"].observe(duration_seconds)

    def worker_exited(self, index: int, reason: str) -> None:
        """See EngineObserver."""
        logger.error("worker %d ended: %s", index, reason)

    def start_stage(self, stages: Mapping[str, float]) -> None:
        """See EngineObserver."""
        for stage, seconds in stages.items():
            self._start_stages[stage].set(seconds)
        told = {"seconds": sum(stages.values())} | {f"{name}_seconds": s for name, s in stages.items()}
        logger.info("worker ready", extra={"fields": {name: round(seconds, 3) for name, seconds in told.items()}})
