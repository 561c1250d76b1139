"""What only a real API server can tell. No pod has to run, so the control plane alone is enough.

Run by `make test-cluster`, or after `make cluster-up` by `../tools/cluster/run .venv/bin/python -m pytest -m cluster`.
"""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from api.kubectl import Namespace, RefusedError, eventually, kubectl
from api.pools import ACCEPTED, REFUSED, manifest
from api.test_crd import SCHEMA, nodes

from fluxpool_operator.api import FluxPool, crd, read
from fluxpool_operator.resources import LATEST_REVISION, Basis, pod_template

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("installed")]

MANUAL = {"mode": "Manual", "minReplicas": 1, "maxReplicas": 4}
AUTO = {**MANUAL, "mode": "Auto"}
AS_USER = ("--server-side", "--field-manager=gitops")


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
