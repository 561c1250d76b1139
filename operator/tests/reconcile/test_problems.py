"""Each way in which pods can fail, and how the conditions tell it."""

from typing import Any

import pytest
from api.pools import body
from reconcile.fake_cluster import FakeCluster

from fluxpool_operator.reconcile.problems import short_resources
from fluxpool_operator.world import PodView, Terminated, Waiting

NO_GPU = (
    "0/2 nodes are available: 1 Insufficient cpu, 2 Insufficient nvidia.com/gpu. preemption: 0/2 nodes are available: "
    "2 No preemption victims found for incoming pod."
)
NO_CPU = "0/1 nodes are available: 1 Insufficient cpu."


def pool(replicas: int = 1, **spec: Any) -> FakeCluster:
    """A pool that counts on so many replicas, with its children but no pods."""
    return FakeCluster(pool=body(scaling={"minReplicas": replicas, "maxReplicas": 8}, **spec)).settle()


def starting(replicas: int = 1, **fields: Any) -> tuple[FakeCluster, tuple[PodView, ...]]:
    """The same, with pods that do not become ready."""
    cluster = pool(replicas)
    return cluster, cluster.start_pods(replicas, ready=False, **fields)


@pytest.mark.parametrize(
    ("fields", "reason", "message"),
    [
        (
            {"terminated": Terminated("ModelLoadFailed", 3, "no file /m/model_index.json"), "restarts": 1},
            "ModelLoadFailed",
            "no file /m/model_index.json (pod demo-0)",
        ),
        (
            {"terminated": Terminated("InvalidConfiguration", 3, "FLUXPOOL_MAX_STEPS is 0"), "restarts": 0},
            "InvalidConfiguration",
            "FLUXPOOL_MAX_STEPS is 0 (pod demo-0)",
        ),
        (
            {"waiting": Waiting("ImagePullBackOff", 'Back-off pulling image "x"')},
            "ImagePullFailed",
            'Back-off pulling image "x" (pod demo-0)',
        ),
        ({"waiting": Waiting("ErrImageNeverPull", "")}, "ImagePullFailed", "ErrImageNeverPull (pod demo-0)"),
        (
            {"waiting": Waiting("CreateContainerConfigError", 'secret "hub" not found')},
            "ContainerCreateFailed",
            'secret "hub" not found (pod demo-0)',
        ),
        (
            {
                "waiting": Waiting("CrashLoopBackOff", "back-off 5m"),
                "terminated": Terminated("OOMKilled", 137, ""),
                "restarts": 4,
            },
            "CrashLoop",
            "pod demo-0 ended with exit code 137 (OOMKilled), restarts: 4",
        ),
        (
            {"terminated": Terminated("Error", 1, "Traceback\nValueError: boom\n"), "restarts": 2},
            "CrashLoop",
            "pod demo-0 ended with exit code 1 (Error), restarts: 2: ValueError: boom",
        ),
    ],
)
def test_a_pool_whose_pods_cannot_start_is_stalled_and_says_why(
    fields: dict[str, Any], reason: str, message: str
) -> None:
    cluster, _ = starting(**fields)
    plan = cluster.step()
    assert cluster.verdict("Stalled") == ("True", reason)
    assert cluster.condition("Stalled")["message"] == message
    assert cluster.verdict("Ready") == ("False", reason)
    assert cluster.verdict("Reconciling") == ("False", "Stalled")
    assert [(event.type, event.reason) for event in plan.events] == [("Warning", reason)]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"waiting": Waiting("ContainerCreating", "")},
        {"waiting": Waiting("PodInitializing", "")},
        {"terminated": Terminated("Error", 1, "boom"), "restarts": 1},
        {"unschedulable": NO_GPU},
    ],
    ids=["starts", "creating", "initializing", "one crash", "just unschedulable"],
)
def test_a_pool_whose_pods_may_still_start_is_not_stalled(fields: dict[str, Any]) -> None:
    cluster, _ = starting(**fields)
    cluster.step()
    assert cluster.verdict("Stalled") == ("False", "Progressing")
    assert cluster.verdict("Reconciling") == ("True", "Starting")


def test_between_two_crashes_the_pool_stays_stalled_and_a_long_run_clears_it() -> None:
    crashed: dict[str, Any] = {"terminated": Terminated("Error", 1, "boom"), "restarts": 3}
    cluster, pods = starting(waiting=Waiting("CrashLoopBackOff", ""), **crashed)
    cluster.step()
    since = cluster.condition("Stalled")["lastTransitionTime"]
    cluster.change_pods(pods, waiting=None, started_at=cluster.now)
    cluster.step(seconds=30)
    assert (cluster.verdict("Stalled"), cluster.condition("Stalled")["lastTransitionTime"]) == (
        ("True", "CrashLoop"),
        since,
    )
    cluster.step(seconds=600)
    assert cluster.verdict("Stalled") == ("False", "Progressing")


def test_a_pod_that_is_ready_has_no_problem_whatever_its_past() -> None:
    cluster, pods = starting(terminated=Terminated("ModelLoadFailed", 3, "once"), restarts=5)
    cluster.step()
    cluster.change_pods(pods, ready=True)
    plan = cluster.step()
    assert cluster.verdict("Stalled") == ("False", "Progressing")
    assert {event.reason for event in plan.events} == {"Ready", "Recovered"}


def test_a_pod_that_leaves_is_no_problem() -> None:
    cluster, _ = starting(terminating=True, terminated=Terminated("ModelLoadFailed", 3, "m"))
    cluster.step()
    assert cluster.verdict("Stalled")[0] == "False"


# ---- pods that find no node -----------------------------------------------------------------------------------------


def test_an_unschedulable_pod_is_told_after_a_minute_and_the_plan_asks_to_be_called_then() -> None:
    cluster, _ = starting(unschedulable=NO_GPU)
    first = cluster.step(seconds=20)
    assert first.requeue_after_seconds == 40
    cluster.step(seconds=39)
    assert cluster.verdict("Stalled")[0] == "False"
    cluster.step(seconds=1)
    assert cluster.verdict("Stalled") == ("True", "Unschedulable")
    message = cluster.condition("Stalled")["message"]
    assert message.startswith(
        "nvidia.com/gpu, cpu is short: pod demo-0 waits for a node; the scheduler says: 0/2 nodes"
    )


def test_a_taint_is_told_in_the_schedulers_words() -> None:
    cluster, _ = starting(unschedulable="0/1 nodes are available: 1 node(s) had untolerated taint(s).")
    cluster.step(seconds=60)
    assert cluster.condition("Stalled")["message"].startswith("no node fits: pod demo-0 waits for a node")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (NO_GPU, ("nvidia.com/gpu", "cpu")),
        (NO_CPU, ("cpu",)),
        ("0/3 nodes are available: 3 Insufficient nvidia.com/mig-3g.71gb. no new", ("nvidia.com/mig-3g.71gb",)),
        ("0/1 nodes are available: 1 Too many pods.", ()),
    ],
)
def test_short_resources_are_read_from_the_schedulers_words(words: str, expected: tuple[str, ...]) -> None:
    assert short_resources(words) == expected


def test_a_pool_that_cannot_grow_but_has_what_the_user_counts_on_is_ready_and_not_stalled() -> None:
    cluster = pool(1)
    cluster.start_pods(1)
    cluster.start_pods(1, ready=False, unschedulable=NO_GPU)
    cluster.step(seconds=61)
    assert cluster.verdict("Stalled") == ("False", "Progressing")
    assert cluster.verdict("Ready") == ("True", "Unschedulable")
    assert "nvidia.com/gpu" in cluster.condition("Ready")["message"]


def test_a_pool_with_fewer_pods_than_the_user_counts_on_is_ready_and_stalled() -> None:
    cluster = pool(2)
    cluster.start_pods(1)
    cluster.start_pods(1, ready=False, unschedulable=NO_GPU)
    cluster.step(seconds=61)
    assert cluster.verdict("Stalled") == ("True", "Unschedulable")
    assert cluster.verdict("Ready") == ("True", "Unschedulable")


def test_in_mode_manual_the_user_counts_on_their_own_number() -> None:
    cluster = FakeCluster(pool=body(scaling={"mode": "Manual"}, replicas=2)).settle()
    cluster.start_pods(1)
    cluster.start_pods(1, ready=False, unschedulable=NO_GPU)
    cluster.step(seconds=61)
    assert cluster.verdict("Stalled") == ("True", "Unschedulable")


# ---- rollouts -------------------------------------------------------------------------------------------------------


def rolling(words: str, **rollout: Any) -> FakeCluster:
    """A pool of one whose spec changed; its new pod finds no node."""
    cluster = FakeCluster(pool=body(rollout=rollout) if rollout else body()).settle()
    cluster.start_pods(1)
    cluster.settle().change_spec(serving={"maxWaiting": 7})
    cluster.step()
    cluster.start_pods(1, ready=False, unschedulable=words)
    return cluster


def test_a_rollout_without_a_spare_gpu_says_so_after_a_minute_with_the_remedy() -> None:
    cluster = rolling(NO_GPU)
    cluster.step(seconds=59)
    assert cluster.verdict("Stalled")[0] == "False"
    assert cluster.verdict("Reconciling") == ("True", "RollingOut")
    cluster.step(seconds=1)
    assert cluster.verdict("Stalled") == ("True", "RolloutNeedsGPU")
    assert "set rollout.maxSurge: 0 and rollout.maxUnavailable: 1" in cluster.condition("Stalled")["message"]


def test_a_rollout_that_needs_cpu_does_not_speak_of_gpus() -> None:
    cluster = rolling(NO_CPU)
    cluster.step(seconds=61)
    assert cluster.verdict("Stalled") == ("True", "Unschedulable")


def test_a_rollout_that_has_no_surge_does_not_recommend_what_is_set() -> None:
    cluster = rolling(NO_GPU, maxSurge=0, maxUnavailable=1)
    cluster.step(seconds=61)
    assert cluster.verdict("Stalled") == ("True", "Unschedulable")


def test_a_rollout_whose_new_pod_crashes_is_stalled_while_the_former_pods_serve() -> None:
    cluster = rolling(NO_GPU)
    new = [pod for pod in cluster.pods if not pod.ready]
    cluster.change_pods(new, unschedulable=None, terminated=Terminated("ModelLoadFailed", 3, "no weights"))
    cluster.step()
    assert cluster.verdict("Stalled") == ("True", "ModelLoadFailed")
    assert cluster.verdict("Ready") == ("False", "ModelLoadFailed")


def test_a_rollout_that_is_stuck_half_way_is_stalled_though_the_pool_is_ready() -> None:
    cluster = rolling(NO_GPU)
    cluster.start_pods(1)
    cluster.step(seconds=61)
    assert cluster.verdict("Stalled") == ("True", "RolloutNeedsGPU")
    assert cluster.verdict("Ready")[0] == "True"


def test_problems_of_former_pods_do_not_matter_in_a_rollout() -> None:
    cluster = pool(1)
    broken = cluster.start_pods(1, ready=False, terminated=Terminated("ModelLoadFailed", 3, "typo"))
    cluster.step()
    cluster.change_spec(serving={"maxWaiting": 7})
    cluster.step()
    cluster.start_pods(1, ready=False)
    cluster.step()
    assert cluster.verdict("Stalled") == ("False", "Progressing")
    cluster.end_pods(broken)
    cluster.step()
    assert cluster.verdict("Stalled") == ("False", "Progressing")


# ---- the Deployment's own words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "reason_there", "words", "reason"),
    [
        (
            "ReplicaFailure",
            "FailedCreate",
            'pods "demo" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1',
            "QuotaExceeded",
        ),
        (
            "ReplicaFailure",
            "FailedCreate",
            'pods "demo" is forbidden: violates PodSecurity "restricted"',
            "FailedCreate",
        ),
        (
            "Progressing",
            "ProgressDeadlineExceeded",
            "ReplicaSet has timed out progressing.",
            "ProgressDeadlineExceeded",
        ),
    ],
)
def test_what_the_deployment_says_is_passed_on(kind: str, reason_there: str, words: str, reason: str) -> None:
    cluster = pool()
    status = "True" if kind == "ReplicaFailure" else "False"
    cluster.children["Deployment"]["status"] = {
        "conditions": [{"type": kind, "status": status, "reason": reason_there, "message": words}]
    }
    cluster.step()
    assert cluster.verdict("Stalled") == ("True", reason)
    assert cluster.condition("Stalled")["message"] == words
