"""The two knobs of a pool, replicas and batch size: who turns them, within which bounds, towards which targets."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from fluxpool_operator.api.base import ATOMIC, ApiModel, Rule

MAX_REPLICAS: Final = 1000
MAX_BATCH_SIZE: Final = 64
DEFAULT_MIN_REPLICAS: Final = 1
DEFAULT_MIN_BATCH_SIZE: Final = 1
DEFAULT_MAX_BATCH_SIZE: Final = 8


class Mode(StrEnum):
    """Who sets a knob."""

    AUTO = "Auto"
    HOLD = "Hold"
    RECOMMEND = "Recommend"
    MANUAL = "Manual"

    @property
    def operator_decides(self) -> bool:
        """Whether the number is operator state (in status) rather than the user's (in spec)."""
        return self in {Mode.AUTO, Mode.HOLD}


class PolicyType(StrEnum):
    """Unit of a scaling policy's value."""

    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    """Which of several policies counts."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class ScalingPolicy(ApiModel):
    """At most this much change of replicas within a period."""

    type: PolicyType = Field(description="Unit of value: Pods, or Percent of the replicas there are.")
    value: int = Field(ge=1, le=10_000, description="The most that may change within periodSeconds.")
    period_seconds: int = Field(ge=1, le=1800, description="Length of the period in seconds.")


class ScalingRules(ApiModel):
    """How fast replicas may change in one direction, as in a HorizontalPodAutoscaler (autoscaling/v2)."""

    stabilization_window_seconds: int | None = Field(
        default=None,
        ge=0,
        le=3600,
        description="Seconds of past recommendations that are looked at: scaling down takes the largest of them, "
        "scaling up the smallest. Where absent the operator chooses: 0 up, 300 down.",
    )
    select_policy: SelectPolicy | None = Field(
        default=None,
        description="Which policy counts where several are given: Max (the default) allows the largest change, Min the "
        "smallest, Disabled forbids this direction.",
    )
    policies: Annotated[list[ScalingPolicy], Field(max_length=8)] | None = Field(
        default=None,
        description="Bounds of the rate of change. Where absent: up by 4 pods or 100 percent in 15 seconds, whichever "
        "is more; down by 100 percent in 15 seconds.",
        json_schema_extra=ATOMIC,
    )


class Behavior(ApiModel):
    """How fast replicas may change, as in a HorizontalPodAutoscaler (autoscaling/v2)."""

    scale_up: ScalingRules | None = Field(default=None, description="Rules for adding replicas.")
    scale_down: ScalingRules | None = Field(default=None, description="Rules for removing replicas.")


class Targets(ApiModel):
    """What the autoscaler steers to. Queue depth and GPU utilization each ask for replicas, and the largest wins."""

    queue_depth_per_replica: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Requests (images) waiting or running per replica. Where absent, what a pod carries at its best: "
        "as many as batching.max, but no more than its measured speed gains from (at least 2), and no more than it "
        "works off in serving.maxQueueSeconds.",
    )
    gpu_utilization_percent: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Mean GPU utilization of the ready pods in percent. Not used where absent: a GPU is busy with one "
        "row as with eight, so as a trigger of its own it climbs to maxReplicas.",
    )
    latency_seconds: int | None = Field(
        default=None,
        ge=1,
        le=3600,
        description="Seconds from request to image that should be kept. Bounds the batch size at rest: more rows in a "
        "step let each request run longer. Where absent batches may fill up to batching.max.",
    )


class Scaling(ApiModel):
    """How many replicas (pods) the pool has and who decides it."""

    mode: Mode = Field(
        default=Mode.AUTO,
        description="Auto: the autoscaler sets the replicas, in status.desired. Hold: they stay as they are. "
        "Recommend: spec.replicas counts and the autoscaler only reports status.recommended. Manual: spec.replicas "
        "counts (kubectl scale, a HorizontalPodAutoscaler, KEDA) and the autoscaler is silent.",
    )
    min_replicas: int | None = Field(
        default=None, ge=1, le=MAX_REPLICAS, description="The fewest replicas the autoscaler may set; 1 where absent."
    )
    max_replicas: int | None = Field(
        default=None,
        ge=1,
        le=MAX_REPLICAS,
        description="The most replicas the autoscaler may set, hence the most GPUs the pool may cost. Required unless "
        "mode is Manual.",
    )
    targets: Targets = Field(
        default_factory=Targets,
        description="What the autoscaler steers to. Queue depth and GPU utilization each ask for replicas, and the "
        "largest number wins; the latency target bounds the batch size.",
    )
    behavior: Behavior = Field(
        default_factory=Behavior,
        description="How fast replicas may change, as in a HorizontalPodAutoscaler (autoscaling/v2).",
    )

    rules = (
        Rule(
            "!has(self.maxReplicas) || self.?minReplicas.orValue(1) <= self.maxReplicas",
            "scaling.minReplicas must not exceed scaling.maxReplicas",
            lambda s: s.max_replicas is None or s.floor <= s.max_replicas,
            field=".minReplicas",
        ),
    )

    @property
    def floor(self) -> int:
        """The fewest replicas."""
        return self.min_replicas or DEFAULT_MIN_REPLICAS

    @property
    def ceiling(self) -> int:
        """The most replicas; in mode Manual without a bound, what the schema allows."""
        return self.max_replicas or MAX_REPLICAS

    def clamp(self, replicas: int) -> int:
        """The number within the bounds of the pool."""
        return min(max(replicas, self.floor), self.ceiling)


class Batching(ApiModel):
    """How many rows (images) one denoising step of a pod may take, and who decides it. A change restarts no pod."""

    mode: Mode = Field(
        default=Mode.AUTO,
        description="As scaling.mode, for the batch size: in Auto and Hold status.desired.batchSize counts, in "
        "Recommend and Manual batching.size.",
    )
    size: int | None = Field(
        default=None,
        ge=1,
        le=MAX_BATCH_SIZE,
        description="The batch size of every pod, for mode Manual and Recommend only. A pod may still run smaller "
        "batches: it never passes what its memory allows.",
    )
    min: int | None = Field(
        default=None,
        ge=1,
        le=MAX_BATCH_SIZE,
        description="The smallest batch size the autoscaler may set; 1 where absent.",
    )
    max: int | None = Field(
        default=None,
        ge=1,
        le=MAX_BATCH_SIZE,
        description="The largest batch size the autoscaler may set; 8 where absent.",
    )

    rules = (
        Rule(
            f"self.?min.orValue({DEFAULT_MIN_BATCH_SIZE}) <= self.?max.orValue({DEFAULT_MAX_BATCH_SIZE})",
            f"batching.min must not exceed batching.max ({DEFAULT_MAX_BATCH_SIZE} where absent)",
            lambda b: b.floor <= b.ceiling,
            field=".min",
        ),
        Rule(
            "!has(self.size) || self.mode in ['Auto', 'Hold'] || "
            f"(self.?min.orValue({DEFAULT_MIN_BATCH_SIZE}) <= self.size && "
            f"self.size <= self.?max.orValue({DEFAULT_MAX_BATCH_SIZE}))",
            f"batching.size must lie between batching.min ({DEFAULT_MIN_BATCH_SIZE} where absent) and batching.max "
            f"({DEFAULT_MAX_BATCH_SIZE} where absent)",
            lambda b: b.size is None or b.mode.operator_decides or b.floor <= b.size <= b.ceiling,
            field=".size",
        ),
        Rule(
            "!has(self.size) || !(self.mode in ['Auto', 'Hold']) || "
            "(oldSelf.hasValue() && has(oldSelf.value().size) && oldSelf.value().size == self.size)",
            "mode Auto sets the batch size: remove batching.size or use batching.mode Manual",
            None,
            message_cel="'mode ' + self.mode + ' sets the batch size: '"
            " + 'remove batching.size or use batching.mode Manual'",
            field=".size",
        ),
    )

    @property
    def floor(self) -> int:
        """The smallest batch size."""
        return self.min or DEFAULT_MIN_BATCH_SIZE

    @property
    def ceiling(self) -> int:
        """The largest batch size."""
        return self.max or DEFAULT_MAX_BATCH_SIZE

    def clamp(self, size: int) -> int:
        """The size within the bounds of the pool."""
        return sorted((self.floor, size, self.ceiling))[1]
