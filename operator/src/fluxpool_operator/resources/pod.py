"""The pod template of a pool: the server in a locked-down container, and what the user adds to it.

A template is made from the pool and a `Basis`: what the operator itself contributes. Whoever changes what comes out of
here for an existing pool adds a revision to `REVISIONS` and keeps the former: pools go on with the revision they were
made with until their spec changes, so that an upgrade of the operator restarts no pod
(`tests/resources/test_pod.py` holds each revision to a recorded template).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from fluxpool_operator import contract
from fluxpool_operator.api import FluxPool, PodTemplate
from fluxpool_operator.resources.environment import environment
from fluxpool_operator.resources.identity import Manifest, admin_secret_name, labels, selector

USER_ID: Final = 65532
"""Any number but 0; also the group, and the owner of volumes that Kubernetes can hand over."""

START_SECONDS: Final = 3600
"""How long a pod may take to load its model: tens of gigabytes may have to be downloaded first."""

_PROBE_PERIOD_SECONDS: Final = 2


@dataclass(frozen=True, slots=True)
class Basis:
    """What the operator contributes to a template: defaults of its settings, and the revision of this module."""

    image: str
    image_pull_policy: str | None
    revision: int


def _revision_1(pool: FluxPool, basis: Basis) -> Manifest:
    template = pool.spec.template
    spec: Manifest = {
        "containers": [_container(pool, basis)],
        "volumes": _volumes(pool.name, template),
        "terminationGracePeriodSeconds": (
            contract.PRE_STOP_SECONDS + pool.spec.serving.drain_seconds + contract.GRACE_MARGIN_SECONDS
        ),
        # A server of images needs no API; and the variables of Services would collide with ours for a pool named
        # "fluxpool": FLUXPOOL_PORT=tcp://…
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **_placement(pool.name, template),
    }
    return {
        "metadata": {
            "labels": {**(template.labels or {}), **labels(pool.name)},
            "annotations": dict(template.annotations or {}),
        },
        "spec": spec,
    }


REVISIONS: Final[Mapping[int, Callable[[FluxPool, Basis], Manifest]]] = MappingProxyType({1: _revision_1})
"""All pod templates that pools may still be made with; the highest is for new pools."""

LATEST_REVISION: Final = max(REVISIONS)


def pod_template(pool: FluxPool, basis: Basis) -> Manifest:
    """The pod template of `pool`, as revision `basis.revision` makes it.

    Raises:
        KeyError: this operator does not know that revision.
    """
    return REVISIONS[basis.revision](pool, basis)


def _container(pool: FluxPool, basis: Basis) -> Manifest:
    template = pool.spec.template
    container: Manifest = {
        "name": contract.COMPONENT,
        "image": template.image or basis.image,
        "ports": [
            {"name": contract.HTTP_PORT_NAME, "containerPort": contract.HTTP_PORT, "protocol": "TCP"},
            {"name": contract.ADMIN_PORT_NAME, "containerPort": contract.ADMIN_PORT, "protocol": "TCP"},
        ],
        "env": environment(pool),
        "resources": _resources(pool),
        "volumeMounts": _mounts(template),
        "lifecycle": {"preStop": {"sleep": {"seconds": contract.PRE_STOP_SECONDS}}},
        "terminationMessagePath": contract.TERMINATION_MESSAGE_PATH,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        **_probes(),
    }
    pull_policy = template.image_pull_policy or basis.image_pull_policy
    if pull_policy:
        container["imagePullPolicy"] = str(pull_policy)
    return container


def _probes() -> Manifest:
    ready = {"httpGet": {"path": contract.PATH_READY, "port": contract.HTTP_PORT_NAME}, "timeoutSeconds": 5}
    live = {"httpGet": {"path": contract.PATH_LIVE, "port": contract.HTTP_PORT_NAME}, "timeoutSeconds": 5}
    return {
        "startupProbe": {
            **ready,
            "periodSeconds": _PROBE_PERIOD_SECONDS,
            "failureThreshold": START_SECONDS // _PROBE_PERIOD_SECONDS,
        },
        "readinessProbe": {**ready, "periodSeconds": _PROBE_PERIOD_SECONDS, "failureThreshold": 3},
        "livenessProbe": {**live, "periodSeconds": 10, "failureThreshold": 6},
    }


def _resources(pool: FluxPool) -> Manifest:
    """The user's, and the GPUs: as an extended resource these must be asked for and limited to the same number."""
    given = pool.spec.template.resources
    gpus = {pool.spec.gpu.resource_name: str(pool.spec.gpu.count)}
    return {
        "limits": {**((given and given.limits) or {}), **gpus},
        "requests": {**((given and given.requests) or {}), **gpus},
    }


def _volumes(name: str, template: PodTemplate) -> list[Manifest]:
    """Ours, then the user's; a volume of theirs named `model-cache` takes the place of ours."""
    ours: list[Manifest] = [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"name": "tmp", "emptyDir": {}},
        {"name": contract.MODEL_CACHE_VOLUME, "emptyDir": {}},
        # 0440 with fsGroup: readable by the server and nobody else.
        {"name": "admin-token", "secret": {"secretName": admin_secret_name(name), "defaultMode": 0o440}},
    ]
    return _merged(ours, [volume.to_wire() for volume in template.volumes or ()], key="name")


def _mounts(template: PodTemplate) -> list[Manifest]:
    """Ours, then the user's; a mount of theirs on the same path takes the place of ours, except the admin token's."""
    ours: list[Manifest] = [
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - a path in the container
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a path in the container
        {"name": contract.MODEL_CACHE_VOLUME, "mountPath": contract.MODEL_CACHE_DIR},
    ]
    token = {"name": "admin-token", "mountPath": contract.ADMIN_TOKEN_FILE.rpartition("/")[0], "readOnly": True}
    theirs = [mount.to_wire() for mount in template.volume_mounts or ()]
    return _merged(_merged(ours, theirs, key="mountPath"), [token], key="mountPath")


def _merged(first: list[Manifest], second: list[Manifest], key: str) -> list[Manifest]:
    """Both lists in order; an item of `second` takes the place of the one with the same key."""
    return list(({item[key]: item for item in first} | {item[key]: item for item in second}).values())


def _placement(name: str, template: PodTemplate) -> Manifest:
    """Where and as whom pods run: passed through as given."""
    given = template.to_wire()
    passed: Manifest = {
        key: given[key]
        for key in (
            "imagePullSecrets",
            "serviceAccountName",
            "nodeSelector",
            "tolerations",
            "affinity",
            "priorityClassName",
            "runtimeClassName",
        )
        if given.get(key)
    }
    own_pods: Mapping[str, Any] = {"labelSelector": {"matchLabels": selector(name)}}
    spread = given.get("topologySpreadConstraints")
    if spread:
        passed["topologySpreadConstraints"] = [{**own_pods, **constraint} for constraint in spread]
    return passed
