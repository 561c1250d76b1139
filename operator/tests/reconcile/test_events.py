"""Which writes of status an event tells of: a number that the autoscaler has changed, and a condition that turned."""

from typing import Any

import pytest
from reconcile.fake_cluster import FakeCluster, serving
from reconcile.outcomes import outcome

from fluxpool_operator.scaling.outcome import ConditionFact, EventFact


def test_the_autoscalers_event_is_sent_once_with_the_number_it_tells_of() -> None:
    cluster = serving(1)
    word = EventFact("Normal", "ScaledUp", "1 to 3 replicas: queue depth 12, target 4")
    cluster.outcome = outcome(3, event=word)
    plan = cluster.step()
    assert [(e.type, e.reason, e.message) for e in plan.events] == [(word.type, word.reason, word.message)]
    assert [item.why for item in plan.applies] == ["replicas 1 -> 3"]
    assert cluster.step(seconds=60).events == ()


def test_a_batch_size_that_changes_alone_is_an_event() -> None:
    cluster = serving(1)
    cluster.outcome = outcome(1, 2)
    assert cluster.step().events == (), "where the pool starts is no change"
    word = EventFact("Normal", "BatchSizeRaised", "batch size 2 -> 8")
    cluster.outcome = outcome(1, 8, event=word)
    assert [event.reason for event in cluster.step().events] == [word.reason]


def test_the_first_number_of_a_new_pool_is_no_change_even_if_the_autoscaler_looked_before_there_was_a_deployment() -> (
    None
):
    cluster = FakeCluster(outcome=outcome(1, 8, event=EventFact("Normal", "ScaledUp", "replicas 0 -> 1")))
    plan = cluster.step()
    assert cluster.status["desired"]["replicas"] == 1
    assert plan.events == ()


def test_an_old_event_is_not_sent_again_when_status_is_lost() -> None:
    cluster = serving(1)
    cluster.outcome = outcome(3, 8, event=EventFact("Normal", "ScaledUp", "1 to 3"))
    cluster.settle()
    cluster.pool["status"] = {}
    plan = cluster.step(seconds=60)
    assert cluster.status["desired"] == {"replicas": 3, "batchSize": 8}
    assert plan.events == ()


def test_an_old_event_is_not_sent_when_the_user_moves_a_bound() -> None:
    cluster = serving(1)
    cluster.outcome = outcome(2, event=EventFact("Normal", "ScaledUp", "1 to 2"))
    cluster.settle()
    cluster.change_spec(scaling={"minReplicas": 3, "maxReplicas": 4})
    plan = cluster.step(seconds=60)
    assert plan.desired_replicas == 3
    assert plan.events == ()


@pytest.mark.parametrize(
    ("kind", "field"), [("ScalingActive", "scaling_active"), ("MetricsAvailable", "metrics_available")]
)
def test_each_turn_of_an_autoscaler_condition_is_one_event(kind: str, field: str) -> None:
    cluster = serving(1)
    bad: dict[str, Any] = {field: ConditionFact("False", "Unauthorized", "401 from Prometheus")}
    cluster.outcome = outcome(1, **bad)
    assert [(e.type, e.reason) for e in cluster.step(seconds=60).events] == [("Warning", "Unauthorized")]
    assert cluster.step(seconds=60).events == ()
    cluster.outcome = outcome(1)
    assert [(e.type, e.reason) for e in cluster.step(seconds=60).events] == [("Normal", kind)]


def test_an_unknown_condition_is_no_event() -> None:
    cluster = serving(1)
    cluster.outcome = outcome(1, metrics_available=ConditionFact("Unknown", "NoReadyPods", "m"))
    assert cluster.step(seconds=60).events == ()
