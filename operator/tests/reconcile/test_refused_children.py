"""Children that the API server refuses to write or delete, and how the conditions tell it."""

import pytest
from reconcile.fake_cluster import FakeCluster
from reconcile.outcomes import outcome

TYPO = 'apply Deployment default/demo: Deployment.apps "demo" is invalid: volumeMounts[0].name: Not found: "nothing"'
NO_RIGHT = 'delete Service default/demo: services "demo" is forbidden'


def test_a_pool_with_a_refused_child_is_stalled_in_the_api_servers_words() -> None:
    cluster = FakeCluster(refuses={"Deployment": TYPO})
    cluster.step()
    assert cluster.verdict("Stalled") == ("False", "Progressing"), "it has not been tried yet"
    plan = cluster.step(seconds=0.1)
    assert cluster.verdict("Stalled") == ("True", "Refused")
    assert cluster.verdict("Ready") == ("False", "Refused")
    assert cluster.verdict("Reconciling") == ("False", "Stalled")
    assert cluster.condition("Stalled")["message"] == cluster.condition("Ready")["message"] == TYPO
    assert [(event.type, event.reason, event.message) for event in plan.events] == [("Warning", "Refused", TYPO)]


def test_a_refused_child_is_told_once_and_until_it_is_taken() -> None:
    cluster = FakeCluster(refuses={"Deployment": TYPO})
    cluster.step()
    cluster.step()
    for _ in range(3):
        assert cluster.step(seconds=60).status is None
    cluster.refuses.clear()
    cluster.step(seconds=60)
    plan = cluster.step()
    assert cluster.verdict("Stalled") == ("False", "Progressing")
    assert [event.reason for event in plan.events] == ["Recovered"]


@pytest.mark.parametrize("child", ["Service", "PodDisruptionBudget", "Secret"])
def test_a_pool_that_serves_with_a_refused_child_is_ready_and_stalled(child: str) -> None:
    cluster = FakeCluster().settle()
    cluster.start_pods(1)
    cluster.settle().children.pop(child)
    cluster.refuses[child] = "no"
    cluster.step()
    cluster.step()
    assert cluster.verdict("Ready") == ("True", "Refused")
    assert cluster.condition("Ready")["message"] == "1 of 1 pods serve; no"
    assert cluster.verdict("Stalled") == ("True", "Refused")


def test_a_child_that_may_not_be_deleted_is_told_as_one_that_may_not_be_written() -> None:
    cluster = FakeCluster().settle()
    cluster.edit("Service", "spec.ports.0.port", 8080)
    cluster.refuses["Service"] = NO_RIGHT
    cluster.step()
    cluster.step()
    assert cluster.verdict("Stalled") == ("True", "Refused")
    assert cluster.condition("Stalled")["message"] == NO_RIGHT


def test_a_refusal_does_not_speak_of_another_spec_than_the_one_that_was_refused() -> None:
    cluster = FakeCluster(refuses={"Deployment": TYPO})
    cluster.step()
    cluster.step()
    cluster.change_spec(serving={"maxWaiting": 7})
    cluster.step()
    assert cluster.verdict("Stalled") == ("False", "Progressing")
    assert cluster.condition("Stalled")["observedGeneration"] == 2


def test_a_refusal_of_what_is_no_longer_wanted_is_no_problem() -> None:
    cluster = FakeCluster().settle()
    cluster.start_pods(1)
    cluster.settle()
    cluster.refuses["Deployment"] = "no"
    cluster.outcome = outcome(3)
    cluster.step(seconds=60)
    cluster.outcome = outcome(1)
    cluster.step(seconds=60)
    assert cluster.verdict("Stalled") == ("False", "Progressing")


def test_a_name_that_is_taken_is_told_before_a_refusal() -> None:
    cluster = FakeCluster(refuses={"Deployment": TYPO})
    cluster.children["Service"] = {"kind": "Service", "metadata": {"name": "demo", "uid": "another"}}
    cluster.step()
    cluster.step()
    assert cluster.verdict("Stalled") == ("True", "NameConflict")
