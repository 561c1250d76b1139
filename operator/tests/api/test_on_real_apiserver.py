"""What only a real API server can tell: run by `fluxpool-cluster run -- pytest -m cluster` (see docs of the cluster).

No pod has to run, so the control plane alone is enough.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from api.kubectl import Namespace, RefusedError, eventually, kubectl, require_permission
from api.pools import ACCEPTED, EVERY_FIELD, REFUSED, manifest
from api.test_crd import SCHEMA, nodes

from fluxpool_operator.api import FluxPool, crd, read
from fluxpool_operator.reconcile import Plan, reconcile
from fluxpool_operator.resources import LATEST_REVISION, Basis, child_name, pod_template
from fluxpool_operator.world import Defaults, MonitorSettings, Snapshot

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[3]
DEFAULTS = Defaults(image="fluxpool:1", image_pull_policy="IfNotPresent")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = ("Secret", "Deployment", "Service", "PodDisruptionBudget")
MANUAL = {"mode": "Manual", "minReplicas": 1, "maxReplicas": 4}
AUTO = {**MANUAL, "mode": "Auto"}
AS_USER = ("--server-side", "--field-manager=gitops")


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    """The CRD as committed; taken away again unless it was there before (a chart may own it)."""
    require_permission()
    was_there = bool(kubectl("get", "crd", "--ignore-not-found", "-o", "name", crd.CRD_NAME))
    if not was_there:
        kubectl("apply", "--server-side", "-f", str(ROOT / crd.MANIFEST))
    kubectl("wait", "--for=condition=Established", f"crd/{crd.CRD_NAME}", "--timeout=30s")
    yield
    if not was_there:
        kubectl("delete", "crd", crd.CRD_NAME)


@pytest.fixture(scope="module")
def namespace(installed: None) -> Iterator[Namespace]:
    name = f"operator-api-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield Namespace(name)
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def name() -> str:
    return f"pool-{uuid.uuid4().hex[:8]}"


# ---- the CustomResourceDefinition -----------------------------------------------------------------------------------


def test_the_api_server_has_no_complaint_about_the_schema() -> None:
    conditions = json.loads(kubectl("get", "crd", crd.CRD_NAME, "-o", "json"))["status"]["conditions"]
    assert {c["type"]: c["status"] for c in conditions} == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize(("refused", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_broken_rule_is_refused_with_the_message(namespace: Namespace, refused: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError) as told:
        namespace.try_out(refused)
    assert message in str(told.value)


@pytest.mark.parametrize("accepted", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_valid_pool_is_accepted_and_what_the_server_fills_in_can_be_read(
    namespace: Namespace, accepted: dict[str, Any]
) -> None:
    stored = namespace.try_out(accepted)
    parsed = read(stored)
    assert isinstance(parsed, FluxPool)
    assert {key: stored["spec"][key] for key in ("template",) if key in accepted["spec"]} == {
        key: accepted["spec"][key] for key in ("template",) if key in accepted["spec"]
    }
    assert parsed.spec == read_spec(accepted)


def read_spec(given: dict[str, Any]) -> Any:
    """The same as the operator reads it where the server has filled in nothing."""
    parsed = read({**given, "metadata": {**given["metadata"], "uid": "u"}})
    assert isinstance(parsed, FluxPool)
    return parsed.spec


@pytest.mark.parametrize(
    "path", [p for p, n in nodes(SCHEMA) if p.startswith((".spec", ".status")) and "properties" in n]
)
def test_kubectl_explain_reads_well_at_every_level(path: str) -> None:
    shown = path.replace("[]", "").replace("{}", "")
    said = eventually(lambda: " ".join(kubectl("explain", f"fluxpools{shown}").split()))
    node = next(n for p, n in nodes(SCHEMA) if p == path)
    for field in node["properties"].values():
        assert field["description"] in said


def test_kubectl_get_shows_the_columns(namespace: Namespace, name: str) -> None:
    namespace.apply(manifest(name))
    header, row = kubectl("get", "fp", name, "-n", namespace.name).splitlines()
    assert header.split() == ["NAME", "READY", "MODEL", "REPLICAS", "DESIRED", "BATCH", "AGE"]
    assert "/models/tiny" in row


# ---- two writers on one knob ----------------------------------------------------------------------------------------

REPLICAS_MESSAGE = "mode Auto sets replicas: remove spec.replicas or use mode Manual"


def test_replicas_in_a_new_pool_in_auto_are_refused(namespace: Namespace, name: str) -> None:
    with pytest.raises(RefusedError, match=REPLICAS_MESSAGE):
        namespace.apply(manifest(name, replicas=2))


def test_kubectl_scale_is_refused_in_auto_and_hold_and_works_in_manual_and_recommend(
    namespace: Namespace, name: str
) -> None:
    for mode, refusal in (("Auto", "mode Auto sets"), ("Hold", "mode Hold sets"), ("Recommend", ""), ("Manual", "")):
        namespace.apply(manifest(name, scaling={**MANUAL, "mode": mode}))
        if refusal:
            with pytest.raises(RefusedError, match=f"{refusal} replicas: remove spec.replicas or use mode Manual"):
                namespace.scale(name, 3)
        else:
            namespace.scale(name, 3)
            assert namespace.get("fluxpool", name)["spec"]["replicas"] == 3


def test_the_scale_subresource_shows_replicas_and_the_selector_of_the_pods(namespace: Namespace, name: str) -> None:
    namespace.apply(manifest(name, scaling=MANUAL, replicas=2))
    status = {"replicas": 2, "selector": f"fluxpool.dev/pool={name}"}
    namespace.patch("fluxpool", name, {"status": status}, "--subresource=status")
    path = f"/apis/fluxpool.dev/v1alpha1/namespaces/{namespace.name}/fluxpools/{name}/scale"
    scale = json.loads(kubectl("get", "--raw", path))
    assert (scale["spec"]["replicas"], scale["status"]) == (2, status)


def test_a_leftover_of_kubectl_scale_does_not_block_the_way_back_to_auto_for_server_side_apply(
    namespace: Namespace, name: str
) -> None:
    namespace.apply(manifest(name, scaling=MANUAL), *AS_USER)
    namespace.scale(name, 3)
    stored = namespace.apply(manifest(name, scaling=AUTO), *AS_USER)
    assert (stored["spec"]["replicas"], stored["spec"]["scaling"]["mode"]) == (3, "Auto")
    namespace.apply(manifest(name, scaling={**AUTO, "maxReplicas": 5}), *AS_USER)  # and later changes
    with pytest.raises(RefusedError, match=REPLICAS_MESSAGE):
        namespace.scale(name, 4)
    assert namespace.get("fluxpool", name)["spec"]["replicas"] == 3
    namespace.patch("fluxpool", name, {"spec": {"replicas": None}})
    with pytest.raises(RefusedError, match=REPLICAS_MESSAGE):
        namespace.scale(name, 3)


def test_batching_size_follows_the_same_rule(namespace: Namespace, name: str) -> None:
    message = "mode Auto sets the batch size: remove batching.size or use batching.mode Manual"
    with pytest.raises(RefusedError, match=message):
        namespace.apply(manifest(name, batching={"size": 4}))
    namespace.apply(manifest(name, batching={"mode": "Manual", "size": 4}))
    namespace.patch("fluxpool", name, {"spec": {"batching": {"mode": "Auto"}}})
    with pytest.raises(RefusedError, match=message):
        namespace.patch("fluxpool", name, {"spec": {"batching": {"size": 5}}})


@pytest.mark.parametrize(
    "flags", [(), ("--server-side", "--force-conflicts")], ids=["client-side", "server-side, forced"]
)
def test_a_manifest_applied_again_changes_neither_generation_nor_status(
    namespace: Namespace, name: str, flags: tuple[str, ...]
) -> None:
    first = namespace.apply(manifest(name), *flags)
    namespace.patch("fluxpool", name, {"status": {"desired": {"replicas": 3}}}, "--subresource=status")
    again = namespace.apply(manifest(name), *flags)
    assert again["metadata"]["generation"] == first["metadata"]["generation"]
    assert again["status"] == {"desired": {"replicas": 3}}


# ---- children: written once, then equal -----------------------------------------------------------------------------


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


# ---- Pod Security Standards -----------------------------------------------------------------------------------------


@pytest.fixture
def restricted(installed: None) -> Iterator[Namespace]:
    name = f"operator-restricted-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    eventually(lambda: kubectl("get", "serviceaccount", "default", "-n", name))
    yield Namespace(name)
    kubectl("delete", "namespace", name, "--wait=false")


def test_the_pod_as_shipped_is_allowed_in_a_namespace_that_enforces_restricted(restricted: Namespace) -> None:
    parsed = read({**manifest(), "metadata": {"name": "demo", "namespace": restricted.name, "uid": "u"}})
    assert isinstance(parsed, FluxPool)
    template = pod_template(parsed, Basis("fluxpool:1", "IfNotPresent", LATEST_REVISION))
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    pod["metadata"] = {**template["metadata"], "name": "demo"}
    assert restricted.try_out(pod)["spec"]["automountServiceAccountToken"] is False
    del pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"]
    with pytest.raises(RefusedError, match='violates PodSecurity "restricted:latest"'):
        restricted.try_out(pod)
