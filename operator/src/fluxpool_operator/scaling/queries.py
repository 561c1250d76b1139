"""What is asked of Prometheus: two queries for all pools together, and what becomes of the answers.

*Pairing value and age.* A pod may be scraped twice: by two jobs, by the two Prometheuses of an HA pair behind one
querier, or by a scraper that has lost it and whose last values live on for five minutes. The largest value beside the
smallest age would then marry the value of one scrape to the age of another. So only the series of each pod's newest
scrape are looked at; `max by` merely drops the labels that scraping adds, and decides between scrapes of one instant.

*One evaluation.* Values and scrape times come from one query, evaluated at one instant; so no scrape can slip in
between. The time of evaluation comes with the answer: age is reckoned in Prometheus' own clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fluxpool_autoscaler import PodSample
from fluxpool_operator import contract
from fluxpool_operator.scaling.prometheus import Sample

PoolId = tuple[str, str]
"""Namespace and name of a FluxPool."""

_SCRAPED_AT: Final = "fluxpool_scraped_at_seconds"
"""Name given to the time of a pod's newest scrape in the answer; no series of that name is stored anywhere."""

_POOL: Final = f"{contract.METRIC_LABEL_NAMESPACE}, {contract.METRIC_LABEL_POOL}"
_POD: Final = f"{_POOL}, {contract.METRIC_LABEL_POD_UID}"
_GAUGES: Final = (
    contract.METRIC_PROCESS_START_TIME,
    contract.METRIC_REQUESTS_WAITING,
    contract.METRIC_REQUESTS_RUNNING,
    contract.METRIC_GPU_UTILIZATION,
    contract.METRIC_BATCH_SIZE_LIMIT,
    contract.METRIC_STEP_FIXED,
    contract.METRIC_STEP_PER_ROW,
)
_OWN_LABELS: Final = "source"
"""Labels that a gauge above carries itself; all others are of the pod or of the scrape."""

_MEAN_WINDOW: Final = "5m"
"""Long enough for two scrapes at any common interval, short enough to follow a change of what users ask for."""


@dataclass(frozen=True, slots=True)
class PodReading:
    """The newest scrape of one pod: its sample, and when it was, by Prometheus' clock."""

    sample: PodSample
    scraped_at: float


@dataclass(frozen=True, slots=True)
class Readings:
    """What one poll has read.

    Attributes:
        pods: of every pool and pod UID there is a series of.
        mean_request_work_seconds: of every pool that has admitted requests in the last minutes.
    """

    pods: Mapping[PoolId, Mapping[str, PodReading]] = field(default_factory=dict)
    mean_request_work_seconds: Mapping[PoolId, float] = field(default_factory=dict)


def samples_query(matchers: str) -> str:
    """The gauges of every pod's newest scrape, and the time of that scrape.

    `or on (__name__)` because `or` drops what has equal labels on its left, the name not looked at.
    """
    gauges = _selector("", f'__name__=~"{"|".join(_GAUGES)}"', matchers)
    anchor = _selector(contract.METRIC_READY, matchers)
    newest = f"max by ({_POD}) (timestamp({anchor}))"
    of_newest = f"(timestamp({anchor}) == on ({_POD}) group_left () {newest})"
    values = f"max by (__name__, {_POD}) ({gauges} and ignoring ({_OWN_LABELS}) {of_newest})"
    return f'{values} or on (__name__) label_replace({newest}, "__name__", "{_SCRAPED_AT}", "", "")'


def mean_work_query(matchers: str) -> str:
    """Admitted work per admitted request of each pool, pods that have left meanwhile included."""

    def increase(metric: str) -> str:
        return f"sum by ({_POOL}) (max by ({_POD}) (increase({_selector(metric, matchers)}[{_MEAN_WINDOW}])))"

    return f"{increase(contract.METRIC_ADMITTED_WORK)} / {increase(contract.METRIC_ADMITTED_IMAGES)}"


def read_samples(answer: Iterable[Sample]) -> dict[PoolId, dict[str, PodReading]]:
    """Sort the answer to `samples_query` by pool and pod. What lacks one of our labels is of somebody else."""
    values: dict[tuple[PoolId, str], dict[str, float]] = {}
    evaluated_at = 0.0
    for sample in answer:
        pool, uid = _pool(sample), sample.labels.get(contract.METRIC_LABEL_POD_UID)
        if pool and uid:
            values.setdefault((pool, uid), {})[sample.labels.get("__name__", "")] = sample.value
            evaluated_at = sample.at
    pods: dict[PoolId, dict[str, PodReading]] = {}
    for (pool, uid), of_pod in values.items():
        if _SCRAPED_AT in of_pod:
            pods.setdefault(pool, {})[uid] = _reading(of_pod, evaluated_at)
    return pods


def read_mean_work(answer: Iterable[Sample]) -> dict[PoolId, float]:
    """Sort the answer to `mean_work_query` by pool."""
    return {pool: sample.value for sample in answer if (pool := _pool(sample))}


def _selector(metric: str, *matchers: str) -> str:
    in_a_pod = f'{contract.METRIC_LABEL_POD_UID}!=""'
    return f"{metric}{{{', '.join(matcher for matcher in (*matchers, in_a_pod) if matcher)}}}"


def _pool(sample: Sample) -> PoolId | None:
    namespace = sample.labels.get(contract.METRIC_LABEL_NAMESPACE)
    pool = sample.labels.get(contract.METRIC_LABEL_POOL)
    return (namespace, pool) if namespace and pool else None


def _reading(values: Mapping[str, float], evaluated_at: float) -> PodReading:
    scraped_at = values[_SCRAPED_AT]
    return PodReading(
        PodSample(
            age_seconds=evaluated_at - scraped_at,
            process_started_at=values.get(contract.METRIC_PROCESS_START_TIME),
            requests_waiting=values.get(contract.METRIC_REQUESTS_WAITING),
            requests_running=values.get(contract.METRIC_REQUESTS_RUNNING),
            gpu_utilization_ratio=values.get(contract.METRIC_GPU_UTILIZATION),
            batch_size_limit=values.get(contract.METRIC_BATCH_SIZE_LIMIT),
            step_fixed_seconds=values.get(contract.METRIC_STEP_FIXED),
            step_per_row_seconds=values.get(contract.METRIC_STEP_PER_ROW),
        ),
        scraped_at,
    )
