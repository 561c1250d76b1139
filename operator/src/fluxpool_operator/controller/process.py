"""The operator as a process: makes the parts, connects them, and runs them until SIGTERM or until one of them ends."""

import asyncio
import logging
import platform
from collections.abc import Sequence
from datetime import UTC, datetime

from fluxpool_operator.cluster import Cluster, Kind, connect, kinds
from fluxpool_operator.cluster.events import Recorder
from fluxpool_operator.controller.audit import Audit
from fluxpool_operator.controller.executor import Executor
from fluxpool_operator.controller.keys import PoolKey
from fluxpool_operator.controller.measuring import make_metrics, make_prometheus
from fluxpool_operator.controller.memory import Memories
from fluxpool_operator.controller.preflight import prepare
from fluxpool_operator.controller.pushes import Pushes
from fluxpool_operator.controller.queue import WorkQueue
from fluxpool_operator.controller.supervisor import listen_to_signals, run_until, supervise
from fluxpool_operator.controller.ticker import Ticker
from fluxpool_operator.controller.view import View
from fluxpool_operator.controller.watches import Watches
from fluxpool_operator.controller.worker import Worker
from fluxpool_operator.health import Health, listen, make_app
from fluxpool_operator.metrics import Metrics
from fluxpool_operator.scaling import Autoscaler, BatchPusher
from fluxpool_operator.settings import Settings
from fluxpool_operator.world import Defaults, MonitorSettings

log = logging.getLogger(__name__)

TICK_LIMIT_SECONDS = 60.0
"""The longest a tick may take: two queries that run into their timeout, and a judgement of every pool."""

WORKER_LIMIT_SECONDS = 300.0
"""The longest a worker may take for one pool: a dozen requests that all run into their timeout."""


async def run(settings: Settings) -> None:
    """Run the operator until SIGTERM.

    Raises:
        SettingsError: a setting turned out to be of no use.
        StoppedError: a part has ended.
    """
    stop = asyncio.Event()
    listen_to_signals(stop)
    health, metrics = Health(), make_metrics()
    runner = await listen(make_app(health, metrics), settings.http_port)
    try:
        async with Cluster(await connect(), metrics.count_write) as cluster:
            await run_until(stop, _run_on(cluster, settings, health, metrics, stop))
    finally:
        await runner.cleanup()


async def _run_on(cluster: Cluster, settings: Settings, health: Health, metrics: Metrics, stop: asyncio.Event) -> None:
    children = await prepare(cluster, settings.namespaces, health, service_monitors=settings.service_monitor)
    await Operator(settings, cluster, children, health, metrics).run(stop)


class Operator:
    """The parts of one process, once all that they need is there.

    Args:
        settings: of the process.
        cluster: the API server.
        children: the kinds of children that pools may have.
        health: gets the signs of life.
        metrics: gets the numbers.
    """

    def __init__(
        self, settings: Settings, cluster: Cluster, children: Sequence[Kind], health: Health, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._health = health
        self._metrics = metrics
        self._queue: WorkQueue[PoolKey] = WorkQueue()
        self._view = View(children)
        self._memories = Memories()
        self._prometheus = make_prometheus(settings, metrics)
        self._autoscaler = Autoscaler(self._prometheus, matchers=settings.prometheus_matchers)
        self._pusher = BatchPusher(
            self._autoscaler.batch_sizes, on_result=lambda result: metrics.batch_pushes.labels(result).inc()
        )
        self._ticker = Ticker(
            autoscaler=self._autoscaler,
            view=self._view,
            memories=self._memories,
            pushes=Pushes(self._pusher, self._view, self._memories, self._add),
            add=self._add,
            metrics=metrics,
            now=_now,
        )
        self._worker = Worker(
            queue=self._queue,
            view=self._view,
            memories=self._memories,
            executor=Executor(cluster, Recorder(cluster, platform.node()), self._view, _now),
            defaults=_defaults(settings, children),
            metrics=metrics,
            now=_now,
            forget=self._forget,
        )
        self._synced = False
        self._audit = Audit(cluster, self._view, settings.namespaces, self._add, metrics.missed_deletions.inc)

    async def run(self, stop: asyncio.Event) -> None:
        """Run all parts until one of them ends.

        Args:
            stop: set by signals; kopf takes these at its start, and they are taken back here.

        Raises:
            StoppedError: a part has ended.
        """
        self._health.awaited = "the first lists of the API server"
        self._health.expect("a worker", WORKER_LIMIT_SECONDS, self._queue.longest_flight_seconds)
        self._metrics.queue_depth.set_function(lambda: len(self._queue))
        self._metrics.pools.set_function(lambda: len(self._view.pools))
        watches = Watches(self._view, self._add, self._cluster.credentials, self._metrics.count_watch_event)
        watching = await watches.start(self._settings.namespaces)
        listen_to_signals(stop)
        workers = {f"worker {number}": self._worker.run() for number in range(self._settings.workers)}
        try:
            await supervise({"watches": watches.run(watching), "upkeep": self._upkeep(), **workers})
        finally:
            await self._pusher.aclose()
            if self._prometheus is not None:
                await self._prometheus.aclose()

    async def _upkeep(self) -> None:
        """What starts once the first lists are complete."""
        await self._audit.first_sync()
        self._synced = True
        for key in self._view.pools:
            self._queue.add(key)
        self._health.awaited = None
        log.info("ready", extra={"pools": len(self._view.pools)})
        interval = self._settings.resync_seconds
        tick_seconds = self._settings.scale_interval_seconds
        self._ticker.heartbeat.beat()
        self._health.expect("the scale tick", TICK_LIMIT_SECONDS + tick_seconds, self._ticker.heartbeat.silence_seconds)
        await supervise(
            {
                "scale tick": self._ticker.run(tick_seconds),
                "audit": self._audit.run(interval),
                "resync": self._resync(interval),
            }
        )

    async def _resync(self, interval_seconds: float) -> None:
        """Queue every pool once per interval, evenly spread."""
        while True:
            keys = {*self._view.pools, *self._memories}
            for number, key in enumerate(keys):
                self._queue.add_after(key, number * interval_seconds / len(keys))
            await asyncio.sleep(interval_seconds)

    def _add(self, key: PoolKey) -> None:
        """Queue a key; nothing before the first lists are complete, for a worker must not see half a world."""
        if self._synced:
            self._queue.add(key)

    def _forget(self, key: PoolKey) -> None:
        self._autoscaler.forget(key)
        self._pusher.forget(key)
        log.info("the pool is gone", extra={"pool": str(key)})


def _defaults(settings: Settings, children: Sequence[Kind]) -> Defaults:
    monitor = MonitorSettings(labels=settings.service_monitor_labels, interval=settings.service_monitor_interval)
    return Defaults(
        image=settings.inference_image,
        image_pull_policy=settings.inference_image_pull_policy,
        service_monitor=monitor if kinds.SERVICE_MONITOR in children else None,
    )


def _now() -> datetime:
    return datetime.now(UTC)
