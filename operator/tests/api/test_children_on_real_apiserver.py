"""Children on a real API server: written once, then equal; `test_on_real_apiserver.py` says how to run it."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from api.kubectl import Namespace, kubectl
from api.pools import EVERY_FIELD, manifest

from fluxpool_operator.api import read
from fluxpool_operator.reconcile import Plan, reconcile
from fluxpool_operator.resources import child_name
from fluxpool_operator.world import Defaults, MonitorSettings, Snapshot

pytestmark = pytest.mark.cluster

DEFAULTS = Defaults(image="fluxpool:1", image_pull_policy="IfNotPresent")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = ("Secret", "Deployment", "Service", "PodDisruptionBudget")


def look(namespace: Namespace, name: str, defaults: Defaults = DEFAULTS) -> Snapshot:
    children = {}
    for kind in KINDS:
        found = kubectl(
            "get", kind, child_name(kind, name), "-n", namespace.name, "-o", "json", "--show-managed-fields",
            "--ignore-not-found",
        )  # fmt: skip
        if found:
            children[kind] = json.loads(found)
    return Snapshot(
        pool=read(namespace.get("fluxpool", name)),
        defaults=defaults,
        fresh_token="a-token-for-this-test",
        children=children,
    )


def execute(namespace: Namespace, name: str, plan: Plan) -> None:
    if plan.status is not None:
        namespace.patch("fluxpool", name, {"status": plan.status}, "--subresource=status")
    for item in plan.applies:
        namespace.apply_as_operator(item.manifest)


@pytest.fixture(params=[{}, EVERY_FIELD], ids=["smallest", "every field"])
def settled(request: pytest.FixtureRequest, namespace: Namespace, name: str) -> str:
    """A pool whose children have been written."""
    namespace.apply(manifest(name, **request.param))
    execute(namespace, name, reconcile(look(namespace, name), NOW))
    return name


def test_children_that_the_server_filled_with_defaults_and_rewrote_are_equal(
    namespace: Namespace, settled: str
) -> None:
    plan = reconcile(look(namespace, settled), NOW)
    assert plan.applies == ()
    container = namespace.get("Deployment", settled)["spec"]["template"]["spec"]["containers"][0]
    assert container["livenessProbe"]["httpGet"]["scheme"] == "HTTP"  # a default: the comparison had something to bear


def test_a_status_that_was_written_is_not_written_again(namespace: Namespace, settled: str) -> None:
    seen = look(namespace, settled)
    plan = reconcile(seen, NOW)
    if plan.status is not None:
        namespace.patch("fluxpool", settled, {"status": plan.status}, "--subresource=status")
    again = replace(seen, pool=read(namespace.get("fluxpool", settled)), status_written_at=None)
    assert reconcile(again, NOW).status is None


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Deployment", {"spec": {"replicas": 7}}),
        ("Deployment", {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 30}}}}),
        ("Deployment", {"spec": {"template": {"spec": {"securityContext": None}}}}),
        ("Deployment", {"metadata": {"labels": {"fluxpool.dev/pool": None}}}),
        ("Deployment", {"metadata": {"annotations": {"fluxpool.dev/template-basis": "{}"}}}),
        ("Service", {"spec": {"ports": [{"port": 80, "name": "web", "targetPort": 9}]}}),
        ("Service", {"spec": {"type": "NodePort"}}),
        ("Service", {"spec": {"selector": {"fluxpool.dev/pool": "other"}}}),
        ("PodDisruptionBudget", {"spec": {"maxUnavailable": 0}}),
        ("Secret", {"data": {"token": "bmV3LXRva2VuLWZyb20tc29tZWJvZHk="}}),
    ],
)
def test_an_edit_of_our_fields_by_somebody_else_is_seen_and_put_right_by_one_write(
    namespace: Namespace, settled: str, kind: str, change: dict[str, Any]
) -> None:
    namespace.patch(kind, child_name(kind, settled), change)
    plan = reconcile(look(namespace, settled), NOW)
    assert [item.manifest["kind"] for item in plan.applies] == [kind]
    execute(namespace, settled, plan)
    assert reconcile(look(namespace, settled), NOW).applies == ()


def test_a_service_whose_port_somebody_renumbered_is_made_anew(namespace: Namespace, settled: str) -> None:
    namespace.patch("Service", settled, {"spec": {"ports": [{"port": 81, "name": "http", "targetPort": "http"}]}})
    plan = reconcile(look(namespace, settled), NOW)
    assert (plan.applies, [gone.kind for gone in plan.deletes]) == ((), ["Service"])
    kubectl("delete", "service", settled, "-n", namespace.name)
    execute(namespace, settled, reconcile(look(namespace, settled), NOW))
    assert reconcile(look(namespace, settled), NOW).applies == ()


def test_an_edited_variable_deep_in_the_pod_template_is_seen(namespace: Namespace, settled: str) -> None:
    kubectl("set", "env", f"deployment/{settled}", "-n", namespace.name, "FLUXPOOL_DTYPE=float64")
    plan = reconcile(look(namespace, settled), NOW)
    assert [item.manifest["kind"] for item in plan.applies] == ["Deployment"]
    execute(namespace, settled, plan)
    container = namespace.get("Deployment", settled)["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "FLUXPOOL_DTYPE", "value": "float64"} not in container["env"]
    assert reconcile(look(namespace, settled), NOW).applies == ()


def test_fields_of_others_are_neither_seen_nor_removed(namespace: Namespace, settled: str) -> None:
    kubectl("rollout", "restart", f"deployment/{settled}", "-n", namespace.name)
    namespace.patch("Service", settled, {"metadata": {"annotations": {"mesh": "on"}}})
    namespace.patch("Deployment", settled, {"spec": {"minReadySeconds": 3}})
    assert reconcile(look(namespace, settled), NOW).applies == ()
    moved = reconcile(look(namespace, settled, replace(DEFAULTS, service_monitor=MonitorSettings())), NOW)
    assert [item.manifest["kind"] for item in moved.applies] == ["ServiceMonitor"]


def test_a_field_that_leaves_the_spec_leaves_the_deployment(namespace: Namespace, name: str) -> None:
    namespace.apply(manifest(name, **EVERY_FIELD))
    execute(namespace, name, reconcile(look(namespace, name), NOW))
    namespace.apply(manifest(name))
    execute(namespace, name, reconcile(look(namespace, name), NOW))
    spec = namespace.get("Deployment", name)["spec"]["template"]["spec"]
    assert not spec.keys() & {"nodeSelector", "affinity", "tolerations", "runtimeClassName", "priorityClassName"}
    assert [volume["name"] for volume in spec["volumes"]] == ["shm", "tmp", "model-cache", "admin-token"]
    assert reconcile(look(namespace, name), NOW).applies == ()


def test_an_upgraded_operator_with_another_default_image_has_nothing_to_write(
    namespace: Namespace, settled: str
) -> None:
    assert reconcile(look(namespace, settled, Defaults(image="fluxpool:2")), NOW).applies == ()
