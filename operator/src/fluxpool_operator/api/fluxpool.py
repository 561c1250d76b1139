"""The FluxPool: one endpoint, its pods and its size, in one object."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import Field, ValidationError

from fluxpool_operator import contract
from fluxpool_operator.api.base import ApiModel, Rule
from fluxpool_operator.api.scaling import MAX_REPLICAS, Batching, Mode, Scaling
from fluxpool_operator.api.serving import Gpu, Model, Rollout, Serving
from fluxpool_operator.api.status import Status
from fluxpool_operator.api.template import PodTemplate

GROUP: Final = "fluxpool.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "FluxPool"
PLURAL: Final = "fluxpools"

_NAME: Final = "^[a-z]([-a-z0-9]*[a-z0-9])?$"  # a DNS-1035 label: Services may have no other name


class Metadata(ApiModel):
    """What the operator needs of an object's metadata."""

    name: str
    namespace: str
    uid: str
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class Spec(ApiModel):
    """What you want: the model, its size, and the pods."""

    replicas: int | None = Field(
        default=None,
        ge=0,
        le=MAX_REPLICAS,
        description="Number of inference pods, for scaling.mode Manual and Recommend only: kubectl scale, a "
        "HorizontalPodAutoscaler and KEDA write here. Where absent the number stays as it is.",
    )
    model: Model = Field(description="Which FLUX model the pool serves and where its weights come from.")
    serving: Serving = Field(
        default_factory=Serving, description="How requests are taken: bounds of a request and of the queue."
    )
    scaling: Scaling = Field(
        default_factory=Scaling, description="How many replicas (pods) the pool has and who decides it."
    )
    batching: Batching = Field(
        default_factory=Batching,
        description="How many rows (images) one denoising step of a pod may take, and who decides it.",
    )
    gpu: Gpu = Field(default_factory=Gpu, description="The devices of each pod.")
    rollout: Rollout = Field(default_factory=Rollout, description="How pods are replaced when the spec changes.")
    template: PodTemplate = Field(
        default_factory=PodTemplate,
        description="What the pods get beside what the operator makes: image, placement, resources, …",
    )

    rules = (
        # Not a rule of scaling itself: the API server would refuse that object's default.
        Rule(
            "self.scaling.mode == 'Manual' || has(self.scaling.maxReplicas)",
            "scaling.maxReplicas is required unless scaling.mode is Manual: it bounds what the pool may cost",
            lambda s: s.scaling.mode is Mode.MANUAL or s.scaling.max_replicas is not None,
            field=".scaling.maxReplicas",
        ),
        Rule(
            "!has(self.replicas) || !(self.scaling.mode in ['Auto', 'Hold']) || "
            "(oldSelf.hasValue() && has(oldSelf.value().replicas) && oldSelf.value().replicas == self.replicas)",
            "mode Auto sets replicas: remove spec.replicas or use mode Manual",
            None,
            message_cel="'mode ' + self.scaling.mode + ' sets replicas: remove spec.replicas or use mode Manual'",
            field=".replicas",
        ),
        Rule(
            "self.scaling.?targets.?latencySeconds.orValue(0) <= self.serving.drainSeconds",
            "scaling.targets.latencySeconds must not exceed serving.drainSeconds: no request may take longer than a "
            "pod has to drain",
            lambda s: (
                s.scaling.targets.latency_seconds is None
                or s.scaling.targets.latency_seconds <= s.serving.drain_seconds
            ),
            field=".scaling.targets.latencySeconds",
        ),
    )


class FluxPool(ApiModel):
    """A pool of inference pods that serve one FLUX model as an OpenAI-compatible image endpoint and size themselves."""

    metadata: Metadata
    spec: Spec = Field(description="What you want: the model, its size, and the pods.")
    status: Status = Field(default_factory=Status, description="What the operator reports about the pool.")

    rules = (
        Rule(
            f"size(self.metadata.name) <= {contract.POOL_NAME_MAX_LENGTH} && self.metadata.name.matches('{_NAME}')",
            f"metadata.name must be at most {contract.POOL_NAME_MAX_LENGTH} characters: lower-case letters, digits and "
            "'-', starting with a letter and ending with a letter or digit (the pool's Service carries it)",
            lambda p: len(p.metadata.name) <= contract.POOL_NAME_MAX_LENGTH and bool(re.match(_NAME, p.metadata.name)),
        ),
    )

    @property
    def name(self) -> str:
        """The name that Deployment, Service and PodDisruptionBudget carry too."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The namespace of the pool and all its children."""
        return self.metadata.namespace

    @property
    def terminating(self) -> bool:
        """Whether the pool is being deleted."""
        return self.metadata.deletion_timestamp is not None


@dataclass(frozen=True, slots=True)
class UnreadableFluxPool:
    """A FluxPool that is stored but cannot be parsed: enough of it to say so in its status."""

    metadata: Metadata
    status: Status
    message: str


def read(body: Mapping[str, Any]) -> FluxPool | UnreadableFluxPool:
    """Read an object of the API server; never fails on what the API server may hold.

    A status that cannot be read counts as absent: the operator makes it anew.
    """
    status = _read_status(body)
    try:
        return FluxPool.model_validate({"metadata": body["metadata"], "spec": body.get("spec"), "status": status})
    except ValidationError as error:
        return UnreadableFluxPool(Metadata.model_validate(body["metadata"]), status, _in_one_line(error))


def _read_status(body: Mapping[str, Any]) -> Status:
    try:
        return Status.model_validate(body.get("status") or {})
    except ValidationError:
        return Status()


def _in_one_line(error: ValidationError, most: int = 3) -> str:
    """The first few errors as `path: what is wrong`, without the input: it may be long, or a secret."""
    lines = []
    for item in error.errors(include_url=False, include_input=False, include_context=False)[:most]:
        path = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        lines.append(f"{path}: {message}" if path else message)
    return "; ".join(lines)
