"""The operator's autoscaler: reads Prometheus for all pools at once, and judges each pool by the pure library.

    await autoscaler.poll()                            one fixed, small set of queries, however many pools
    autoscaler.evaluate(pool, pods, replicas, now)     no IO: what the poll has read, the pool's memory, `decide`

Windows and rates run on a monotonic clock of the process, ages of samples on Prometheus' clock; whether a sample is of
the process that runs now is seen by two times of one node's clock. No decision compares two clocks. (Only the wording
of a condition does: how long a pod has been ready.)
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fluxpool_autoscaler import Decision, Memory, Mode, Verdict, decide
from fluxpool_operator.api import FluxPool
from fluxpool_operator.scaling.cold_starts import ColdStarts
from fluxpool_operator.scaling.condition_facts import SCALING_REASONS, metrics_available, scaling_active, unavailable
from fluxpool_operator.scaling.errors import NotConfiguredError, NotPolledError, PrometheusError
from fluxpool_operator.scaling.events import last_change
from fluxpool_operator.scaling.intervals import ScrapeIntervals
from fluxpool_operator.scaling.observations import batch_size_of, observe
from fluxpool_operator.scaling.outcome import ConditionFact, Outcome
from fluxpool_operator.scaling.policies import policy_of
from fluxpool_operator.scaling.prometheus import Prometheus
from fluxpool_operator.scaling.queries import (
    PoolId,
    Readings,
    mean_work_query,
    read_mean_work,
    read_samples,
    samples_query,
)
from fluxpool_operator.scaling.steady import Steady
from fluxpool_operator.world import PodView

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _State:
    """What is kept of one pool from tick to tick."""

    uid: str
    memory: Memory = field(default_factory=Memory)
    scaling_active: Steady = field(default_factory=lambda: Steady(SCALING_REASONS))
    metrics_available: Steady = field(default_factory=Steady)
    cold_starts: ColdStarts = field(default_factory=ColdStarts)
    batch_sizes: dict[str, int] = field(default_factory=dict)
    outcome: Outcome | None = None


class Autoscaler:
    """See the module.

    Args:
        prometheus: where to read; None where none is configured, and then nothing scales.
        matchers: PromQL label matchers added to every selector, such as `cluster="a"`.
        clock: monotonic seconds.
    """

    def __init__(
        self, prometheus: Prometheus | None, *, matchers: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._prometheus = prometheus
        self._samples_query, self._mean_work_query = samples_query(matchers), mean_work_query(matchers)
        self._clock = clock
        self._error: PrometheusError | None = NotPolledError() if prometheus else NotConfiguredError()
        self._readings = Readings()
        self._intervals = ScrapeIntervals()
        self._states: dict[PoolId, _State] = {}

    async def poll(self) -> None:
        """Read the metrics of all pools.

        An error is not raised but kept for the conditions, and what was read before is gone: an answer that did not
        come is missing, never the last one again.
        """
        if self._prometheus is None:
            return
        try:
            pods = read_samples(await self._prometheus.query(self._samples_query))
        except PrometheusError as error:
            if type(error) is not type(self._error):
                log.warning("no metrics: %s", error)
            self._error, self._readings = error, Readings()
            return
        if self._error is not None:
            log.info("metrics are available")
        self._intervals.learn(pods)
        self._error, self._readings = None, Readings(pods, await self._read_mean_work(self._prometheus))

    def evaluate(self, pool: FluxPool, pods: Sequence[PodView], current_replicas: int, now: datetime) -> Outcome:
        """Judge one pool by what the last poll has read.

        Args:
            pool: the pool.
            pods: its pods.
            current_replicas: what its Deployment is set to.
            now: the present time, aware; only for how long pods have been ready.
        """
        pool_id = (pool.namespace, pool.name)
        state = self._states.get(pool_id)
        if state is None or state.uid != pool.metadata.uid:
            state = self._states[pool_id] = _State(pool.metadata.uid)
        interval = self._intervals.seconds(pool_id)
        observation = observe(pool, pods, current_replicas, self._readings, interval)
        decision, state.memory = decide(observation, state.memory, policy_of(pool), self._clock())
        metrics = (
            unavailable(self._error) if self._error else metrics_available(decision.coverage, observation, pods, now)
        )
        state.batch_sizes = self._reported(pool_id, decision)
        state.outcome = self._outcome(state, decision, metrics, pods)
        return state.outcome

    def batch_sizes(self, key: PoolId) -> dict[str, int]:
        """The batch size that each ready pod with a fresh sample runs with, by UID, as of the last `evaluate`."""
        state = self._states.get(key)
        return dict(state.batch_sizes) if state else {}

    def forget(self, key: PoolId) -> None:
        """The pool is gone."""
        self._states.pop(key, None)
        self._intervals.forget(key)

    async def _read_mean_work(self, prometheus: Prometheus) -> dict[PoolId, float]:
        """Tuning, not load: where it fails, decisions go on with the last known mean."""
        try:
            return read_mean_work(await prometheus.query(self._mean_work_query))
        except PrometheusError as error:
            log.debug("no mean work of a request: %s", error)
            return {}

    def _reported(self, pool_id: PoolId, decision: Decision) -> dict[str, int]:
        readings = self._readings.pods.get(pool_id, {})
        sizes = {uid: batch_size_of(readings[uid]) for uid in decision.coverage.counted}
        return {uid: size for uid, size in sizes.items() if size is not None}

    def _outcome(self, state: _State, decision: Decision, metrics: ConditionFact, pods: Sequence[PodView]) -> Outcome:
        replicas, batch_size, now = decision.replicas, decision.batch_size, self._clock()
        numbers = (replicas.desired, batch_size.desired, replicas.mode)
        active = state.scaling_active.update(scaling_active(decision, metrics), numbers, now)
        return Outcome(
            desired_replicas=_in_mode(Mode.AUTO, replicas, replicas.desired),
            desired_batch_size=_in_mode(Mode.AUTO, batch_size, batch_size.desired),
            recommended_replicas=_in_mode(Mode.RECOMMEND, replicas, replicas.recommended),
            recommended_batch_size=_in_mode(Mode.RECOMMEND, batch_size, batch_size.recommended),
            scaling_active=active,
            metrics_available=state.metrics_available.update(metrics, None, now),
            event=last_change(decision, state.outcome),
            cold_start=state.cold_starts.see(pods),
            decision=decision,
        )


def _in_mode(mode: Mode, verdict: Verdict, number: int | None) -> int | None:
    return number if verdict.mode is mode else None
