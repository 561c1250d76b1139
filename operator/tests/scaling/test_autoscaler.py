"""From samples to an outcome, tick by tick, with a Prometheus made of numbers."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from scaling.stage import QUICK, START, Gauges, Stage, conditions, failure, pod, scaling, stage

from fluxpool_autoscaler import ColdStart
from fluxpool_operator.scaling import Autoscaler
from fluxpool_operator.scaling.outcome import ConditionFact, EventFact

NO_WINDOW = {"scaleDown": {"stabilizationWindowSeconds": 0}}


# ---- numbers and words ----------------------------------------------------------------------------------------------


def test_load_over_the_target_raises_replicas_with_an_event_that_says_why() -> None:
    outcome = stage(1, running=8, waiting=16).tick()
    assert (outcome.desired_replicas, outcome.desired_batch_size) == (3, 8)
    assert (outcome.recommended_replicas, outcome.recommended_batch_size) == (None, None)
    said = "queue depth per replica is 24, target 8: 3 replicas needed"
    assert outcome.event == EventFact("Normal", "ScaledUp", f"replicas 1 -> 3: {said}")
    assert outcome.scaling_active == ConditionFact(
        "True", "Scaling", f"replicas 3: {said}; batch size 8: 16 requests waiting for a row: 8 rows needed"
    )
    assert outcome.metrics_available == ConditionFact("True", "Fresh", "the ready pods have fresh metrics")


def test_the_first_replicas_of_a_pool_are_no_change_whenever_they_are_seen() -> None:
    outcome = stage(0).tick()
    assert outcome.desired_replicas == 1
    assert outcome.decision.replicas.previous == 0
    assert outcome.event is None


def test_batch_size_rises_first_and_the_event_tells_of_it() -> None:
    spec = scaling(targets={"latencySeconds": 5})
    world = stage(1, spec, running=1, limit=2)
    world.mean_work = 4
    assert world.tick().desired_batch_size == 2
    assert world.tick().event is None  # where the pool starts is no change
    world.gauges["uid-pod-0"] = Gauges(running=2, waiting=2, limit=2)
    outcome = world.tick()
    assert (outcome.desired_replicas, outcome.desired_batch_size) == (1, 8)
    assert outcome.event == EventFact(
        "Normal", "BatchSizeRaised", "batch size 2 -> 8: 2 requests waiting for a row: 8 rows needed"
    )


def test_both_numbers_in_one_event() -> None:
    world = stage(1, scaling(targets={"latencySeconds": 5}), running=1, limit=2)
    world.mean_work = 4
    world.tick()
    world.gauges["uid-pod-0"] = Gauges(running=2, waiting=20, limit=2)
    event = world.tick().event
    assert event is not None
    assert event.reason == "ScaledUp"
    assert "replicas 1 -> 3: " in event.message
    assert "; batch size 2 -> 8: " in event.message


def test_scaling_down_is_an_event_too() -> None:
    world = stage(2, scaling(**QUICK))
    outcomes = [world.tick() for _ in range(7)]
    assert [outcome.desired_replicas for outcome in outcomes] == [2] * 5 + [1] * 2
    assert outcomes[5].event == EventFact(
        "Normal",
        "ScaledDown",
        "replicas 2 -> 1: queue depth per replica is 0, target 8: 0 replicas needed, raised to 1, the minimum",
    )


def test_the_event_stays_until_the_next_change_or_another_mode() -> None:
    world = stage(1, running=24)
    first = world.tick().event
    assert world.tick().event == first is not None
    world.spec = scaling(mode="Hold")
    assert world.tick().event is None


@pytest.mark.parametrize(
    ("spec", "count", "gauges", "ticks", "reason"),
    [
        (scaling(), 3, {"running": 40}, 1, "AtMaximum"),
        (scaling(**QUICK), 2, {}, 7, "AtMinimum"),
        (scaling(), 2, {}, 1, "HeldByWindow"),
        (scaling(behavior=NO_WINDOW), 2, {"utilization": 0.9}, 1, "HeldByUtilization"),
        (scaling(targets={"gpuUtilizationPercent": 50}), 2, {"utilization": "NaN"}, 1, "HeldByMissingMetrics"),
        (scaling(), 2, {"running": 8}, 1, "Steady"),
        (scaling(), 2, {"running": 16}, 1, "Scaling"),
    ],
)  # fmt: skip
def test_an_active_autoscaler_says_what_it_is_at(
    spec: dict[str, Any], count: int, gauges: dict[str, Any], ticks: int, reason: str
) -> None:
    world = stage(count, spec, **gauges)
    for _ in range(ticks):
        outcome = world.tick()
    assert conditions(outcome)[0] == ("True", reason)


def test_a_rate_that_bounds_the_rise_is_scaling() -> None:
    one_a_minute = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}
    outcome = stage(1, scaling(behavior=one_a_minute), running=30).tick()
    assert outcome.desired_replicas == 2
    assert conditions(outcome)[0] == ("True", "Scaling")


# ---- while nothing changes ------------------------------------------------------------------------------------------


def test_outcomes_are_equal_while_nothing_changes_although_values_do() -> None:
    world = stage(2, running=8)
    first = world.tick()
    for depth in (8.2, 7.9, 8.5, 7.5):
        world.gauges = {uid: Gauges(running=depth) for uid in world.gauges}
        assert world.tick() == first
    assert "is 8, target 8" in first.scaling_active.message


def test_a_less_important_reason_waits_so_that_random_load_writes_no_status() -> None:
    world = stage(2, running=8)
    assert conditions(world.tick())[0] == ("True", "Steady")
    reasons = []
    for depth in (3, 8, 8, 3, 8, 8, 3, 8):
        world.gauges = {uid: Gauges(running=depth) for uid in world.gauges}
        reasons.append(world.tick().scaling_active.reason)
    assert set(reasons) == {"HeldByWindow"}
    reasons = [world.tick().scaling_active.reason for _ in range(16)]
    assert reasons[-1] == "Steady"


# ---- what is missing ------------------------------------------------------------------------------------------------

BROKEN = [
    (httpx.ConnectError("connection refused"), "PrometheusUnreachable", "connection refused"),
    (httpx.Response(500, text="boom"), "QueryError", "500 Internal Server Error"),
    (failure(422, "execution", "too many samples"), "QueryError", "too many samples"),
    (httpx.Response(401), "Unauthorized", "401 Unauthorized"),
    (httpx.Response(200, text="<html>"), "BadResponse", "not an answer of a Prometheus"),
]


@pytest.mark.parametrize(("reply", "reason", "words"), BROKEN)
def test_an_idle_pool_loses_nothing_while_prometheus_is_broken_and_shrinks_when_it_is_back(
    reply: httpx.Response | Exception, reason: str, words: str
) -> None:
    world = stage(3, scaling(**QUICK))
    world.tick()
    world.broken = lambda: reply
    outcomes = [world.tick() for _ in range(30)]
    assert {outcome.desired_replicas for outcome in outcomes} == {3}
    assert conditions(outcomes[-1]) == (("False", "MetricsUnavailable"), ("False", reason))
    assert words in outcomes[-1].metrics_available.message
    assert outcomes[0] == outcomes[-1]
    world.broken = None
    back = [world.tick() for _ in range(6)]
    assert [outcome.desired_replicas for outcome in back] == [3] * 5 + [1]
    assert conditions(back[0])[1] == ("True", "Fresh")


def test_an_empty_answer_is_missing_and_not_idle() -> None:
    world = stage(2, scaling(**QUICK))
    world.gauges = {}
    outcomes = [world.tick() for _ in range(20)]
    assert outcomes[-1].desired_replicas == 2
    assert outcomes[-1].metrics_available == ConditionFact(
        "False", "MetricsMissing", "2 of 2 ready pods have no series in Prometheus: pod-0, pod-1"
    )
    assert conditions(outcomes[-1])[0] == ("False", "MetricsUnavailable")


def test_nan_is_missing_and_not_idle() -> None:
    world = stage(2, scaling(**QUICK), waiting="NaN")
    outcomes = [world.tick() for _ in range(20)]
    assert outcomes[-1].desired_replicas == 2
    assert outcomes[-1].metrics_available.reason == "MetricsMissing"
    assert (
        "give NaN, or nothing, for a metric that scaling needs: pod-0, pod-1" in outcomes[-1].metrics_available.message
    )


def test_stale_samples_do_not_count() -> None:
    world = stage(2, scaling(**QUICK))
    for _ in range(3):
        world.tick()  # an interval of 2 s is learned
    for _ in range(20):
        for gauges in world.gauges.values():
            gauges.age += 2
        outcome = world.tick()
    assert outcome.desired_replicas == 2
    assert outcome.metrics_available == ConditionFact(
        "False", "MetricsStale", "2 of 2 ready pods have only metrics older than 6 s, three scrapes: pod-0, pod-1"
    )


def test_the_numbers_of_a_container_that_has_ended_do_not_count() -> None:
    world = stage(1, scaling(**QUICK))
    world.pods = [replace(world.pods[0], started_at=START - timedelta(seconds=610), restarts=1)]
    outcome = world.tick()
    assert outcome.metrics_available.reason == "MetricsMissing"
    assert "have only metrics of a process that has ended: pod-0" in outcome.metrics_available.message


def test_one_missing_pod_of_three_is_named_and_holds_the_others() -> None:
    world = stage(3, scaling(**QUICK), running=6)
    del world.gauges["uid-pod-1"]
    outcomes = [world.tick() for _ in range(8)]
    assert outcomes[-1].desired_replicas == 3
    assert outcomes[-1].metrics_available.message == "1 of 3 ready pods have no series in Prometheus: pod-1"
    assert outcomes[-1].scaling_active.status == "True"


def test_many_names_are_shortened() -> None:
    world = stage(5, scaling(maxReplicas=9))
    world.gauges = {}
    assert world.tick().metrics_available.message.endswith(": pod-0, pod-1, pod-2, …")


def test_a_pod_that_has_just_become_ready_is_no_fault_of_the_metrics() -> None:
    world = stage(1, running=8)
    world.pods.append(pod("new", ready_at=START))
    assert conditions(world.tick())[1] == ("True", "Fresh")
    world.gauges, world.pods = {}, world.pods[1:]
    assert conditions(world.tick()) == (("Unknown", "AwaitingFirstScrape"), ("Unknown", "AwaitingFirstScrape"))
    assert conditions(world.tick(200))[1] == ("False", "MetricsMissing")


@pytest.mark.parametrize("pods", [[], [pod("a", ready=False)]])
def test_no_ready_pod_is_no_outage(pods: list[Any]) -> None:
    world = Stage(spec=scaling(minReplicas=2), pods=pods, replicas=3)
    outcome = world.tick()
    assert outcome.desired_replicas == 3
    assert conditions(outcome) == (("Unknown", "NoReadyPods"), ("Unknown", "NoReadyPods"))
    assert outcome.scaling_active.message == "replicas stay at 3: no pod is ready, so there is nothing to measure"


@pytest.mark.parametrize(("spec", "expected"), [(scaling(minReplicas=2), 2), (scaling(maxReplicas=1), 1)])
def test_bounds_apply_without_data(spec: dict[str, Any], expected: int) -> None:
    world = Stage(spec=spec, replicas=1 if expected == 2 else 3)
    world.broken = lambda: httpx.ConnectError("refused")
    outcome = world.tick()
    assert outcome.desired_replicas == expected
    assert outcome.event is not None


def test_without_a_prometheus_it_says_what_to_set() -> None:
    world = stage(2)
    world.autoscaler = Autoscaler(None, clock=lambda: world.seconds)
    outcome = world.tick()
    assert outcome.desired_replicas == 2
    assert conditions(outcome)[1] == ("False", "NotConfigured")
    assert "prometheus.url" in outcome.metrics_available.message


def test_before_the_first_poll_nothing_is_known() -> None:
    world = stage(2)
    assert conditions(world.evaluate())[1] == ("Unknown", "NotPolled")


def test_the_mean_work_of_a_request_never_blocks_a_decision() -> None:
    world = stage(1, scaling(targets={"latencySeconds": 5}), running=1, limit=2)
    world.mean_work = 4
    assert world.tick().desired_batch_size == 2
    world.mean_work_broken = failure(422, "execution", "too many samples")
    outcome = world.tick()
    assert outcome.desired_batch_size == 2
    assert conditions(outcome)[1] == ("True", "Fresh")


# ---- polling --------------------------------------------------------------------------------------------------------


def test_a_poll_is_two_queries_however_many_pools() -> None:
    world = stage(1)
    world.tick()
    world.evaluate("another")
    assert len(world.queries) == 2


def test_polling_says_once_that_metrics_are_gone_and_once_that_they_are_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world = stage(1)
    world.tick()
    world.broken = lambda: httpx.ConnectError("refused")
    for _ in range(3):
        world.tick()
    world.broken = None
    world.tick()
    said = [record.getMessage() for record in caplog.records if record.name.startswith("fluxpool")]
    assert said == [
        "metrics are available",
        "no metrics: http://prometheus.test:9090 cannot be reached: refused",
        "metrics are available",
    ]


# ---- cold start -----------------------------------------------------------------------------------------------------


def test_the_outcome_carries_the_cold_starts() -> None:
    assert stage(2).tick().cold_start == ColdStart(40, 40, 40, starts=2)
    assert Stage(spec=scaling()).tick().cold_start is None
