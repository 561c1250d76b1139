"""Which two numbers count, as tables over the modes; architecture.md, "Who writes what"."""

from typing import Any

import pytest
from api.pools import body
from reconcile.fake_cluster import FakeCluster
from reconcile.outcomes import outcome

BOUNDS = {"minReplicas": 2, "maxReplicas": 6}


def running(replicas: int, **spec: Any) -> FakeCluster:
    """A pool in mode Manual with so many replicas, before the change that a test makes."""
    cluster = FakeCluster(pool=body(scaling={**BOUNDS, "mode": "Manual"}, replicas=replicas, **spec))
    return cluster.settle()


def forget_status(cluster: FakeCluster) -> None:
    cluster.pool["status"] = {}


@pytest.mark.parametrize("mode", ["Auto", "Hold", "Recommend", "Manual"])
def test_a_new_pool_starts_at_its_lower_bound(mode: str) -> None:
    cluster = FakeCluster(pool=body(scaling={**BOUNDS, "mode": mode})).settle()
    assert (cluster.replicas, cluster.status["desired"]) == (2, {"replicas": 2})


@pytest.mark.parametrize(
    ("mode", "autoscaler", "spec", "status", "present", "expected"),
    [
        # mode       autoscaler  spec   status  present  expected
        ("Auto", 5, None, 3, 4, 5),
        ("Auto", None, None, 3, 4, 3),
        ("Auto", None, None, None, 4, 4),
        ("Auto", 9, None, 3, 4, 6),  # clamped
        ("Auto", 1, None, 3, 4, 2),
        ("Auto", None, 5, 3, 4, 3),  # a leftover of Manual
        ("Hold", None, None, 3, 4, 3),
        ("Hold", 5, None, 3, 4, 3),  # an outcome of the time before
        ("Hold", None, None, None, 4, 4),
        ("Hold", None, None, 9, 9, 6),
        ("Recommend", None, 5, 3, 4, 5),
        ("Recommend", None, None, 3, 4, 4),
        ("Manual", None, 5, 3, 4, 5),
        ("Manual", 6, 5, 3, 4, 5),
        ("Manual", None, None, 3, 4, 4),
        ("Manual", None, 9, 3, 4, 9),  # the user's number is the user's
        ("Manual", None, 0, 3, 4, 0),
    ],
)
def test_replicas_by_mode(
    mode: str, autoscaler: int | None, spec: int | None, status: int | None, present: int, expected: int
) -> None:
    cluster = running(present)
    cluster.change_spec(scaling={**BOUNDS, "mode": mode}, replicas=spec)
    cluster.pool["status"]["desired"] = {"replicas": status} if status else {}
    cluster.outcome = outcome(autoscaler)
    plan = cluster.step()
    assert (plan.desired_replicas, cluster.replicas) == (expected, expected)
    assert cluster.status["desired"]["replicas"] == expected


@pytest.mark.parametrize("status_is_lost", [False, True], ids=["", "status lost"])
@pytest.mark.parametrize("there", ["Auto", "Hold", "Recommend"])
def test_a_change_of_mode_and_back_keeps_the_number_of_pods(there: str, status_is_lost: bool) -> None:
    cluster = running(5)
    for mode in (there, "Manual"):
        cluster.change_spec(scaling={**BOUNDS, "mode": mode}, replicas=None)
        if status_is_lost:
            forget_status(cluster)
        plan = cluster.step(seconds=11)
        assert plan.applies == ()
        assert cluster.replicas == 5


def test_a_deployment_that_was_deleted_by_hand_comes_back_with_as_many_replicas_in_every_mode() -> None:
    for mode in ("Auto", "Hold", "Recommend", "Manual"):
        cluster = running(5)
        cluster.change_spec(scaling={**BOUNDS, "mode": mode}, replicas=None)
        cluster.settle()
        del cluster.children["Deployment"]
        cluster.step()
        assert cluster.replicas == 5, mode


def test_a_bound_that_moves_inward_moves_the_number_in_hold() -> None:
    cluster = FakeCluster(pool=body(scaling={**BOUNDS, "mode": "Hold"}), outcome=outcome())
    cluster.pool["status"] = {"desired": {"replicas": 6}}
    cluster.settle().change_spec(scaling={"mode": "Hold", "minReplicas": 2, "maxReplicas": 4})
    cluster.step()
    assert cluster.replicas == 4


@pytest.mark.parametrize(
    ("mode", "autoscaler", "spec", "status", "pods", "expected"),
    [
        ("Auto", 4, None, 2, [8, 8], 4),
        ("Auto", None, None, 2, [8, 8], 2),
        ("Auto", None, None, None, [4, 3], 3),
        ("Auto", None, None, None, [], None),
        ("Auto", 9, None, 2, [], 6),
        ("Auto", 1, None, 2, [], 2),
        ("Auto", None, 5, 4, [], 4),
        ("Hold", 4, None, 3, [8, 8], 3),
        ("Hold", None, None, None, [8], 6),
        ("Recommend", None, 4, 2, [], 4),
        ("Manual", None, 4, 2, [8, 8], 4),
        ("Manual", None, None, 2, [8, 8], 2),
        ("Manual", None, None, None, [], None),
    ],
)
def test_batch_size_by_mode(
    mode: str,
    autoscaler: int | None,
    spec: int | None,
    status: int | None,
    pods: list[int],
    expected: int | None,
) -> None:
    cluster = running(max(1, len(pods)))
    for pod, size in zip(cluster.start_pods(len(pods)), pods, strict=True):
        cluster.batch_sizes[pod.uid] = size
    cluster.change_spec(batching={"mode": mode, "min": 2, "max": 6, "size": spec})
    cluster.pool["status"]["desired"] = {"batchSize": status} if status else {}
    cluster.outcome = outcome(None, autoscaler)
    plan = cluster.step()
    assert plan.desired_batch_size == expected
    assert cluster.status["desired"].get("batchSize") == expected
    assert plan.applies == ()  # a batch size restarts nothing


def test_status_shows_the_batch_size_that_all_ready_pods_have_at_the_least() -> None:
    cluster = running(4)
    ready, other, _silent, starting = cluster.start_pods(4)
    cluster.change_pods([starting], ready=False)
    cluster.batch_sizes = {ready.uid: 8, other.uid: 4, starting.uid: 1, "gone": 1}
    cluster.settle()
    assert cluster.status["batchSize"] == 4


def test_last_scale_time_is_when_the_desired_number_changed() -> None:
    cluster = FakeCluster(outcome=outcome(2)).settle()
    assert "lastScaleTime" not in cluster.status
    cluster.outcome = outcome(3)
    cluster.step(seconds=60)
    first = cluster.status["lastScaleTime"]
    assert first == cluster.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    cluster.settle()
    assert cluster.status["lastScaleTime"] == first
