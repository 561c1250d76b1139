"""What the user wants: modes, bounds, targets and the pace of change.

The pace follows the `behavior` block of a HorizontalPodAutoscaler (autoscaling/v2), field for field and default for
default, so that what people know about it holds here too. Every number that has a unit carries it in its name.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Mode(StrEnum):
    """Who owns a knob, and what the autoscaler does about it."""

    AUTO = "Auto"  # the autoscaler's number rules
    HOLD = "Hold"  # the last number stays
    RECOMMEND = "Recommend"  # the user's number rules, the autoscaler says what it would choose
    MANUAL = "Manual"  # the user's number rules, the autoscaler is silent


class SelectPolicy(StrEnum):
    """Which of several rate policies rules: the largest change, the smallest, or no change at all."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class RateType(StrEnum):
    """The unit of a rate policy's value."""

    PODS = "Pods"
    PERCENT = "Percent"


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """At most `value` pods, or `value` percent of the replicas at the period's start, per `period_seconds`."""

    type: RateType
    value: int
    period_seconds: int


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """The pace in one direction.

    `window_seconds` is the stabilization window: up, the lowest need of the window counts; down, the highest.
    """

    window_seconds: float
    policies: tuple[RatePolicy, ...]
    select: SelectPolicy = SelectPolicy.MAX


# kubernetes 1.37, pkg/apis/autoscaling/v2/defaults.go: defaultHPAScaleUpRules, defaultHPAScaleDownRules (whose window
# is the flag --horizontal-pod-autoscaler-downscale-stabilization, 5 minutes).
DEFAULT_SCALE_UP = ScalingRules(
    window_seconds=0, policies=(RatePolicy(RateType.PODS, 4, 15), RatePolicy(RateType.PERCENT, 100, 15))
)
DEFAULT_SCALE_DOWN = ScalingRules(window_seconds=300, policies=(RatePolicy(RateType.PERCENT, 100, 15),))


@dataclass(frozen=True, slots=True)
class Targets:
    """What each replica should carry.

    Attributes:
        queue_depth_per_replica: requests waiting and running on one replica; None for what a pod carries at its best
            (`queue_target`).
        gpu_utilization_ratio: 0 to 1; None is no target, and no rule.
        latency_seconds: the longest service time wanted of a mean request; None lets the batch size rest at its
            maximum.
    """

    queue_depth_per_replica: float | None = None
    gpu_utilization_ratio: float | None = None
    latency_seconds: float | None = None

    def __post_init__(self) -> None:
        for target in (self.queue_depth_per_replica, self.gpu_utilization_ratio, self.latency_seconds):
            if target is not None and not target > 0:
                raise ValueError(f"a target must be above 0, not {target}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """An inclusive range of whole numbers. `maximum` is None where nothing bounds (replicas in mode Manual)."""

    minimum: int
    maximum: int | None

    def __post_init__(self) -> None:
        if self.minimum < 1:
            raise ValueError(f"the minimum must be at least 1, not {self.minimum}")
        if self.maximum is not None and self.maximum < self.minimum:
            raise ValueError(f"the maximum {self.maximum} is below the minimum {self.minimum}")

    def clamp(self, number: int) -> int:
        """The nearest number within the bounds."""
        number = max(number, self.minimum)
        return number if self.maximum is None else min(number, self.maximum)


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """Who owns the batch size (rows per denoising step of every pod), and its range. The maximum is never None."""

    bounds: Bounds
    mode: Mode = Mode.AUTO

    def __post_init__(self) -> None:
        if self.bounds.maximum is None:
            raise ValueError("the batch size needs a maximum")

    @property
    def maximum(self) -> int:
        """The largest batch size allowed."""
        assert self.bounds.maximum is not None  # noqa: S101 - narrows the type; __post_init__ refuses None
        return self.bounds.maximum


@dataclass(frozen=True, slots=True)
class Policy:
    """All that one FluxPool asks of the autoscaler.

    Attributes:
        bounds: of the replicas.
        targets: what each replica should carry.
        batching: of the batch size.
        mode: who owns the replicas.
        scale_up: the pace of growing.
        scale_down: the pace of shrinking.
        max_queue_seconds: the longest wait that a pod admits; None where nothing bounds it.

    Raises:
        ValueError: a bound or target that no decision could honour, or no maximum although the autoscaler decides.
    """

    bounds: Bounds
    targets: Targets
    batching: BatchPolicy
    mode: Mode = Mode.AUTO
    scale_up: ScalingRules = field(default=DEFAULT_SCALE_UP)
    scale_down: ScalingRules = field(default=DEFAULT_SCALE_DOWN)
    max_queue_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.bounds.maximum is None and self.mode is not Mode.MANUAL:
            raise ValueError(f"mode {self.mode} needs a maximum of replicas")
