"""Builds recordings: a good run in few words, and whatever a test wants changed in it."""

from dataclasses import replace
from typing import Any

from fluxpool_demo.load import RequestRecord
from fluxpool_demo.record import Decision, Knob, Pacing, PodRecord, Recording, Sample
from fluxpool_demo.schedule import Schedule, Step

LOAD_STARTED = 30.0
SCHEDULE = Schedule((Step("calm", 10, 1), Step("step up", 20, 3), Step("step up and hold", 40, 6)))

BATCH_UP = Decision(42.0, Knob.BATCH_SIZE, 2, 8, "3 requests wait for a row: 8 rows needed")
REPLICAS_UP = Decision(63.5, Knob.REPLICAS, 1, 4, "queue depth per replica is 12, target 8: 2 replicas needed")
REPLICAS_DOWN = Decision(118.0, Knob.REPLICAS, 4, 1, "queue depth per replica is 0, target 8: 1 replica needed")
BATCH_DOWN = Decision(120.0, Knob.BATCH_SIZE, 8, 2, "a request takes 0.9 s at 2 rows, target 1 s: 2 rows needed")


def sample(at: float, batch_size: int | None = 2, replicas: int = 1, ready: int = 1, pods: int = 1) -> Sample:
    return Sample(
        at=at,
        waiting=0,
        running=1,
        batch_size=batch_size,
        desired_batch_size=batch_size,
        desired_replicas=replicas,
        ready=ready,
        pods=pods,
    )


SAMPLES = (
    sample(25),
    sample(29.5),
    sample(40),
    sample(43, batch_size=8),
    sample(64, batch_size=8, replicas=4, pods=4),
    sample(80, batch_size=8, replicas=4, pods=4, ready=4),
    sample(119, batch_size=8, replicas=1, pods=3),
    sample(130),
)
PODS = (
    PodRecord("tiny-a", 1, ready_at=20),
    PodRecord("tiny-b", 64, ready_at=78, ending_at=118, gone_at=124),
)


def request(due_at: float, seconds: float = 1.0, **changes: Any) -> RequestRecord:
    return replace(RequestRecord(due_at, due_at, due_at + seconds, ok=True), **changes)


def good(**changes: Any) -> Recording:
    run = Recording(
        command="fluxpool-demo run",
        date="2026-11-24T05:00:00+00:00",
        machine={"cpus": 2},
        versions={"kubernetes": "v1.37.1"},
        scrape_interval_seconds=2,
        ready_at=20.0,
        first_image_at=21.0,
        load_started_at=LOAD_STARTED,
        schedule=SCHEDULE,
        samples=SAMPLES,
        decisions=(Decision(2, Knob.REPLICAS, None, 1), BATCH_UP, REPLICAS_UP, REPLICAS_DOWN, BATCH_DOWN),
        requests=tuple(request(LOAD_STARTED + second) for second in range(70)),
        pods=PODS,
        pacing=Pacing(steps=1000, overruns=2),
        total_seconds=180.0,
    )
    return replace(run, **changes)
