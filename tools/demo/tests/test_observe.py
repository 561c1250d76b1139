from typing import Any

import httpx

from fluxpool_demo.observe import Note, Observer, explained
from fluxpool_demo.prometheus import (
    BATCH_SIZE,
    PACE_OVERRUNS,
    PACE_STEPS,
    RUNNING,
    WAITING,
    Prometheus,
    Reading,
)
from fluxpool_demo.record import Decision, Knob, Pacing


def observer() -> Observer:
    clock = iter(float(second) for second in range(1000))
    return Observer(None, None, "demo", "tiny", started_at=0, clock=lambda: next(clock))  # type: ignore[arg-type]


def pool(**desired: int) -> dict[str, Any]:
    return {"metadata": {"name": "tiny"}, "status": {"desired": desired}}


def pod(
    uid: str, *, ready: bool = False, ending: bool = False, restarts: int = 0, pool: str = "tiny"
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": f"tiny-{uid}", "uid": uid, "labels": {"fluxpool.dev/pool": pool}}
    if ending:
        metadata["deletionTimestamp"] = "2026-11-24T05:00:00Z"
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": metadata,
        "status": {"conditions": conditions, "containerStatuses": [{"restartCount": restarts}]},
    }


def reading(metric: str, uid: str, value: float) -> Reading:
    return Reading({"__name__": metric, "fluxpool_pod_uid": uid}, value)


def test_each_change_of_a_desired_number_is_one_decision() -> None:
    seen = observer()
    seen._see_pool("ADDED", pool(replicas=1))
    seen._see_pool("MODIFIED", pool(replicas=1, batchSize=2))
    seen._see_pool("MODIFIED", pool(replicas=1, batchSize=2))
    seen._see_pool("MODIFIED", pool(replicas=4, batchSize=8))
    assert [(c.knob, c.before, c.after) for c in seen.changes] == [
        (Knob.REPLICAS, None, 1),
        (Knob.BATCH_SIZE, None, 2),
        (Knob.BATCH_SIZE, 2, 8),
        (Knob.REPLICAS, 1, 4),
    ]


def test_another_pool_of_the_namespace_is_not_ours() -> None:
    seen = observer()
    seen._see_pool("ADDED", {"metadata": {"name": "other"}, "status": {"desired": {"replicas": 9}}})
    assert seen.changes == []


def test_a_pod_is_followed_from_first_sight_to_its_end() -> None:
    seen = observer()
    for verb, item in (
        ("ADDED", pod("a")),
        ("MODIFIED", pod("a", ready=True)),
        ("MODIFIED", pod("a", ready=True, ending=True)),
        ("DELETED", pod("a", ending=True)),
    ):
        seen._see_pod(verb, item)
    [life] = seen.pods.values()
    times = [life.seen_at, life.ready_at, life.ending_at, life.gone_at]
    assert None not in times
    assert times == sorted(times)


def test_pods_of_others_are_not_counted() -> None:
    seen = observer()
    seen._see_pod("ADDED", pod("x", ready=True, pool="other"))
    assert seen.pods == {}


def test_restarts_of_a_container_are_kept_after_the_pod_is_gone() -> None:
    seen = observer()
    seen._see_pod("MODIFIED", pod("a", restarts=2))
    seen._see_pod("DELETED", pod("a", restarts=2))
    assert [life.restarts for life in seen.pods.values()] == [2]


def test_the_exit_code_of_a_pod_is_kept_after_it_is_gone() -> None:
    seen = observer()
    ended = pod("a", ending=True)
    ended["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 1}}
    seen._see_pod("ADDED", pod("a"))
    assert [life.exit_code for life in seen.pods.values()] == [None]
    for verb in ("MODIFIED", "DELETED"):
        seen._see_pod(verb, ended)
    assert [life.exit_code for life in seen.pods.values()] == [1]


def test_a_sample_sums_the_pods_there_are_and_takes_the_least_batch_size_of_the_ready_ones() -> None:
    seen = observer()
    seen._see_pod("ADDED", pod("a", ready=True))
    seen._see_pod("ADDED", pod("b", ready=True))
    seen._see_pod("ADDED", pod("c"))
    sample = seen._look(
        [
            reading(WAITING, "a", 3),
            reading(WAITING, "b", 1),
            reading(RUNNING, "a", 8),
            reading(BATCH_SIZE, "a", 8),
            reading(BATCH_SIZE, "b", 4),
            reading(BATCH_SIZE, "c", 1),
            reading(WAITING, "gone-long-ago", 50),
        ]
    )
    assert (sample.waiting, sample.running, sample.batch_size) == (4, 8, 4)
    assert (sample.ready, sample.pods) == (2, 3)


def test_what_prometheus_does_not_tell_is_unknown_and_not_zero() -> None:
    seen = observer()
    seen._see_pod("ADDED", pod("a", ready=True))
    sample = seen._look([])
    assert (sample.waiting, sample.running, sample.batch_size) == (None, None, None)


def test_a_change_is_explained_by_its_half_of_the_nearest_event() -> None:
    changes = [
        Decision(10, Knob.REPLICAS, 1, 4),
        Decision(10, Knob.BATCH_SIZE, 2, 8),
        Decision(50, Knob.REPLICAS, 4, 1),
    ]
    notes = [
        Note(10.2, "ScaledUp", "replicas 1 -> 4: queue depth is 9, target 8; batch size 2 -> 8: 3 requests wait"),
        Note(50.1, "ScaledDown", "replicas 4 -> 1: queue depth is 0, target 8"),
    ]
    assert [change.reason for change in explained(changes, notes)] == [
        "queue depth is 9, target 8",
        "3 requests wait",
        "queue depth is 0, target 8",
    ]


def test_an_event_of_another_time_or_another_number_explains_nothing() -> None:
    notes = [Note(10, "ScaledUp", "replicas 1 -> 2: load"), Note(90, "ScaledUp", "replicas 1 -> 4: load")]
    assert [change.reason for change in explained([Decision(10, Knob.REPLICAS, 1, 4)], notes)] == [""]


async def test_the_pace_counts_steps_of_our_own_pods_also_of_those_that_have_gone() -> None:
    counters = {PACE_STEPS: {"a": 100, "b": 20, "of a pool before": 999}, PACE_OVERRUNS: {"a": 1, "b": 2}}

    def answer(request: httpx.Request) -> httpx.Response:
        [values] = [values for name, values in counters.items() if name in request.url.params["query"]]
        series = [{"metric": {"fluxpool_pod_uid": uid}, "value": [0, str(value)]} for uid, value in values.items()]
        return httpx.Response(200, json={"data": {"result": series}})

    async with httpx.AsyncClient(base_url="http://prometheus", transport=httpx.MockTransport(answer)) as http:
        seen = observer()
        seen.prometheus = Prometheus(http)
        seen._see_pod("ADDED", pod("a", ready=True))
        seen._see_pod("DELETED", pod("b", ending=True))
        assert await seen.pacing() == Pacing(steps=120, overruns=3)
