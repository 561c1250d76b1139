"""Watches one pool while it works: its status and events, its pods, and what its Prometheus says of them.

Changes of the desired numbers are noted the moment a watch delivers them; gauges are sampled twice a second.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from fluxpool_demo.errors import UnreachableError
from fluxpool_demo.kube import Kube, Object, is_true
from fluxpool_demo.prometheus import (
    BATCH_SIZE,
    PACE_OVERRUNS,
    PACE_STEPS,
    POD_UID,
    RUNNING,
    WAITING,
    Prometheus,
    Reading,
    of_pool,
)
from fluxpool_demo.record import Decision, Knob, Pacing, PodRecord, Sample

POOL_LABEL = "fluxpool.dev/pool"
SAMPLE_SECONDS = 0.5
REASON_SECONDS = 5.0
"""An event that explains a change arrives within this time of it."""
FIELDS = {Knob.BATCH_SIZE: "batchSize", Knob.REPLICAS: "replicas"}


@dataclass(frozen=True, slots=True)
class Note:
    """An event of the pool, at the time we heard of it."""

    at: float
    reason: str
    message: str


@dataclass(slots=True)
class Observer:
    """What has been seen of one pool so far. `watching` keeps it up to date."""

    kube: Kube
    prometheus: Prometheus
    namespace: str
    pool: str
    started_at: float
    clock: Callable[[], float] = time.monotonic
    samples: list[Sample] = field(default_factory=list)
    changes: list[Decision] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    pods: dict[str, PodRecord] = field(default_factory=dict)
    status: Object = field(default_factory=dict)

    @property
    def now(self) -> float:
        """Seconds on the run's clock."""
        return self.clock() - self.started_at

    @property
    def decisions(self) -> list[Decision]:
        """The changes so far, with the operator's reasons."""
        return explained(self.changes, self.notes)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch while the block runs."""
        works = (
            self._follow("FluxPool", self._see_pool),
            self._follow("Event", self._see_event),
            self._follow("Pod", self._see_pod),
            self._sample(),
        )
        tasks = [asyncio.create_task(work) for work in works]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()  # it ended by itself: with an error

    async def pacing(self) -> Pacing:
        """Paced steps of all pods there were, from the counters' highest values.

        Raises:
            UnreachableError: Prometheus does not answer.
        """
        return Pacing(round(await self._highest(PACE_STEPS)), round(await self._highest(PACE_OVERRUNS)))

    async def _highest(self, counter: str) -> float:
        """Its highest value in each pod that we have seen, summed; a pool of that name before ours is not counted."""
        selector = of_pool(self.namespace, self.pool, counter)
        readings = await self.prometheus.query(f"max_over_time({selector}[1h])")
        return sum(reading.value for reading in readings if reading.labels.get(POD_UID) in self.pods)

    async def _follow(self, kind: str, see: Callable[[str, Object], None]) -> None:
        async for verb, item in self.kube.watch(kind, self.namespace):
            see(verb, item)

    def _see_pool(self, verb: str, item: Object) -> None:
        if item["metadata"]["name"] != self.pool or verb == "DELETED":
            return
        before, self.status = self.status, item.get("status") or {}
        for knob, name in FIELDS.items():
            old, new = ((status.get("desired") or {}).get(name) for status in (before, self.status))
            if new is not None and new != old:
                self.changes.append(Decision(self.now, knob, old, new))

    def _see_event(self, verb: str, item: Object) -> None:
        regarding = item.get("regarding") or {}
        if verb == "ADDED" and (regarding.get("kind"), regarding.get("name")) == ("FluxPool", self.pool):
            self.notes.append(Note(self.now, item.get("reason", ""), item.get("note", "")))

    def _see_pod(self, verb: str, item: Object) -> None:
        metadata = item["metadata"]
        if (metadata.get("labels") or {}).get(POOL_LABEL) != self.pool:
            return
        pod = self.pods.get(metadata["uid"]) or PodRecord(metadata["name"], self.now)
        statuses = (item.get("status") or {}).get("containerStatuses") or []
        exit_code = next((code for code in map(_exit_code, statuses) if code is not None), None)
        pod = replace(pod, restarts=sum(status["restartCount"] for status in statuses), exit_code=exit_code)
        if is_true(item, "Ready") and pod.ready_at is None:
            pod = replace(pod, ready_at=self.now)
        if "deletionTimestamp" in metadata and pod.ending_at is None:
            pod = replace(pod, ending_at=self.now)
        if verb == "DELETED":
            pod = replace(pod, gone_at=self.now)
        self.pods[metadata["uid"]] = pod

    async def _sample(self) -> None:
        wanted = of_pool(self.namespace, self.pool, WAITING, RUNNING, BATCH_SIZE)
        while True:
            try:
                readings = await self.prometheus.query(wanted)
            except UnreachableError:
                readings = []
            self.samples.append(self._look(readings))
            await asyncio.sleep(SAMPLE_SECONDS)

    def _look(self, readings: Iterable[Reading]) -> Sample:
        there = {uid for uid, pod in self.pods.items() if pod.gone_at is None}
        ready = {uid for uid in there if self.pods[uid].ready_at is not None and self.pods[uid].ending_at is None}
        by_metric: dict[str, dict[str, float]] = {WAITING: {}, RUNNING: {}, BATCH_SIZE: {}}
        for reading in readings:
            uid = reading.labels.get(POD_UID, "")
            if uid in there:
                by_metric[reading.labels["__name__"]][uid] = reading.value
        sizes = [int(size) for uid, size in by_metric[BATCH_SIZE].items() if uid in ready]
        desired = self.status.get("desired") or {}
        return Sample(
            at=self.now,
            waiting=_total(by_metric[WAITING]),
            running=_total(by_metric[RUNNING]),
            batch_size=min(sizes, default=None),
            desired_batch_size=desired.get("batchSize"),
            desired_replicas=desired.get("replicas"),
            ready=len(ready),
            pods=len(there),
        )


def _exit_code(container: Object) -> int | None:
    ended = (container.get("state") or {}).get("terminated")
    return ended["exitCode"] if ended else None


def _total(values: dict[str, float]) -> float | None:
    return sum(values.values()) if values else None


def explained(changes: Iterable[Decision], notes: Iterable[Note]) -> list[Decision]:
    """Each change with the operator's sentence on it, from the event that came with it."""
    known = list(notes)
    return [replace(change, reason=_reason_of(change, known)) for change in changes]


def _reason_of(change: Decision, notes: list[Note]) -> str:
    """An event tells of one or both knobs: `replicas 1 -> 4: …; batch size 2 -> 8: …`."""
    words = re.compile(rf"{change.knob} \d+ -> {change.after}: (.*?)(?:; batch size \d+ -> |$)")
    near = sorted(notes, key=lambda note: abs(note.at - change.at))
    found = (words.search(note.message) for note in near if abs(note.at - change.at) <= REASON_SECONDS)
    return next((match.group(1) for match in found if match), "")
