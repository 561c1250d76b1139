"""What is deleted or edited is put right, what was begun is finished after a crash, and what is stuck says so."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from chart.helm import Object
from chart.kube import KubectlError, kubectl
from fluxpool_demo.kube import Ref
from integration.api import Api, Namespaces, wait_for
from integration.audit import ACCOUNT, Audit
from integration.background import Background
from integration.fake_pods import FakePods
from integration.pools import NewPool, Pool, changes_of
from integration.stage import Operator, Stage

FULL = 24
"""Three replicas' worth of requests."""
CHILDREN = ("Secret", "Deployment", "Service", "PodDisruptionBudget")
EDITS: dict[str, Object] = {
    "Secret": {"metadata": {"labels": {"fluxpool.dev/pool": None}}},
    "Deployment": {"spec": {"replicas": 4, "template": {"spec": {"terminationGracePeriodSeconds": 60}}}},
    "Service": {"spec": {"selector": {"fluxpool.dev/pool": "another"}, "ports": [{"name": "web", "port": 80}]}},
    "PodDisruptionBudget": {"spec": {"maxUnavailable": 0}},
}
PLURALS = {"Secret": "secrets", "Deployment": "deployments", "Service": "services"} | {
    "PodDisruptionBudget": "poddisruptionbudgets"
}


def uids(pool: Pool) -> dict[str, str]:
    """Of those children that are there."""
    found = {kind: pool.api.get(pool.child(kind)) for kind in CHILDREN}
    return {kind: child["metadata"]["uid"] for kind, child in found.items() if child}


def whole(pool: Pool) -> Pool:
    """Create a pool and wait for all that it makes: a pod may be ready before the last child is there."""
    pool.create().wait("to be whole", lambda pool: pool.ready() == 1 and len(uids(pool)) == len(CHILDREN))
    return pool


def test_deleted_children_are_made_again_as_they_were(new_pool: NewPool, pods: FakePods) -> None:
    pool = new_pool("deleted")
    pods.load(pool.namespace, pool.name).requests = FULL
    pool.create(batching={"mode": "Manual", "size": 5})
    pool.wait_for_replicas(3)
    before, pods_before = uids(pool), pool.pod_names()
    for kind in CHILDREN:
        pool.api.delete(pool.child(kind))
    wait_for("new children", lambda: not set(uids(pool).values()) & set(before.values()) and len(uids(pool)) == 4)
    assert pool.deployed() == 3  # what was decided, and not what a new pool begins with
    pool.wait("to have new pods", lambda pool: pool.ready() == 3 and not pool.pod_names() & pods_before)
    # The new pods accept the new token, and are told.
    wait_for("the batch size", lambda: pods.running(pool.namespace, pool.name) == [5] * 3)


def test_edited_children_are_put_right_by_one_write_each(new_pool: NewPool) -> None:
    pool = whole(new_pool("edited"))
    before = {kind: pool.api.get(pool.child(kind)) for kind in CHILDREN}
    identity, audit = uids(pool), Audit()
    for kind, edit in EDITS.items():
        pool.api.patch(pool.child(kind), edit)

    def as_before() -> bool:
        now = {kind: pool.api.get(pool.child(kind)) for kind in CHILDREN}
        return all(_essence(now[kind]) == _essence(before[kind]) for kind in CHILDREN)

    wait_for("children as they were", as_before)
    assert uids(pool) == identity
    writes = [call for call in audit.writes() if call.resource in PLURALS.values() and call.namespace == pool.namespace]
    assert sorted((call.verb, call.resource, call.code) for call in writes) == sorted(
        ("patch", name, 200) for name in PLURALS.values()
    )


def test_a_service_whose_port_got_another_number_is_made_anew(new_pool: NewPool) -> None:
    pool = whole(new_pool("renumbered"))
    service = pool.child("Service")
    before, identity, audit = pool.api.get(service), uids(pool), Audit()
    renumbered = {**_ports(before)[0], "port": 8080}
    pool.api.patch(service, {"spec": {"ports": [renumbered]}})
    wait_for("another Service", lambda: uids(pool).get("Service", identity["Service"]) != identity["Service"])
    assert _ports(pool.api.get(service)) == _ports(before)
    assert {**uids(pool), "Service": identity["Service"]} == identity, "the others stay"
    writes = [(call.verb, call.resource) for call in audit.writes() if call.namespace == pool.namespace]
    assert [verb for verb, resource in writes if resource == "services"] == ["delete", "patch"]
    stalled = pool.condition("Stalled")
    assert stalled is not None
    assert stalled.status == "False"


def _ports(service: Object | None) -> list[Object]:
    assert service is not None
    return list(service["spec"]["ports"])


def _essence(child: Object | None) -> Object:
    """What it is to be, without what the API server and other controllers keep in it."""
    assert child is not None
    return {"labels": child["metadata"].get("labels"), "spec": child.get("spec"), "data": child.get("data")}


# ---- a crash ---------------------------------------------------------------------------------------------------------


@contextmanager
def stuck_before_the_deployment(stage: Stage) -> Iterator[None]:
    """The operator writes its decision into the status, and then may not write the Deployment."""
    role = stage.operator_role
    rules = [
        {**rule, "verbs": [verb for verb in rule["verbs"] if "deployments" not in rule["resources"] or verb != "patch"]}
        for rule in role["rules"]
    ]
    kubectl("apply", given={**role, "rules": rules})
    try:
        wait_for("the right to be gone", lambda: not _may_patch_deployments())
        yield
    finally:
        kubectl("apply", given=role)
        wait_for("the right to be back", _may_patch_deployments)


def _may_patch_deployments() -> bool:
    try:
        kubectl("auth", "can-i", "patch", "deployments.apps", f"--as={ACCOUNT}", "--all-namespaces", "--quiet")
    except KubectlError:
        return False
    return True


def test_what_an_operator_killed_in_mid_change_had_decided_is_done_by_the_next_once(
    stage: Stage, new_pool: NewPool, pods: FakePods, operator: Operator, background: Background
) -> None:
    pool = new_pool("crashed").create()
    pods.wait_until_scraped(pool.namespace, pool.name)
    first = pool.pod_names()
    with pool.history(background) as versions:
        with stuck_before_the_deployment(stage):
            pods.load(pool.namespace, pool.name).requests = FULL
            pool.wait("to be decided on", lambda pool: pool.desired().replicas == 3)
            pool.wait_for_condition("Stalled", "True", "Refused")
            pool.wait_for_condition("Ready", "True", "Refused")
            pool.wait("to be told of the refusal", lambda pool: "Refused" in dict(pool.events()))
            assert operator.stop(signal.SIGKILL) == -signal.SIGKILL
            assert (pool.deployed(), pool.pod_names()) == (1, first)  # half done, and pods serve on
        operator.start()
        pool.wait_for_replicas(3)
        pool.wait_for_condition("Stalled", "False", "Progressing")
        operator.wait_for_ticks(4)
    assert [after.replicas for _, after in changes_of(versions)] == [3]
    assert len([words for reason, words in pool.events() if reason == "ScaledUp"]) == 1, pool.events()
    assert first < pool.pod_names()


# ---- the end of a pool, and one that cannot begin --------------------------------------------------------------------


def test_of_a_deleted_pool_nothing_is_left(api: Api, new_pool: NewPool, operator: Operator) -> None:
    pool, other = new_pool("ended").create(), new_pool("staying").create()
    pool.wait_for_replicas(1)
    other.wait_for_replicas(1)
    pool.wait("to be exported", lambda _: "ended" in operator.pools_in("fluxpool_current_replicas"))
    pool.api.delete(pool.ref)

    def left() -> list[str]:
        kinds = (*CHILDREN, "ReplicaSet", "Pod", "EndpointSlice")
        refs = [Ref(kind, pool.namespace, each["metadata"]["name"]) for kind in kinds for each in _of(api, kind, pool)]
        return [str(ref) for ref in refs]

    # The garbage collector learns of a new kind every half a minute.
    wait_for("the end of all that was the pool's", lambda: not left(), 90)
    wait_for("the end of its series", lambda: "ended" not in operator.pools_in("fluxpool_current_replicas"))
    assert (other.ready(), len(uids(other))) == (1, 4)


def test_a_namespace_that_ends_with_a_pool_in_it_is_left_in_peace(api: Api, namespaces: Namespaces) -> None:
    pool = Pool(api, namespaces.make(), "leaving").create()
    pool.wait_for_replicas(1)
    audit = Audit()
    namespaces.end(pool.namespace)
    refused = [call.resource for call in audit.calls() if call.namespace == pool.namespace and call.code == 403]
    assert len([resource for resource in refused if resource != "events"]) <= 1, refused


def _of(api: Api, kind: str, pool: Pool) -> list[Object]:
    return api.list(kind, pool.namespace, f"fluxpool.dev/pool={pool.name}")


def test_a_pod_that_asks_for_a_gpu_that_no_node_has_is_shown_as_unschedulable(unplaced: Pool) -> None:
    unplaced.wait_for_condition("Stalled", "True", "Unschedulable", seconds=90)
    for kind, status in (("Stalled", "True"), ("Ready", "False"), ("Reconciling", "False")):
        condition = unplaced.condition(kind)
        assert condition is not None
        assert condition.status == status
    stalled = unplaced.condition("Stalled")
    assert stalled is not None
    assert stalled.message.startswith("nvidia.com/mig-7g.141gb is short: pod unplaced-")
    assert "Insufficient nvidia.com/mig-7g.141gb" in stalled.message
    assert ("Unschedulable", stalled.message) in unplaced.events()
