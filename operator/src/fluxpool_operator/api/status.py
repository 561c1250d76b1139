"""What the operator reports about a pool. Only the operator writes it, and nothing else of a FluxPool."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from fluxpool_operator.api.base import ApiModel, list_of_maps

MESSAGE_LENGTH: Final = 1024
"""The longest message of a condition; longer ones are cut."""

Count = Annotated[int, Field(ge=0, le=2_147_483_647)]
Timestamp = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]


class ConditionStatus(StrEnum):
    """Three values, as in all of Kubernetes."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(ApiModel):
    """One aspect of the pool's state, in the form all Kubernetes objects use (metav1.Condition)."""

    type: str = Field(min_length=1, max_length=64, description="Name of the aspect, for example Ready.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    observed_generation: Count | None = Field(
        default=None, description="The metadata.generation this condition was made from."
    )
    last_transition_time: Timestamp = Field(description="When status last changed.")
    reason: str = Field(
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        description="One word for why.",
    )
    message: str = Field(
        max_length=MESSAGE_LENGTH, description="A sentence for people, from the moment of the transition."
    )


class Numbers(ApiModel):
    """The two numbers of a pool."""

    replicas: Count | None = Field(default=None, description="Number of inference pods.")
    batch_size: Count | None = Field(default=None, description="Rows (images) one denoising step of a pod may take.")


class ColdStart(ApiModel):
    """How long the last pods took from being scheduled to being ready, at most 20 of the present template."""

    p50_seconds: Count = Field(description="Median in seconds.")
    p90_seconds: Count = Field(description="Time that 9 of 10 starts kept, in seconds.")
    p99_seconds: Count = Field(description="Time that 99 of 100 starts kept, in seconds.")


class TemplateInUse(ApiModel):
    """What the pods are made from; it moves with a change of spec, or by itself with rollout.onUpgrade."""

    image: str = Field(max_length=512, description="Inference image of the pods.")
    image_pull_policy: str | None = Field(default=None, max_length=16, description="When nodes fetch it.")
    revision: Count = Field(description="Revision of the operator's pod template.")
    hash: str = Field(max_length=64, description="Digest of the pod template as the operator makes it from these.")


class Status(ApiModel):
    """What the operator reports about the pool."""

    observed_generation: Count | None = Field(
        default=None, description="The metadata.generation the operator last worked on."
    )
    replicas: Count | None = Field(
        default=None, description="Inference pods there are, those that start or end included."
    )
    ready_replicas: Count | None = Field(default=None, description="Inference pods that are ready.")
    selector: str | None = Field(
        default=None,
        max_length=256,
        description="Label selector of the pods, for HorizontalPodAutoscalers and kubectl scale.",
    )
    desired: Numbers | None = Field(
        default=None,
        description="What the operator makes the pods match: the autoscaler's numbers in Auto, kept in Hold.",
    )
    recommended: Numbers | None = Field(
        default=None, description="What the autoscaler would set, in mode Recommend: bounded and stabilised."
    )
    batch_size: Count | None = Field(
        default=None, description="The batch size all ready pods really run with, at the least."
    )
    cold_start: ColdStart | None = Field(default=None, description="How long the last pods took to start.")
    last_scale_time: Timestamp | None = Field(default=None, description="When desired.replicas last changed.")
    template: TemplateInUse | None = Field(
        default=None, description="What the pods are made from: the image and the operator's template revision in use."
    )
    conditions: Annotated[list[Condition], Field(max_length=16)] | None = Field(
        default=None,
        description="Ready (at least one ready pod of the current template serves), Reconciling (a change rolls out), "
        "Stalled (cannot go on without you), ScalingActive and MetricsAvailable (the autoscaler's health).",
        json_schema_extra=list_of_maps("type"),
    )

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type."""
        return next((c for c in self.conditions or () if c.type == kind), None)
