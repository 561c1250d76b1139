"""What goes into the pods as the user gives it, beside what the operator makes.

Pieces with a fixed small form are typed; the open ones (`valueFrom`, volume sources, affinity terms) are passed through
unseen, and the API server checks them when the Deployment is written.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from fluxpool_operator import contract
from fluxpool_operator.api.base import (
    ATOMIC,
    ApiModel,
    LabelValue,
    ObjectName,
    OpaqueObject,
    PassedThrough,
    Quantity,
    Rule,
    list_of_maps,
)

_RESERVED: Final = sorted(contract.RESERVED_ENVIRONMENT)
_OUR_LABELS: Final = (
    contract.LABEL_NAME,
    contract.LABEL_COMPONENT,
    contract.LABEL_INSTANCE,
    contract.LABEL_MANAGED_BY,
    contract.LABEL_POOL,
)


OPERATOR_VOLUMES: Final = frozenset({"shm", "tmp", "admin-token"})
"""Volumes of every pod; `model-cache` is a further one, which the user may replace."""


class PullPolicy(StrEnum):
    """When a node fetches the image."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class LocalObjectReference(ApiModel):
    """An object of the pool's namespace, by name."""

    name: ObjectName = Field(description="Name of the Secret.")


class EnvVar(ApiModel):
    """An environment variable of the inference container."""

    name: str = Field(
        min_length=1, max_length=128, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$", description="Name of the variable."
    )
    value: str | None = Field(
        default=None, max_length=8192, description="Its value; valueFrom takes it from elsewhere."
    )
    value_from: OpaqueObject | None = Field(
        default=None,
        description="Where the value comes from: secretKeyRef, configMapKeyRef, fieldRef or resourceFieldRef, as in "
        "a pod.",
    )


class Volume(PassedThrough):
    """A volume of the pods, with any source a pod allows."""

    name: str = Field(
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="Name of the volume. The name model-cache replaces the cache of downloaded weights (an emptyDir), "
        "for example by a persistentVolumeClaim.",
    )


class VolumeMount(PassedThrough):
    """Where a volume appears in the inference container, as in a pod."""

    name: str = Field(min_length=1, max_length=63, description="Name of a volume of template.volumes.")
    mount_path: str = Field(min_length=1, max_length=512, description="Path in the container; no colon.")
    read_only: bool | None = Field(default=None, description="Whether the container may only read it.")


class Toleration(ApiModel):
    """A taint of nodes that the pods accept, as in a pod."""

    key: str | None = Field(default=None, max_length=316, description="Key of the taint; all keys where absent.")
    operator: str | None = Field(
        default=None, max_length=16, description="How value is compared: Equal (the default) or Exists."
    )
    value: str | None = Field(default=None, max_length=63, description="Value of the taint, for Equal.")
    effect: str | None = Field(
        default=None, max_length=32, description="NoSchedule, PreferNoSchedule or NoExecute; all of them where absent."
    )
    toleration_seconds: int | None = Field(
        default=None, ge=0, le=2_147_483_647, description="Seconds a pod stays on a node that gains a NoExecute taint."
    )


class TopologySpreadConstraint(PassedThrough):
    """How pods spread over zones or nodes, as in a pod; without a labelSelector the pool's own pods are counted."""

    topology_key: str = Field(min_length=1, max_length=316, description="Node label whose values are the domains.")
    when_unsatisfiable: str = Field(max_length=32, description="DoNotSchedule or ScheduleAnyway.")
    max_skew: int = Field(ge=1, le=1000, description="Largest difference of pods between two domains.")


class Affinity(ApiModel):
    """Rules for the choice of nodes, as in a pod."""

    node_affinity: OpaqueObject | None = Field(default=None, description="Which nodes are required or preferred.")
    pod_affinity: OpaqueObject | None = Field(default=None, description="Next to which pods to run.")
    pod_anti_affinity: OpaqueObject | None = Field(default=None, description="Away from which pods to run.")


class Resources(ApiModel):
    """CPU, memory and other resources of the inference container; GPUs are set by gpu."""

    limits: dict[str, Quantity] | None = Field(
        default=None, max_length=16, description="The most the container may use, for example memory: 48Gi."
    )
    requests: dict[str, Quantity] | None = Field(
        default=None, max_length=16, description="What a node must have free, for example cpu: 4 and memory: 32Gi."
    )


Labels = Annotated[dict[str, LabelValue], Field(max_length=32)]
Annotations = Annotated[dict[str, Annotated[str, Field(max_length=8192)]], Field(max_length=32)]


class PodTemplate(ApiModel):
    """What the pods get beside what the operator makes: image, placement, resources, environment, volumes."""

    image: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        pattern=r"^[^ ]+$",
        description="Inference image; the operator's own where absent. Its entrypoint must run the server.",
    )
    image_pull_policy: PullPolicy | None = Field(
        default=None,
        description="When nodes fetch the image: Always, IfNotPresent or Never; the operator's own where absent.",
    )
    image_pull_secrets: Annotated[list[LocalObjectReference], Field(max_length=8)] | None = Field(
        default=None,
        description="Secrets with the credentials of the image's registry.",
        json_schema_extra=list_of_maps("name"),
    )
    service_account_name: ObjectName | None = Field(
        default=None, description="Service account of the pods; its token is never mounted."
    )
    labels: Labels | None = Field(
        default=None, description="Further labels of the pods. Those of the operator cannot be set."
    )
    annotations: Annotations | None = Field(default=None, description="Further annotations of the pods.")
    node_selector: Labels | None = Field(default=None, description="Labels a node must have.")
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = Field(
        default=None, description="Taints of nodes that the pods accept.", json_schema_extra=ATOMIC
    )
    affinity: Affinity | None = Field(default=None, description="Rules for the choice of nodes, as in a pod.")
    topology_spread_constraints: Annotated[list[TopologySpreadConstraint], Field(max_length=8)] | None = Field(
        default=None,
        description="How pods spread over zones or nodes. Without a labelSelector the pool's own pods are counted.",
        json_schema_extra=list_of_maps("topologyKey", "whenUnsatisfiable"),
    )
    resources: Resources | None = Field(
        default=None, description="CPU, memory and other resources of the inference container; GPUs are set by gpu."
    )
    env: Annotated[list[EnvVar], Field(max_length=64)] | None = Field(
        default=None,
        description="Further environment variables. A variable of the operator is replaced, except those of the pod's "
        "identity, the admin token and the drain time.",
        json_schema_extra=list_of_maps("name"),
    )
    volumes: Annotated[list[Volume], Field(max_length=32)] | None = Field(
        default=None, description="Further volumes of the pods.", json_schema_extra=list_of_maps("name")
    )
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=32)] | None = Field(
        default=None,
        description="Where volumes appear in the inference container.",
        json_schema_extra=list_of_maps("mountPath"),
    )
    priority_class_name: ObjectName | None = Field(default=None, description="Priority class of the pods.")
    runtime_class_name: ObjectName | None = Field(
        default=None, description="Runtime class of the pods, for example nvidia where nodes need one for GPUs."
    )

    rules = (
        Rule(
            f"!has(self.env) || self.env.all(e, !(e.name in {_RESERVED}))",
            f"template.env cannot set {', '.join(_RESERVED)}: the operator does (see serving.drainSeconds)",
            lambda t: not contract.RESERVED_ENVIRONMENT & {e.name for e in t.env or ()},
            field=".env",
        ),
        Rule(
            f"!has(self.labels) || self.labels.all(l, !(l in {list(_OUR_LABELS)}))",
            f"template.labels cannot set {', '.join(_OUR_LABELS)}: the operator does",
            lambda t: not set(_OUR_LABELS) & set(t.labels or ()),
            field=".labels",
        ),
        Rule(
            f"!has(self.volumes) || self.volumes.all(v, !(v.name in {sorted(OPERATOR_VOLUMES)}))",
            f"template.volumes cannot define {', '.join(sorted(OPERATOR_VOLUMES))}: the operator does",
            lambda t: not OPERATOR_VOLUMES & {v.name for v in t.volumes or ()},
            field=".volumes",
        ),
    )
