"""FluxPool manifests for tests: a small one, one that uses every field, and what each rule refuses."""

import copy
from typing import Any

from fluxpool_operator.api import FluxPool, read

Body = dict[str, Any]
TYPE = {"apiVersion": "fluxpool.dev/v1alpha1", "kind": "FluxPool"}
UID = "0f0c5d5e-0000-4000-8000-000000000001"


def manifest(name: str = "demo", /, **spec: Any) -> Body:
    """As a user writes it: mode Auto with one to four replicas, unless `spec` says otherwise."""
    smallest = {"model": {"source": "/models/tiny"}, "scaling": {"minReplicas": 1, "maxReplicas": 4}}
    return {**TYPE, "metadata": {"name": name, "namespace": "default"}, "spec": copy.deepcopy({**smallest, **spec})}


def body(name: str = "demo", /, *, generation: int = 1, status: Body | None = None, **spec: Any) -> Body:
    """As the API server has it."""
    made = manifest(name, **spec)
    made["metadata"] |= {"uid": UID, "generation": generation, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return made | ({"status": status} if status else {})


def pool(name: str = "demo", /, **arguments: Any) -> FluxPool:
    """Parsed."""
    parsed = read(body(name, **arguments))
    assert isinstance(parsed, FluxPool), parsed
    return parsed


EVERY_FIELD: Body = {
    "model": {
        "source": "black-forest-labs/FLUX.1-dev",
        "revision": "0ef5fff789c832c5c7f4e127f94c8b54bbcced44",
        "precision": "float16",
        "tokenSecretRef": {"name": "hub", "key": "token"},
    },
    "serving": {
        "drainSeconds": 120,
        "maxQueueSeconds": 20,
        "maxWaiting": 50,
        "defaultSize": "512x768",
        "imageFormats": ["png", "webp"],
        "limits": {"maxSteps": 30, "maxImages": 2, "minSide": 64, "maxPixels": 1048576},
    },
    "scaling": {
        "mode": "Auto",
        "minReplicas": 2,
        "maxReplicas": 6,
        "targets": {"queueDepthPerReplica": 4, "gpuUtilizationPercent": 80, "latencySeconds": 20},
        "behavior": {
            "scaleUp": {
                "stabilizationWindowSeconds": 0,
                "selectPolicy": "Max",
                "policies": [{"type": "Pods", "value": 2, "periodSeconds": 15}],
            },
            "scaleDown": {
                "stabilizationWindowSeconds": 300,
                "selectPolicy": "Min",
                "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
            },
        },
    },
    "batching": {"mode": "Manual", "size": 4, "min": 2, "max": 6},
    "gpu": {"resourceName": "nvidia.com/mig-3g.71gb", "count": 1},
    "rollout": {"maxSurge": "50%", "maxUnavailable": 1, "onUpgrade": True},
    "template": {
        "image": "registry.example/fluxpool:1",
        "imagePullPolicy": "Always",
        "imagePullSecrets": [{"name": "registry"}],
        "serviceAccountName": "images",
        "labels": {"team": "art"},
        "annotations": {"example.com/cost": "high"},
        "nodeSelector": {"gpu": "h200"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
                }
            }
        },
        "topologySpreadConstraints": [
            {"topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "maxSkew": 1},
            {
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "maxSkew": 2,
                "labelSelector": {"matchLabels": {"team": "art"}},
            },
        ],
        "resources": {"requests": {"cpu": 2, "memory": "1024Mi"}, "limits": {"cpu": "4000m", "memory": "48Gi"}},
        "env": [
            {"name": "FLUXPOOL_MAX_STEPS", "value": "12"},
            {"name": "FROM_MAP", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}},
        ],
        "volumes": [
            {"name": "model-cache", "persistentVolumeClaim": {"claimName": "weights"}},
            {"name": "lora", "hostPath": {"path": "/srv/lora", "type": "Directory"}},
        ],
        "volumeMounts": [{"name": "lora", "mountPath": "/lora", "readOnly": True, "subPath": "a"}],
        "priorityClassName": "images",
        "runtimeClassName": "nvidia",
    },
}

SCALING = {"minReplicas": 1, "maxReplicas": 4}

REFUSED: dict[str, tuple[Body, str]] = {
    "a name longer than a Service's may be": (manifest("a" * 53), "metadata.name must be at most 52 characters"),
    "a name that starts with a digit": (manifest("1pool"), "metadata.name must be at most 52 characters"),
    "a name with a dot": (manifest("my.pool"), "metadata.name must be at most 52 characters"),
    "no maxReplicas": (manifest(scaling={}), "scaling.maxReplicas is required unless scaling.mode is Manual"),
    "no scaling at all": (
        {**TYPE, "metadata": {"name": "demo", "namespace": "default"}, "spec": {"model": {"source": "a/b"}}},
        "scaling.maxReplicas is required unless scaling.mode is Manual",
    ),
    "min above max": (
        manifest(scaling={"minReplicas": 5, "maxReplicas": 4}),
        "scaling.minReplicas must not exceed scaling.maxReplicas",
    ),
    "min above max in mode Manual": (
        manifest(scaling={"mode": "Manual", "minReplicas": 5, "maxReplicas": 4}),
        "scaling.minReplicas must not exceed scaling.maxReplicas",
    ),
    "batching.min above batching.max": (
        manifest(batching={"min": 4, "max": 2}),
        "batching.min must not exceed batching.max (8 where absent)",
    ),
    "batching.min above the default of max": (
        manifest(batching={"min": 9}),
        "batching.min must not exceed batching.max (8 where absent)",
    ),
    "a size above batching.max": (
        manifest(batching={"mode": "Manual", "size": 9}),
        "batching.size must lie between batching.min (1 where absent) and batching.max (8 where absent)",
    ),
    "a size below batching.min": (
        manifest(batching={"mode": "Recommend", "size": 1, "min": 2}),
        "batching.size must lie between batching.min (1 where absent) and batching.max (8 where absent)",
    ),
    "a queue longer than the drain": (
        manifest(serving={"maxQueueSeconds": 300}),
        "serving.maxQueueSeconds must be less than serving.drainSeconds",
    ),
    "a latency target longer than the drain": (
        manifest(scaling={**SCALING, "targets": {"latencySeconds": 301}}),
        "scaling.targets.latencySeconds must not exceed serving.drainSeconds",
    ),
    "a default size that is no multiple of 16": (
        manifest(serving={"defaultSize": "1000x1024"}),
        "serving.defaultSize must have sides that are multiples of 16",
    ),
    "a default size below the smallest side": (
        manifest(serving={"defaultSize": "1024x128"}),
        "serving.defaultSize must be within serving.limits",
    ),
    "a default size with too many pixels": (
        manifest(serving={"defaultSize": "2048x2048"}),
        "serving.defaultSize must be within serving.limits",
    ),
    "a source with a space": (
        manifest(model={"source": "black forest/FLUX"}),
        "model.source must be a Hugging Face id such as black-forest-labs/FLUX.1-schnell, or an absolute path",
    ),
    "a source that is a relative path": (
        manifest(model={"source": "./models/tiny"}),
        "model.source must be a Hugging Face id such as black-forest-labs/FLUX.1-schnell, or an absolute path",
    ),
    "a revision of a path": (
        manifest(model={"source": "/models/tiny", "revision": "main"}),
        "model.revision is for a Hugging Face id: remove it, since model.source is a path",
    ),
    "a rollout that can replace nothing": (
        manifest(rollout={"maxSurge": "0%", "maxUnavailable": 0}),
        "rollout.maxSurge and rollout.maxUnavailable cannot both be 0",
    ),
    "an environment variable of the operator": (
        manifest(template={"env": [{"name": "FLUXPOOL_DRAIN_SECONDS", "value": "1"}]}),
        "template.env cannot set FLUXPOOL_ADMIN_TOKEN_FILE, FLUXPOOL_DRAIN_SECONDS",
    ),
    "a label of the operator": (
        manifest(template={"labels": {"fluxpool.dev/pool": "other"}}),
        "template.labels cannot set",
    ),
    "a volume of the operator": (
        manifest(template={"volumes": [{"name": "shm", "emptyDir": {}}]}),
        "template.volumes cannot define admin-token, shm, tmp",
    ),
}
"""Manifests that break one rule each, and how the message starts: the API server's CEL and Python must both say it."""

ACCEPTED: dict[str, Body] = {
    "the smallest": manifest(),
    "every field": {**manifest(), "spec": EVERY_FIELD},
    "Manual without bounds": manifest(scaling={"mode": "Manual"}, replicas=3),
    "Manual with none": manifest(scaling={"mode": "Manual"}, replicas=0),
    "Recommend": manifest(
        scaling={**SCALING, "mode": "Recommend"}, replicas=2, batching={"mode": "Recommend", "size": 2}
    ),
    "a hub id without an owner": manifest(model={"source": "flux"}),
    "percentages in a rollout": manifest(rollout={"maxSurge": "0%", "maxUnavailable": "25%"}),
    "the longest name": manifest("a" * 52),
    "an overridable variable": manifest(template={"env": [{"name": "HF_HOME", "value": "/x"}]}),
}
