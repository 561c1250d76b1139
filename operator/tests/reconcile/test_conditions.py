"""Timelines of conditions and status writes."""

import pytest
from api.pools import body
from reconcile.fake_cluster import FakeCluster, serving
from reconcile.outcomes import outcome

from fluxpool_autoscaler import ColdStart
from fluxpool_operator.scaling.outcome import ConditionFact
from fluxpool_operator.world import Terminated

ALL = ["Ready", "Reconciling", "Stalled", "ScalingActive", "MetricsAvailable"]


# ---- Ready and Reconciling ------------------------------------------------------------------------------------------


def test_the_life_of_a_pool_from_apply_to_ready() -> None:
    cluster = FakeCluster()
    cluster.step()
    assert [c["type"] for c in cluster.status["conditions"]] == ALL
    assert cluster.verdict("Ready") == ("False", "Starting")
    assert cluster.verdict("Reconciling") == ("True", "Starting")
    assert cluster.verdict("MetricsAvailable") == ("Unknown", "Starting")
    cluster.start_pods(1, ready=False)
    cluster.step(seconds=5)
    assert cluster.verdict("Ready") == ("False", "Starting")
    cluster.change_pods(cluster.pods, ready=True)
    plan = cluster.step(seconds=5)
    assert cluster.verdict("Ready") == ("True", "Serving")
    assert cluster.verdict("Reconciling") == ("False", "UpToDate")
    assert [(e.type, e.reason, e.message) for e in plan.events] == [("Normal", "Ready", "1 of 1 pods serve")]


def test_scaling_up_and_down_never_changes_ready_or_reconciling() -> None:
    cluster = serving(1)
    before = [cluster.condition(kind) for kind in ("Ready", "Reconciling", "Stalled")]
    for replicas in (4, 2, 3, 1):
        cluster.outcome = outcome(replicas)
        cluster.step(seconds=20)
        alive = [pod for pod in cluster.pods if not pod.terminating]
        if len(alive) < replicas:
            cluster.start_pods(replicas - len(alive), ready=False)
            cluster.step(seconds=20)
            cluster.change_pods(cluster.pods, ready=True)
        else:
            cluster.change_pods(alive[replicas:], terminating=True, ready=False)
            cluster.step(seconds=20)
            cluster.end_pods([pod for pod in cluster.pods if pod.terminating])
        cluster.settle()
        assert [cluster.condition(kind) for kind in ("Ready", "Reconciling", "Stalled")] == before


def test_a_rollout_is_not_ready_until_a_pod_of_the_new_template_is() -> None:
    cluster = serving(1)
    cluster.change_spec(serving={"maxWaiting": 7})
    cluster.step()
    assert cluster.verdict("Ready") == ("False", "RollingOut")
    assert cluster.verdict("Reconciling") == ("True", "RollingOut")
    old = cluster.pods
    cluster.start_pods(1)
    cluster.step(seconds=11)
    assert cluster.verdict("Ready") == ("True", "Serving")
    assert cluster.verdict("Reconciling") == ("True", "RollingOut")
    cluster.change_pods(old, terminating=True)
    cluster.step(seconds=11)
    assert cluster.verdict("Reconciling") == ("False", "UpToDate")


def test_a_new_generation_that_changes_no_pod_is_observed_without_any_transition() -> None:
    cluster = serving(1)
    before = {kind: cluster.condition(kind)["lastTransitionTime"] for kind in ALL}
    cluster.change_spec(batching={"max": 4})
    cluster.step(seconds=60)
    assert cluster.status["observedGeneration"] == 2
    assert {c["observedGeneration"] for c in cluster.status["conditions"]} == {2}
    assert {kind: cluster.condition(kind)["lastTransitionTime"] for kind in ALL} == before


def test_a_pool_scaled_to_none_by_hand_is_not_ready_and_needs_no_help() -> None:
    cluster = FakeCluster(pool=body(scaling={"mode": "Manual"}, replicas=0)).settle()
    assert cluster.verdict("Ready") == ("False", "NoReplicas")
    assert cluster.verdict("Reconciling") == ("False", "UpToDate")
    assert cluster.verdict("Stalled")[0] == "False"


def test_ready_pods_that_end_turn_ready_off_with_a_warning() -> None:
    cluster = serving(1)
    cluster.change_pods(cluster.pods, ready=False)
    plan = cluster.step(seconds=1)
    assert cluster.verdict("Ready") == ("False", "Starting")
    assert [(event.type, event.reason) for event in plan.events] == [("Warning", "Starting")]


# ---- an object that cannot be read ----------------------------------------------------------------------------------


def test_an_unreadable_pool_is_stalled_and_its_pods_serve_on() -> None:
    cluster = serving(2)
    ready = cluster.condition("Ready")
    cluster.change_spec(gpu={"count": 0})
    plan = cluster.step()
    assert cluster.verdict("Stalled") == ("True", "InvalidSpec")
    assert "spec.gpu.count" in cluster.condition("Stalled")["message"]
    assert cluster.condition("Ready") == ready
    assert plan.applies == ()
    assert cluster.replicas == 2
    assert [(event.type, event.reason) for event in plan.events] == [("Warning", "InvalidSpec")]
    assert cluster.step(seconds=60).empty


def test_an_unreadable_pool_that_is_mended_goes_on() -> None:
    cluster = serving(2)
    cluster.change_spec(gpu={"count": 0})
    cluster.step()
    cluster.change_spec(gpu={"count": 1})
    cluster.settle()
    assert cluster.verdict("Stalled") == ("False", "Progressing")
    assert cluster.verdict("Ready") == ("True", "Serving")


# ---- when status is written -----------------------------------------------------------------------------------------


def test_nothing_is_written_while_nothing_changes() -> None:
    cluster = serving(3)
    writes = cluster.status_writes
    for _ in range(100):
        assert cluster.step(seconds=60).empty
    assert cluster.status_writes == writes


def test_counts_wait_until_the_last_write_is_ten_seconds_old_and_the_plan_says_when() -> None:
    cluster = serving(1)
    cluster.outcome = outcome(3)
    cluster.step(seconds=60)
    written = cluster.status_writes
    cluster.start_pods(1, ready=False)
    early = cluster.step(seconds=4)
    assert (early.status, early.requeue_after_seconds) == (None, 6)
    cluster.start_pods(1, ready=False)
    cluster.step(seconds=5)
    assert cluster.status_writes == written
    cluster.step(seconds=1)
    assert cluster.status_writes == written + 1
    assert cluster.status["replicas"] == 3


@pytest.mark.parametrize("urgent", ["desired", "batch size", "ready", "stalled"])
def test_desired_numbers_ready_and_stalled_are_written_at_once(urgent: str) -> None:
    cluster = serving(2)
    cluster.outcome = outcome(3, 2)
    cluster.step(seconds=60)
    if urgent == "desired":
        cluster.outcome = outcome(4, 2)
    elif urgent == "batch size":
        cluster.outcome = outcome(3, 8)
    elif urgent == "ready":
        cluster.change_pods(cluster.pods, ready=False)
    else:
        cluster.change_pods(cluster.pods, ready=False, terminated=Terminated("ModelLoadFailed", 3, "m"))
    assert cluster.step(seconds=0.1).status is not None


def test_a_restarted_operator_may_write_at_once_and_has_nothing_to_write() -> None:
    cluster = serving(1)
    cluster.status_written_at = None
    cluster.outcome = None
    assert cluster.step().empty


def test_a_field_that_is_no_longer_true_is_removed() -> None:
    cluster = FakeCluster(outcome=outcome(recommended=3))
    cluster.change_spec(scaling={"mode": "Recommend", "maxReplicas": 4})
    cluster.settle()
    assert cluster.status["recommended"] == {"replicas": 3}
    cluster.change_spec(scaling={"mode": "Manual"})
    cluster.outcome = outcome()
    plan = cluster.step(seconds=60)
    assert plan.status is not None
    assert plan.status["recommended"] is None
    assert "recommended" not in cluster.status


def test_a_message_quotes_the_moment_of_the_transition_until_reason_or_generation_change() -> None:
    cluster = serving(1)
    stale = ConditionFact("False", "Stale", "last sample 31 s ago")
    cluster.outcome = outcome(1, metrics_available=stale)
    cluster.step(seconds=60)
    cluster.outcome = outcome(1, metrics_available=ConditionFact("False", "Stale", "last sample 61 s ago"))
    assert cluster.step(seconds=60).empty
    assert cluster.condition("MetricsAvailable")["message"] == "last sample 31 s ago"
    cluster.change_spec(batching={"max": 4})
    cluster.step(seconds=60)
    assert cluster.condition("MetricsAvailable")["message"] == "last sample 61 s ago"


def test_last_transition_time_moves_with_the_status_and_not_with_the_reason() -> None:
    cluster = serving(1)
    times = []
    for fact in (
        ConditionFact("False", "Stale", "m"),
        ConditionFact("False", "QueryError", "m"),
        ConditionFact("True", "Fresh", "m"),
    ):
        cluster.outcome = outcome(1, metrics_available=fact)
        cluster.step(seconds=60)
        times.append(cluster.condition("MetricsAvailable")["lastTransitionTime"])
    assert times[0] == times[1] != times[2]


def test_a_long_message_is_cut_to_what_the_schema_allows() -> None:
    cluster = serving(1)
    cluster.outcome = outcome(1, metrics_available=ConditionFact("False", "QueryError", "x" * 5000))
    cluster.step(seconds=60)
    assert len(cluster.condition("MetricsAvailable")["message"]) == 1024


def test_cold_start_is_shown_in_whole_seconds_rounded_up_and_outlives_a_restart() -> None:
    cluster = serving(1)
    cluster.outcome = outcome(1, cold_start=ColdStart(20.2, 30.0, 41.9, starts=3))
    cluster.step(seconds=60)
    shown = {"p50Seconds": 21, "p90Seconds": 30, "p99Seconds": 42}
    assert cluster.status["coldStart"] == shown
    cluster.outcome = outcome(1)
    cluster.settle()
    assert cluster.status["coldStart"] == shown


# ---- Recommend, and the plan in words -------------------------------------------------------------------------------


def test_recommend_changes_status_and_nothing_else() -> None:
    cluster = serving(2)
    cluster.change_spec(scaling={"mode": "Recommend", "maxReplicas": 4}, batching={"mode": "Recommend"})
    cluster.outcome = outcome(recommended=4, recommended_batch_size=2)
    plan = cluster.step(seconds=60)
    assert cluster.status["recommended"] == {"replicas": 4, "batchSize": 2}
    assert cluster.status["desired"]["replicas"] == 2
    assert plan.applies == ()


def test_the_plan_tells_its_reasons_in_words() -> None:
    cluster = serving(1)
    cluster.outcome = outcome(2)
    cluster.edit("Service", "spec.publishNotReadyAddresses", True)
    assert cluster.step(seconds=60).explanation == (
        "apply Deployment: replicas 1 -> 2",
        "apply Service: spec.publishNotReadyAddresses was changed by somebody else",
        "write status: desired, lastScaleTime",
    )
