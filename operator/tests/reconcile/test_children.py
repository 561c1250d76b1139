"""Which children are written, repaired, left alone and deleted."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from api.pools import EVERY_FIELD, body
from reconcile.fake_cluster import DEFAULTS, FakeCluster

from fluxpool_operator.world import MonitorSettings

FOUR = ["Secret", "Deployment", "Service", "PodDisruptionBudget"]


def kinds(plan: Any) -> list[str]:
    return [item.manifest["kind"] for item in plan.applies]


@pytest.fixture(params=[{}, EVERY_FIELD], ids=["smallest", "every field"])
def cluster(request: pytest.FixtureRequest) -> FakeCluster:
    return FakeCluster(pool=body(**request.param)).settle()


def test_a_new_pool_gets_its_children_those_first_that_others_need() -> None:
    plan = FakeCluster().step()
    assert kinds(plan) == FOUR
    assert all(item.creates for item in plan.applies)
    assert plan.explanation[0] == "create Secret: it is missing"


def test_equal_children_are_not_written_again(cluster: FakeCluster) -> None:
    plan = cluster.step(seconds=3600)
    assert plan.empty
    assert plan.requeue_after_seconds is None


def test_a_deleted_child_is_made_again(cluster: FakeCluster) -> None:
    del cluster.children["Service"]
    assert kinds(cluster.step()) == ["Service"]


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", "spec.replicas", 9),
        ("Deployment", "spec.template.spec.containers.0.image", "evil:1"),
        ("Deployment", "spec.template.spec.containers.0.env.0.value", "other"),
        ("Deployment", "spec.template.spec.containers.0.resources.limits", {}),
        ("Deployment", "metadata.labels", {}),
        ("Service", "spec.ports.0.targetPort", 1),
        ("Service", "metadata.ownerReferences", []),
        ("PodDisruptionBudget", "spec.maxUnavailable", 0),
        ("Secret", "type", "kubernetes.io/tls"),
    ],
)
def test_a_field_of_ours_that_somebody_edits_is_put_right(
    cluster: FakeCluster, kind: str, path: str, value: Any
) -> None:
    cluster.edit(kind, path, value)
    plan = cluster.step()
    assert kinds(plan) == [kind]
    assert "was changed by somebody else" in plan.applies[0].why
    assert cluster.step().empty


def test_a_field_of_ours_that_somebody_removes_is_put_back(cluster: FakeCluster) -> None:
    cluster.remove("Deployment", "spec.template.spec.terminationGracePeriodSeconds")
    plan = cluster.step()
    assert plan.applies[0].why == "spec.template.spec.terminationGracePeriodSeconds was changed by somebody else"


def test_a_service_whose_port_name_somebody_gave_to_another_number_is_made_anew(cluster: FakeCluster) -> None:
    """The API server would refuse our port beside theirs: two of one name."""
    cluster.edit("Service", "spec.ports.0.port", 8080)
    plan = cluster.step()
    assert (kinds(plan), [gone.kind for gone in plan.deletes]) == ([], ["Service"])
    assert kinds(cluster.step()) == ["Service"]
    assert cluster.step().empty


def test_a_further_port_that_somebody_adds_to_the_service_stays(cluster: FakeCluster) -> None:
    cluster.children["Service"]["spec"]["ports"].append({"name": "debug", "port": 81, "protocol": "TCP"})
    assert cluster.step().empty


def test_fields_of_others_are_left_alone(cluster: FakeCluster) -> None:
    deployment = cluster.children["Deployment"]
    deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "3"
    deployment["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "now"
    deployment["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": "mesh:1"})
    assert cluster.step().empty


def test_an_image_that_a_webhook_rewrites_is_not_fought_over(cluster: FakeCluster) -> None:
    cluster.children["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"] = "mirror.example/fluxpool:1"
    assert cluster.step().empty


def test_a_child_without_a_record_of_ownership_is_applied_anew(cluster: FakeCluster) -> None:
    cluster.children["Service"]["metadata"]["managedFields"] = []
    plan = cluster.step()
    assert [(item.manifest["kind"], item.why) for item in plan.applies] == [
        ("Service", "nothing in it is recorded as ours")
    ]


def test_the_admin_token_is_made_once_and_kept(cluster: FakeCluster) -> None:
    token = cluster.children["Secret"]["data"]["token"]
    cluster.edit("Secret", "metadata.labels", {})
    cluster.step()
    assert cluster.children["Secret"]["data"]["token"] == token


@pytest.mark.parametrize("broken", ["", "c2hvcnQ=", "not base64!", "/////////////////////w=="])
def test_a_token_that_cannot_be_used_is_replaced(cluster: FakeCluster, broken: str) -> None:
    cluster.edit("Secret", "data.token", broken)
    cluster.step()
    assert cluster.children["Secret"]["data"]["token"] not in {"", broken}
    assert cluster.step().empty


def test_a_change_of_replicas_is_said_in_words_and_touches_no_pod_template(cluster: FakeCluster) -> None:
    template = copy.deepcopy(cluster.children["Deployment"]["spec"]["template"])
    before = cluster.replicas
    cluster.change_spec(scaling={"minReplicas": 3, "maxReplicas": 8})
    plan = cluster.step()
    assert [item.why for item in plan.applies] == [f"replicas {before} -> 3"]
    assert cluster.children["Deployment"]["spec"]["template"] == template


def test_a_change_of_batching_or_scaling_bounds_writes_no_child(cluster: FakeCluster) -> None:
    cluster.change_spec(batching={"max": 6, "min": 2}, scaling={"minReplicas": cluster.replicas, "maxReplicas": 9})
    assert kinds(cluster.step()) == []


# ---- objects of others ----------------------------------------------------------------------------------------------


def theirs(kind: str, **metadata: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "demo", "uid": "theirs", **metadata}, "spec": {"template": {}}}


def owned_by(kind: str, name: str) -> list[dict[str, Any]]:
    return [{"kind": kind, "name": name, "uid": "another", "controller": True}]


@pytest.mark.parametrize(
    "metadata",
    [{}, {"labels": {"fluxpool.dev/pool": "demo"}}, {"ownerReferences": owned_by("Application", "demo")}],
    ids=["nobody's", "labelled by hand", "owned by another kind"],
)
@pytest.mark.parametrize("kind", FOUR)
def test_an_object_of_somebody_else_is_reported_and_not_touched(kind: str, metadata: dict[str, Any]) -> None:
    cluster = FakeCluster(children={kind: theirs(kind, **metadata)})
    plan = cluster.step()
    assert kinds(plan) == [other for other in FOUR if other != kind]
    assert cluster.verdict("Stalled") == ("True", "NameConflict")
    assert f"{kind} demo" in cluster.condition("Stalled")["message"]
    assert cluster.verdict("Ready")[0] == "False"


def test_the_remains_of_a_former_pool_of_the_same_name_are_waited_for() -> None:
    former = FakeCluster().settle()
    former.start_pods(2)
    leaving = {kind: copy.deepcopy(live) for kind, live in former.children.items()}
    for live in leaving.values():
        live["metadata"]["ownerReferences"][0]["uid"] = "the-former-pool"
    cluster = FakeCluster(children=leaving, pods=former.pods, defaults=replace(DEFAULTS, image="fluxpool:2"))
    plan = cluster.step()
    assert plan.applies == ()
    assert cluster.verdict("Stalled") == ("False", "Progressing")
    assert cluster.verdict("Reconciling") == ("True", "WaitingForDeletion")
    assert cluster.verdict("Ready")[0] == "False"
    cluster.children = {}
    cluster.settle()
    assert cluster.image == "fluxpool:2"
    assert cluster.verdict("Ready")[0] == "False"  # the former pods are still there, and look like ours


def test_a_child_that_is_being_deleted_is_not_written(cluster: FakeCluster) -> None:
    cluster.children["Service"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    plan = cluster.step()
    assert kinds(plan) == []
    assert "wait for the end of Service demo" in plan.explanation


def test_orphans_of_the_operator_are_adopted_without_touching_their_pods() -> None:
    former = FakeCluster().settle()
    orphans = {kind: copy.deepcopy(live) for kind, live in former.children.items()}
    for live in orphans.values():
        del live["metadata"]["ownerReferences"]
        del live["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:ownerReferences"]
    cluster = FakeCluster(children=orphans, defaults=replace(DEFAULTS, image="fluxpool:2"))
    assert kinds(cluster.step()) == FOUR
    assert cluster.image == "fluxpool:1"


# ---- ServiceMonitor -------------------------------------------------------------------------------------------------


def test_a_service_monitor_is_made_where_wanted_and_not_touched_where_no_longer() -> None:
    wanted = replace(DEFAULTS, service_monitor=MonitorSettings(labels={"release": "p"}, interval="2s"))
    cluster = FakeCluster(defaults=wanted)
    assert kinds(cluster.step()) == [*FOUR, "ServiceMonitor"]
    assert cluster.children["ServiceMonitor"]["metadata"]["labels"]["release"] == "p"
    cluster.settle().defaults = DEFAULTS
    assert cluster.step().empty


# ---- the end of a pool ----------------------------------------------------------------------------------------------


def test_a_pool_that_is_being_deleted_is_left_to_the_garbage_collector(cluster: FakeCluster) -> None:
    cluster.pool["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    cluster.children = {}
    assert cluster.step(seconds=60).empty
