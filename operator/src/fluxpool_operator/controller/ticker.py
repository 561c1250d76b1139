"""The scale tick: read the measurements, let the autoscaler judge every pool, queue those for which its word changed.

Nothing here waits for a worker or a pod: workers find the word in the pool's memory, and batch sizes are pushed by
tasks of their own. One pool's bug does not keep the others from being judged; a tick that ends, ends the process.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from fluxpool_operator.api import FluxPool
from fluxpool_operator.cluster import kinds
from fluxpool_operator.controller.keys import PoolKey
from fluxpool_operator.controller.memory import Memories
from fluxpool_operator.controller.ports import Autoscaler
from fluxpool_operator.controller.pushes import Pushes
from fluxpool_operator.controller.view import View
from fluxpool_operator.health import Heartbeat
from fluxpool_operator.metrics import Metrics
from fluxpool_operator.scaling.outcome import Outcome
from fluxpool_operator.world import DeploymentView

log = logging.getLogger(__name__)

POOLS_AT_A_TIME = 20
"""So many are judged before other tasks of the event loop get their turn."""


class Ticker:
    """See the module.

    Args:
        autoscaler: whose word it is.
        view: the cluster as known.
        memories: where the word is kept.
        pushes: of batch sizes.
        add: puts a key on the queue.
        metrics: where the numbers are exported.
        now: the present time, aware.
    """

    def __init__(
        self,
        *,
        autoscaler: Autoscaler,
        view: View,
        memories: Memories,
        pushes: Pushes,
        add: Callable[[PoolKey], None],
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._autoscaler = autoscaler
        self._view = view
        self._memories = memories
        self._pushes = pushes
        self._add = add
        self._metrics = metrics
        self._now = now
        self.heartbeat = Heartbeat()

    async def run(self, interval_seconds: float) -> None:
        """Tick at this interval until cancelled; a tick that takes longer delays the next."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            with self._metrics.ticks.time():
                await self.tick()
            self.heartbeat.beat()
            await asyncio.sleep(max(0.0, started + interval_seconds - loop.time()))

    async def tick(self) -> None:
        """Look once."""
        await self._autoscaler.poll()
        for number, key in enumerate(self._view.pools, start=1):
            try:
                self._judge(key)
            except Exception:
                self._metrics.tick_errors.inc()
                log.exception("a bug in judging a pool", extra={"pool": str(key)})
            if number % POOLS_AT_A_TIME == 0:
                await asyncio.sleep(0)

    def _judge(self, key: PoolKey) -> None:
        row = self._view.pools.get(key)
        if row is None or not isinstance(row.value, FluxPool) or row.value.terminating:
            return
        pods, current = self._view.pods(key), self._current_replicas(key)
        outcome = self._autoscaler.evaluate(row.value, pods, current, self._now())
        memory = self._memories[key]
        before, memory.outcome = memory.outcome, outcome
        replicas, batch_size = outcome.decision.replicas.desired, outcome.decision.batch_size.desired
        self._metrics.set_pool(key.namespace, key.name, replicas, batch_size, current)
        if outcome != before:
            self._add(key)
        self._say(key, before, outcome)
        self._pushes.update(key, pods, self._autoscaler.batch_sizes(key))

    def _current_replicas(self, key: PoolKey) -> int:
        deployment = self._view.child(kinds.DEPLOYMENT, key)
        return DeploymentView.of(deployment).replicas if deployment else 0

    def _say(self, key: PoolKey, before: Outcome | None, outcome: Outcome) -> None:
        """One line per change of a number."""
        event = outcome.event
        if event is None or (before is not None and event == before.event):
            return
        decision = outcome.decision
        for knob, verdict in (("replicas", decision.replicas), ("batch_size", decision.batch_size)):
            if verdict.desired != verdict.previous:
                self._metrics.decisions.labels(knob, verdict.winner or "none").inc()
        log.info(
            "%s",
            event.message,
            extra={
                "pool": str(key),
                "reason": event.reason,
                "mode": str(decision.replicas.mode),
                "replicas": decision.replicas.desired,
                "batch_size": decision.batch_size.desired,
            },
        )
