"""One key at a time: gather a snapshot, reconcile, execute the plan, and say when to come again."""

import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from fluxpool_operator.controller.executor import Executor
from fluxpool_operator.controller.keys import PoolKey
from fluxpool_operator.controller.memory import Memories
from fluxpool_operator.controller.queue import WorkQueue
from fluxpool_operator.controller.table import Row
from fluxpool_operator.controller.upgrades import Upgrades
from fluxpool_operator.controller.view import Pool, View
from fluxpool_operator.errors import ClusterError, ConflictError, NotFoundError, ThrottledError
from fluxpool_operator.metrics import Metrics
from fluxpool_operator.reconcile import Plan, reconcile
from fluxpool_operator.world import Defaults, Snapshot

log = logging.getLogger(__name__)


class Worker:
    """Takes keys off the queue; several of them run at once, all on one instance.

    Args:
        queue: where keys come from.
        view: the cluster as known.
        memories: of the pools.
        executor: of plans.
        defaults: what the settings add to every pool.
        metrics: where to count.
        now: the present time, aware.
        forget: called with the key of a pool that is gone.
    """

    def __init__(
        self,
        *,
        queue: WorkQueue[PoolKey],
        view: View,
        memories: Memories,
        executor: Executor,
        defaults: Defaults,
        metrics: Metrics,
        now: Callable[[], datetime],
        forget: Callable[[PoolKey], None],
    ) -> None:
        self._queue = queue
        self._view = view
        self._memories = memories
        self._executor = executor
        self._defaults = defaults
        self._metrics = metrics
        self._now = now
        self._forget = forget
        self._upgrades = Upgrades()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            key, waited_seconds = await self._queue.get()
            self._metrics.queue_seconds.observe(waited_seconds)
            with self._metrics.reconcile_seconds.time():
                outcome = await self.attempt(key)
            self._metrics.reconciles.labels(outcome).inc()
            self._queue.done(key)

    async def attempt(self, key: PoolKey) -> str:
        """Reconcile one pool, and have it tried again if that fails. Returns the outcome, as the metric has it."""
        try:
            return await self._reconcile(key)
        except ConflictError as error:  # the newer object is on its way to us
            log.debug("%s", error, extra={"pool": str(key)})
            self._retry(key)
            return "conflict"
        except ClusterError as error:
            delay = self._retry(key, error.retry_after_seconds if isinstance(error, ThrottledError) else 0.0)
            if not isinstance(
                error, NotFoundError
            ):  # the pool or its namespace has just gone; the next attempt sees it
                log.warning("%s", error, extra={"pool": str(key), "retry_seconds": round(delay, 1)})
            return "error"
        except Exception:  # a bug that one pool brings to light must not stop the others
            log.exception("a bug", extra={"pool": str(key), "retry_seconds": round(self._retry(key), 1)})
            return "bug"

    def _retry(self, key: PoolKey, at_least_seconds: float = 0.0) -> float:
        self._metrics.retries.inc()
        return self._queue.retry(key, at_least_seconds)

    async def _reconcile(self, key: PoolKey) -> str:
        pool = self._view.pools.get(key)
        if pool is None:
            self._end(key)
            return "gone"
        plan = self._plan(key, pool)
        memory = self._memories[key]
        memory.desired_batch_size = plan.desired_batch_size
        self._explain(key, plan)
        complete = await self._executor.execute(key, pool, plan, memory)
        self._queue.succeeded(key)
        self._come_again(key, plan, complete=complete)
        return "ok"

    def _plan(self, key: PoolKey, pool: Row[Pool]) -> Plan:
        memory = self._memories[key]
        snapshot = Snapshot(
            pool=pool.value,
            defaults=self._defaults,
            fresh_token=secrets.token_urlsafe(32),
            children=self._view.children(key),
            pods=self._view.pods(key),
            outcome=memory.outcome,
            batch_sizes=memory.batch_sizes,
            refusals=memory.refusals,
            status_written_at=memory.status_written_at,
            may_upgrade=False,
        )
        plan = reconcile(snapshot, self._now())
        if plan.wants_upgrade:
            return reconcile(replace(snapshot, may_upgrade=True), self._now()) if self._upgrades.grant(key) else plan
        if not plan.rolling_out:
            self._release_upgrade(key)
        return plan

    def _release_upgrade(self, key: PoolKey) -> None:
        following = self._upgrades.release(key)
        if following is not None:
            self._queue.add(following)

    def _explain(self, key: PoolKey, plan: Plan) -> None:
        memory = self._memories[key]
        if not plan.empty or plan.explanation != memory.explanation:
            for line in plan.explanation:
                log.info("%s", line, extra={"pool": str(key)})
        memory.explanation = plan.explanation

    def _come_again(self, key: PoolKey, plan: Plan, *, complete: bool) -> None:
        if not complete:
            self._queue.add(key)
        elif plan.requeue_after_seconds is not None:
            self._queue.add_after(key, plan.requeue_after_seconds)

    def _end(self, key: PoolKey) -> None:
        self._release_upgrade(key)
        self._queue.forget(key)
        if self._memories.forget(key):
            self._metrics.forget_pool(key.namespace, key.name)
            self._forget(key)
