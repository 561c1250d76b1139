"""From API objects to what the reconciler sees."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fluxpool_operator.world import TEMPLATE_HASH, DeploymentView, PodView, Terminated, Waiting, read_pods

MADE = "2026-01-01T00:00:00Z"


def pod(name: str = "demo-1", /, *, state: Any = None, last: Any = None, **status: Any) -> dict[str, Any]:
    containers = [
        {"name": "sidecar", "restartCount": 9, "state": {"waiting": {"reason": "Other"}}},
        {"name": "inference", "restartCount": 2, "state": state or {}, "lastState": last or {}},
    ]
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": MADE,
            "annotations": {TEMPLATE_HASH: "abc"},
        },
        "spec": {"nodeName": "n1"},
        "status": {"containerStatuses": containers, **status},
    }


def condition(kind: str, status: str, **fields: str) -> dict[str, str]:
    return {"type": kind, "status": status, "lastTransitionTime": "2026-01-01T00:00:07Z", **fields}


def at(second: int) -> datetime:
    return datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)


def test_a_ready_pod_with_all_its_times() -> None:
    seen = PodView.of(
        pod(
            state={"running": {"startedAt": "2026-01-01T00:00:03Z"}},
            podIP="10.0.0.1",
            conditions=[condition("PodScheduled", "True"), condition("Ready", "True")],
        ),
        "abc",
    )
    assert seen == PodView(
        uid="uid-demo-1",
        name="demo-1",
        created_at=at(0),
        ip="10.0.0.1",
        node="n1",
        scheduled_at=at(7),
        started_at=at(3),
        ready_at=at(7),
        ready=True,
        restarts=2,
        template_hash="abc",
        current_template=True,
    )


def test_a_pod_that_was_just_made_has_no_status_at_all() -> None:
    seen = PodView.of({"metadata": pod()["metadata"]}, "another")
    assert (seen.ready, seen.node, seen.current_template, seen.restarts) == (False, None, False, 0)


def test_a_pod_that_is_not_ready_has_no_ready_time() -> None:
    assert PodView.of(pod(conditions=[condition("Ready", "False")]), "abc").ready_at is None


def test_the_schedulers_words_are_kept_while_no_node_fits() -> None:
    words = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    unschedulable = condition("PodScheduled", "False", reason="Unschedulable", message=words)
    gated = condition("PodScheduled", "False", reason="SchedulingGated")
    assert PodView.of(pod(conditions=[unschedulable]), "abc").unschedulable == words
    assert PodView.of(pod(conditions=[gated]), "abc").unschedulable is None


def test_waiting_is_that_of_our_container() -> None:
    seen = PodView.of(pod(state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}), "abc")
    assert seen.waiting == Waiting("ImagePullBackOff", "no such image")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            '{"reason": "ModelLoadFailed", "message": "no /m/model_index.json"}',
            Terminated("ModelLoadFailed", 3, "no /m/model_index.json"),
        ),
        (
            'a warning\n{"reason": "DeviceUnavailable", "message": "no GPU"}\n',
            Terminated("DeviceUnavailable", 3, "no GPU"),
        ),
        ('{"reason": "Invented", "message": "m"}', Terminated("Error", 3, '{"reason": "Invented", "message": "m"}')),
        ("Traceback: boom", Terminated("Error", 3, "Traceback: boom")),
        ("[1]", Terminated("Error", 3, "[1]")),
        ("", Terminated("Error", 3, "")),
    ],
)
def test_the_pods_own_words_are_its_last_line_if_that_is_json(message: str, expected: Terminated) -> None:
    ended = {"terminated": {"reason": "Error", "exitCode": 3, "message": message}}
    assert PodView.of(pod(last=ended), "abc").terminated == expected
    assert PodView.of(pod(state=ended), "abc").terminated == expected


def test_the_present_end_is_told_rather_than_the_one_before() -> None:
    before, now = {"terminated": {"exitCode": 1}}, {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    assert PodView.of(pod(state=now, last=before), "abc").terminated == Terminated("OOMKilled", 137, "")


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_has_ended_for_good_counts_as_leaving(phase: str) -> None:
    assert PodView.of(pod(phase=phase), "abc").terminating


def test_pods_come_oldest_first() -> None:
    young, old = pod("a"), pod("b")
    young["metadata"]["creationTimestamp"] = "2026-01-01T00:00:01Z"
    assert [seen.name for seen in read_pods([young, old], None)] == ["b", "a"]


def test_a_deployment_tells_why_it_cannot_make_pods_and_that_its_rollout_is_late() -> None:
    seen = DeploymentView.of(
        {
            "metadata": {},
            "spec": {"template": {}},
            "status": {
                "conditions": [
                    condition("ReplicaFailure", "True", message="exceeded quota: gpus"),
                    condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="timed out"),
                ]
            },
        }
    )
    assert (seen.creation_failure, seen.deadline_exceeded) == ("exceeded quota: gpus", "timed out")
    assert (seen.replicas, seen.template_hash, seen.basis) == (1, "", None)
