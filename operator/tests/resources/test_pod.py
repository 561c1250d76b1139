"""The pod template of a pool."""

import json
from pathlib import Path
from typing import Any

import pytest
from api.pools import EVERY_FIELD, pool

from fluxpool_operator import contract
from fluxpool_operator.api import FluxPool
from fluxpool_operator.resources import LATEST_REVISION, REVISIONS, Basis, pod_template

BASIS = Basis("fluxpool:1", "IfNotPresent", LATEST_REVISION)
RECORDED = Path(__file__).parent / "recorded"
POOLS = {"smallest": pool(), "every_field": pool(**EVERY_FIELD)}


def template(basis: Basis = BASIS, **spec: Any) -> dict[str, Any]:
    return pod_template(pool(**spec), basis)


def container(**spec: Any) -> dict[str, Any]:
    return dict(template(**spec)["spec"]["containers"][0])


def environment(**spec: Any) -> dict[str, Any]:
    variables = container(**spec)["env"]
    assert len({variable["name"] for variable in variables}) == len(variables)
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in variables}


def volumes(**spec: Any) -> dict[str, Any]:
    return {volume["name"]: volume for volume in template(**spec)["spec"]["volumes"]}


@pytest.mark.parametrize("which", POOLS)
@pytest.mark.parametrize("revision", REVISIONS)
def test_a_revision_never_changes_for_pods_that_serve_would_be_replaced(revision: int, which: str) -> None:
    """If this fails: put the recorded file back, and make your change as a new revision in `resources.pod`."""
    made = pod_template(POOLS[which], Basis("fluxpool:1", "IfNotPresent", revision))
    recorded = json.loads((RECORDED / f"revision_{revision}_{which}.json").read_text())
    assert made == recorded


def test_the_image_is_the_users_else_the_operators() -> None:
    assert (container()["image"], container()["imagePullPolicy"]) == ("fluxpool:1", "IfNotPresent")
    given = container(template={"image": "mine:2", "imagePullPolicy": "Never"})
    assert (given["image"], given["imagePullPolicy"]) == ("mine:2", "Never")


def test_without_any_pull_policy_kubernetes_chooses() -> None:
    made = template(Basis("fluxpool:1", None, 1))["spec"]["containers"][0]
    assert "imagePullPolicy" not in made


# ---- environment ----------------------------------------------------------------------------------------------------


def test_every_variable_of_the_contract_is_set_and_no_other() -> None:
    ours = {value for name, value in vars(contract).items() if name.startswith("ENV_")}
    everything = environment(model={"source": "a/b", "revision": "r", "tokenSecretRef": {"name": "hub", "key": "k"}})
    assert everything.keys() == ours


def test_values_come_from_the_spec() -> None:
    given = environment(**{**EVERY_FIELD, "template": {}})
    assert given[contract.ENV_MODEL] == "black-forest-labs/FLUX.1-dev"
    assert given[contract.ENV_DTYPE] == "float16"
    assert given[contract.ENV_IMAGE_FORMATS] == "png,webp"
    assert given[contract.ENV_MAX_PIXELS] == "1048576"
    assert given[contract.ENV_GPU_COUNT] == "1"
    assert given[contract.ENV_HF_TOKEN] == {"secretKeyRef": {"name": "hub", "key": "token"}}


def test_no_revision_and_no_token_is_no_variable() -> None:
    assert not {contract.ENV_REVISION, contract.ENV_HF_TOKEN} & environment().keys()


def test_identity_comes_from_the_pod_itself() -> None:
    given = environment()
    assert given[contract.ENV_POD_UID] == {"fieldRef": {"fieldPath": "metadata.uid"}}
    assert given[contract.ENV_NAMESPACE] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    assert given[contract.ENV_POOL] == {"fieldRef": {"fieldPath": "metadata.labels['fluxpool.dev/pool']"}}


def test_the_users_variables_are_added_and_win_over_ours() -> None:
    env = [{"name": "FLUXPOOL_MAX_STEPS", "value": "9"}, {"name": "FLUXPOOL_PACE", "value": "0.1,0.01"}]
    given = environment(template={"env": env})
    assert (given["FLUXPOOL_MAX_STEPS"], given["FLUXPOOL_PACE"]) == ("9", "0.1,0.01")


@pytest.mark.parametrize("name", sorted(contract.RESERVED_ENVIRONMENT))
def test_reserved_variables_cannot_be_replaced_even_if_the_rule_was_passed_by(name: str) -> None:
    sound = pool()
    variable = sound.spec.template.model_validate({"env": [{"name": "OTHER", "value": "x"}]}).env[0]  # type: ignore[index]
    sly = sound.spec.template.model_copy(update={"env": [variable.model_copy(update={"name": name})]})
    slipped: FluxPool = sound.model_copy(update={"spec": sound.spec.model_copy(update={"template": sly})})
    made = pod_template(slipped, BASIS)["spec"]["containers"][0]["env"]
    assert made == container()["env"]


def test_the_batch_size_and_bounds_of_scaling_are_not_in_the_template() -> None:
    plain = template()
    assert template(batching={"mode": "Manual", "size": 2, "max": 4}) == plain
    assert template(scaling={"maxReplicas": 9, "targets": {"latencySeconds": 3}}) == plain
    assert template(rollout={"maxSurge": 0, "maxUnavailable": 1, "onUpgrade": True}) == plain


# ---- labels, volumes, resources, placement --------------------------------------------------------------------------


def test_the_operators_labels_stand_beside_the_users() -> None:
    labels = template(template={"labels": {"team": "art"}})["metadata"]["labels"]
    assert labels == {
        "team": "art",
        "app.kubernetes.io/name": "fluxpool",
        "app.kubernetes.io/component": "inference",
        "app.kubernetes.io/instance": "demo",
        "app.kubernetes.io/managed-by": "fluxpool-operator",
        "fluxpool.dev/pool": "demo",
    }


def test_a_volume_named_model_cache_takes_the_place_of_the_empty_dir() -> None:
    assert volumes()["model-cache"] == {"name": "model-cache", "emptyDir": {}}
    claim = {"name": "model-cache", "persistentVolumeClaim": {"claimName": "weights"}}
    assert volumes(template={"volumes": [claim]})["model-cache"] == claim
    mounts = {mount["mountPath"]: mount["name"] for mount in container()["volumeMounts"]}
    assert mounts[environment()["HF_HOME"]] == "model-cache"


def test_the_token_is_mounted_where_the_server_reads_it_whatever_the_user_mounts_there() -> None:
    sly = {"volumeMounts": [{"name": "x", "mountPath": "/var/run/fluxpool/admin"}]}
    for spec in ({}, {"template": sly}):
        mount = next(m for m in container(**spec)["volumeMounts"] if m["mountPath"] == "/var/run/fluxpool/admin")
        assert mount["name"] == "admin-token"
    assert volumes()["admin-token"]["secret"] == {"secretName": "demo-admin", "defaultMode": 0o440}
    assert environment()["FLUXPOOL_ADMIN_TOKEN_FILE"] == "/var/run/fluxpool/admin/token"


def test_shared_memory_is_memory_and_the_only_writable_places_are_volumes() -> None:
    assert volumes()["shm"]["emptyDir"]["medium"] == "Memory"
    paths = [mount["mountPath"] for mount in container()["volumeMounts"] if not mount.get("readOnly")]
    assert paths == ["/dev/shm", "/tmp", "/var/cache/fluxpool"]
    assert container()["securityContext"]["readOnlyRootFilesystem"] is True


def test_gpus_are_asked_for_and_limited_to_the_same_number_whatever_the_user_states() -> None:
    resources = container(
        template={"resources": {"limits": {"memory": "48Gi", "nvidia.com/gpu": 9}, "requests": {"cpu": 4}}},
    )["resources"]
    assert resources == {
        "limits": {"memory": "48Gi", "nvidia.com/gpu": "1"},
        "requests": {"cpu": 4, "nvidia.com/gpu": "1"},
    }


def test_spread_without_a_selector_counts_the_pools_own_pods() -> None:
    first, second = template(**EVERY_FIELD)["spec"]["topologySpreadConstraints"]
    assert first["labelSelector"] == {"matchLabels": {"fluxpool.dev/pool": "demo"}}
    assert second["labelSelector"] == {"matchLabels": {"team": "art"}}


def test_placement_is_passed_through_as_given() -> None:
    spec = template(**EVERY_FIELD)["spec"]
    for name in ("tolerations", "affinity", "nodeSelector", "priorityClassName", "runtimeClassName"):
        assert spec[name] == EVERY_FIELD["template"][name]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["serviceAccountName"] == "images"


# ---- life and end of a pod ------------------------------------------------------------------------------------------


def test_the_grace_period_covers_pre_stop_drain_and_margin() -> None:
    assert template(serving={"drainSeconds": 120})["spec"]["terminationGracePeriodSeconds"] == 5 + 120 + 10
    assert container()["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}


def test_a_pod_has_an_hour_to_load_its_model() -> None:
    probe = container()["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 3600
    assert probe["httpGet"] == {"path": "/readyz", "port": "http"}
    assert container()["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_the_pod_gets_no_api_token_and_no_variables_of_services() -> None:
    spec = template()["spec"]
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
