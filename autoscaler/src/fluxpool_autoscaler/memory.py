"""What one decision leaves to the next: recent needs, recent changes, the number in force. Frozen, like all else here.

Times are seconds of whatever monotonic clock `decide` is given.
"""

from dataclasses import dataclass, field, replace

from fluxpool_autoscaler.policy import Mode

# The longest window or period that the behavior block allows.
KEPT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Needs:
    """Recent needs, as far as one of them can still be the highest or the lowest of some window.

    A later need that is as high or higher makes an earlier one irrelevant to every window that holds both; so `highs`
    falls with time and `lows` rises, and neither outgrows the number of different needs.
    """

    highs: tuple[tuple[float, int], ...] = ()
    lows: tuple[tuple[float, int], ...] = ()

    def record(self, now: float, need: int) -> "Needs":
        """The needs with one more, at `now`, which must not be before the last."""
        cutoff = now - KEPT_SECONDS
        highs = tuple(entry for entry in self.highs if entry[1] > need and entry[0] > cutoff)
        lows = tuple(entry for entry in self.lows if entry[1] < need and entry[0] > cutoff)
        return Needs((*highs, (now, need)), (*lows, (now, need)))

    def highest(self, now: float, window_seconds: float) -> int | None:
        """The highest need younger than the window; None when there is none."""
        return next((need for at, need in self.highs if at > now - window_seconds), None)

    def lowest(self, now: float, window_seconds: float) -> int | None:
        """The lowest need younger than the window; None when there is none."""
        return next((need for at, need in self.lows if at > now - window_seconds), None)


@dataclass(frozen=True, slots=True)
class Change:
    """Replicas added (or, negative, removed) at one moment."""

    at: float
    replicas: int


@dataclass(frozen=True, slots=True)
class KnobMemory:
    """What is remembered of one knob.

    Attributes:
        mode: the mode it was gathered in; a change of mode starts anew.
        in_force: the number last decided, in Auto.
        needs: recent needs.
        last_need_at: when a need was last known.
        blind: a decision since then had no data to know the need from.
        recommended: the last recommendation.
        changes: recent changes of the number in force.
    """

    mode: Mode | None = None
    in_force: int | None = None
    needs: Needs = field(default_factory=Needs)
    last_need_at: float | None = None
    blind: bool = False
    recommended: int | None = None
    changes: tuple[Change, ...] = ()

    def in_mode(self, mode: Mode) -> "KnobMemory":
        """This memory, or an empty one when the mode has changed: a change of mode never moves pods by itself."""
        return self if self.mode is mode else KnobMemory(mode=mode)

    def with_need(self, now: float, need: int, *, present: int, longest_gap_seconds: float) -> "KnobMemory":
        """This memory with one more need.

        At the start, and after having been blind for too long (longer than a sample may be old, or so long that the
        window has no sample left), what was needed meanwhile is unknown: then the number in force counts as the need of
        this moment, and so holds for one window of samples.
        """
        unbroken = self.last_need_at is not None and (not self.blind or now - self.last_need_at <= longest_gap_seconds)
        needs = self.needs if unbroken else self.needs.record(now, present)
        return replace(self, needs=needs.record(now, need), last_need_at=now, blind=False)

    def with_change(self, now: float, replicas: int) -> "KnobMemory":
        """This memory with a change of the number in force; 0 is none."""
        kept = tuple(change for change in self.changes if change.at > now - KEPT_SECONDS)
        return replace(self, changes=(*kept, Change(now, replicas)) if replicas else kept)


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of one FluxPool.

    Attributes:
        replicas: of the number of replicas.
        batch_size: of the batch size.
        mean_request_work_seconds: the last known mean work of a request.
    """

    replicas: KnobMemory = field(default_factory=KnobMemory)
    batch_size: KnobMemory = field(default_factory=KnobMemory)
    mean_request_work_seconds: float | None = None
