"""One operator process without kopf and without a network: view, queue, worker and executor over a `FakeApi`.

A new rig over the same API is the process after a restart: it knows only what the API server has.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from controller.fake_api import FakeApi
from controller.virtual_time import now

from fluxpool_operator.cluster import Kind, Object, kinds
from fluxpool_operator.controller.executor import Executor
from fluxpool_operator.controller.keys import PoolKey, pool_of
from fluxpool_operator.controller.memory import Memories
from fluxpool_operator.controller.queue import Backoff, WorkQueue
from fluxpool_operator.controller.view import View
from fluxpool_operator.controller.worker import Worker
from fluxpool_operator.metrics import Metrics
from fluxpool_operator.world import Defaults

ROUNDS = 100
"""Far more rounds of work and events than anything should take to settle."""
START = datetime(2026, 1, 1, tzinfo=UTC)


def wall() -> datetime:
    return START + timedelta(seconds=now())


@dataclass
class Rig:
    api: FakeApi = field(default_factory=FakeApi)
    image: str = "fluxpool:1"
    forgotten: list[PoolKey] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue: WorkQueue[PoolKey] = WorkQueue(Backoff(1.0, 60.0), chance=lambda: 1.0)
        self.view = View(kinds.CHILDREN, clock=now)
        self.memories = Memories()
        self.metrics = Metrics("test")
        self.worker = Worker(
            queue=self.queue,
            view=self.view,
            memories=self.memories,
            executor=Executor(self.api, self.api, self.view, wall),
            defaults=Defaults(image=self.image),
            metrics=self.metrics,
            now=wall,
            forget=self.forgotten.append,
        )

    def sync(self) -> "Rig":
        """What a start does: list everything, then queue all pools."""
        self.api.on_its_way.clear()
        for (name, _, _), found in self.api.objects.items():
            kind = next(kind for kind in self.view.tables if kind.name == name)
            if self.api._is_seen(kind, found):
                self.view.put(kind, found)
        for key in self.view.pools:
            self.queue.add(key)
        return self

    def deliver(self, most: int | None = None) -> None:
        self.api.deliver(self.hear, most)

    def hear(self, kind: Kind, body: Object, deleted: bool) -> None:
        self.queue.add(pool_of(kind, self.view.hear(kind, body, deleted=deleted)))

    async def work(self) -> list[str]:
        """Work off what is queued now. Returns the writes of that."""
        before = len(self.api.writes)
        for _ in range(ROUNDS):
            if not len(self.queue):
                return self.api.writes[before:]
            key, _ = await self.queue.get()
            await self.worker.attempt(key)
            self.queue.done(key)
        raise AssertionError(f"it does not come to an end: {self.api.writes[-5:]}")

    async def next(self) -> str:
        """Wait for the next key, and work on it once. Returns the outcome."""
        key, _ = await self.queue.get()
        outcome = await self.worker.attempt(key)
        self.queue.done(key)
        return outcome

    async def settle(self) -> list[str]:
        """Work and deliver until nothing happens any more, timers not looked at."""
        before = len(self.api.writes)
        for _ in range(ROUNDS):
            if not len(self.queue) and not self.api.on_its_way:
                return self.api.writes[before:]
            await self.work()
            self.deliver()
        raise AssertionError(f"it does not settle: {self.api.writes[-5:]}")
