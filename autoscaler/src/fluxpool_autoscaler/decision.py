"""What the autoscaler decided, and why, as data: logged once, counted in a metric, shown in status."""

from dataclasses import dataclass
from enum import StrEnum

from fluxpool_autoscaler.policy import Mode


class Limit(StrEnum):
    """Why a number is not the one the largest rule asked for."""

    AT_MAXIMUM = "AtMaximum"
    AT_MINIMUM = "AtMinimum"
    HELD_BY_WINDOW = "HeldByWindow"
    HELD_BY_UTILIZATION = "HeldByUtilization"
    HELD_BY_MISSING_METRICS = "HeldByMissingMetrics"
    LIMITED_BY_RATE = "LimitedByRate"


class Validity(StrEnum):
    """Whether the samples were enough to decide on."""

    COMPLETE = "Complete"  # every ready pod has a sample that counts
    MISSING = "Missing"  # a ready pod has none
    STALE = "Stale"  # a ready pod has one, but older than the age limit, and none is missing
    NO_READY_PODS = "NoReadyPods"  # nothing to measure; not an outage


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one rule asks for.

    Attributes:
        rule: the rule's name, fit for a metric label.
        number: replicas (or batch size) asked for, before any rail; None when the rule has no data.
        because: what was measured and what is aimed at, in words: "queue depth per replica is 12, target 8".
        value: the measured value in base units, None when there is none.
        target: the value aimed at in base units, None where the rule has no target.
    """

    rule: str
    number: int | None
    because: str
    value: float | None = None
    target: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on one knob.

    Attributes:
        mode: who owns the knob.
        desired: what the knob should be by the autoscaler: in Auto the number to act on, in Hold the number that
            stays, in Recommend and Manual the recommended number (the present one before there is any).
        recommended: the bounded, window-stabilised number before rate policies; None before the first data.
        previous: the number in force before this decision.
        proposals: what each rule asked for.
        winner: name of the rule whose number was largest, None when no rule had data.
        limits: what kept the winner's number from being the outcome, in the order applied.
        reason: one sentence for people: signal, value, target, limits.
    """

    mode: Mode
    desired: int
    recommended: int | None
    previous: int
    proposals: tuple[Proposal, ...]
    winner: str | None
    limits: tuple[Limit, ...]
    reason: str

    @property
    def changed(self) -> bool:
        """True when the autoscaler owns the knob and moves it."""
        return self.mode is Mode.AUTO and self.desired != self.previous


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the samples of the ready pods are worth: every ready pod's UID is in one of these.

    Attributes:
        counted: fresh, complete, of the present process.
        absent: the metric store has no series.
        ended: the newest sample is of a process that has ended.
        incomplete: a signal that gates a scale-down is no number.
        stale: older than the age limit.
    """

    counted: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Those that are not merely old."""
        return (*self.absent, *self.ended, *self.incomplete)

    @property
    def ready(self) -> int:
        """How many pods are ready."""
        return len(self.counted) + len(self.missing) + len(self.stale)

    @property
    def validity(self) -> Validity:
        """The worst that can be said of the samples."""
        if self.missing:
            return Validity.MISSING
        if self.stale:
            return Validity.STALE
        return Validity.COMPLETE if self.counted else Validity.NO_READY_PODS


@dataclass(frozen=True, slots=True)
class Decision:
    """The two numbers of one FluxPool."""

    replicas: Verdict
    batch_size: Verdict
    coverage: Coverage
