"""Who gets in: by estimated time, not by a count, as one request can be fifty times the work of another.

All images of one HTTP request get in, or none. The wait of a request is that of its first image: its own images wait
for each other by its own wish. It is refused when

- so many images wait that memory is at risk (`queue_full`),
- its wait would exceed `max_queue_seconds`, or everything in flight would take longer than `drain_seconds`, so that
  what was admitted could not be finished after a SIGTERM (`wait_too_long`),
- its last image would be done after the client has hung up (`deadline`),
- it would overtake an image in flight that then begins later than it was promised, or ends after its client has hung
  up: without this rule short images that keep coming would hold up a long one for far longer than `max_queue_seconds`
  (`wait_too_long`),
- it would share steps of one that is more urgent, or of those before that one, and so make it late for the same promise
  (`wait_too_long`).

A forecast is as often too short as too long, and what is promised is a bound. So all of this holds for waits that are
`WAIT_RESERVE` times as long as forecast (decision 32). Nothing is added where nobody waits: what an idle server can do
in time, it does.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fluxpool_inference.contract import WAIT_RESERVE
from fluxpool_inference.outcomes import RejectReason
from fluxpool_inference.scheduling.forecast import Forecast

_LEAST_RETRY_SECONDS = 1.0
_JITTER = 0.25
_ROUNDING_SECONDS = 1e-6


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """The limits of `EngineConfig` that admission keeps."""

    max_queue_seconds: float
    max_waiting: int
    drain_seconds: float


@dataclass(frozen=True, slots=True)
class Promise:
    """What an image in flight was admitted with; seconds from now.

    Attributes:
        number: Of the image.
        begins_within: Until it must have begun (see `longest_wait`). None if it has.
        ends_within: Until its client hangs up; None if it did not say.
    """

    number: int
    begins_within: float | None
    ends_within: float | None

    def broken_by(self, ahead: Forecast) -> float:
        """By how many seconds it is late in a forecast; 0 if it is not."""
        late, wait = 0.0, ahead.starts.get(self.number, 0.0)
        if self.begins_within is not None:
            late = max(late, wait + reserved(wait) - self.begins_within)
        if self.ends_within is not None:
            late = max(late, ahead.ends.get(self.number, 0.0) + reserved(wait) - self.ends_within)
        return late


@dataclass(frozen=True, slots=True)
class Offer:
    """A request at the door.

    Attributes:
        numbers: Of its images, most urgent first.
        waiting: Images already admitted that have not started.
        deadline_seconds: How long the client waits, from now; None if it did not say.
        in_flight: What the forecast says if it is admitted.
        promises: What was promised to images in flight that it would overtake, and to those that it would delay. Looked
            at once, and only if it keeps the rules that cost less.
    """

    numbers: Sequence[int]
    waiting: int
    deadline_seconds: float | None
    in_flight: Forecast
    promises: Iterable[Promise] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not, and after what time it may be worth trying again."""

    reason: RejectReason
    wait_seconds: float


def refusal(policy: AdmissionPolicy, offer: Offer) -> Refusal | None:
    """The first rule that an offer breaks; None admits it."""
    wait = min(offer.in_flight.starts[number] for number in offer.numbers)
    last = max(offer.in_flight.ends[number] for number in offer.numbers)
    reserve = reserved(wait)
    longest_reserve = max(reserve, reserved(_longest_wait_of_others(offer)))
    if offer.waiting + len(offer.numbers) > policy.max_waiting:
        return Refusal(RejectReason.QUEUE_FULL, wait)
    if wait + reserve > policy.max_queue_seconds:
        return Refusal(RejectReason.WAIT_TOO_LONG, wait)
    if (drained := offer.in_flight.drained + longest_reserve) > policy.drain_seconds:
        return Refusal(RejectReason.WAIT_TOO_LONG, drained - policy.drain_seconds)
    if offer.deadline_seconds is not None and last + reserve > offer.deadline_seconds:
        return Refusal(RejectReason.DEADLINE, wait)
    if late := max((promise.broken_by(offer.in_flight) for promise in offer.promises), default=0.0):
        return Refusal(RejectReason.WAIT_TOO_LONG, max(wait, late))
    return None


def delayed(promises: Iterable[Promise], ahead: Forecast, without: Callable[[], Forecast]) -> list[Promise]:
    """Those that an offer would break, or break by more.

    Args:
        promises: Of the images in flight that are more urgent than the offer.
        ahead: What the forecast says if the offer is admitted.
        without: Gives what it says of the same moment if it is not; asked only where something would be late.
    """
    late = [promise for promise in promises if promise.broken_by(ahead)]
    if not late:
        return []
    before = without()
    return [promise for promise in late if promise.broken_by(ahead) > promise.broken_by(before) + _ROUNDING_SECONDS]


def reserved(wait_seconds: float) -> float:
    """By how much longer than forecast a wait may turn out to be, in seconds."""
    return (WAIT_RESERVE - 1) * wait_seconds


def _longest_wait_of_others(offer: Offer) -> float:
    own = set(offer.numbers)
    return max((wait for number, wait in offer.in_flight.starts.items() if number not in own), default=0.0)


def longest_wait(policy: AdmissionPolicy, wait_seconds: float) -> float:
    """What is promised to an image that is admitted: it begins within so many seconds.

    That is `max_queue_seconds`, but for later images of a request, which may wait for each other.
    """
    return max(policy.max_queue_seconds, wait_seconds + reserved(wait_seconds))


def retry_after_seconds(wait_seconds: float, chance: float) -> float:
    """The estimated wait, at least a second, plus jitter: the refused must not all come back at once.

    Args:
        wait_seconds: As estimated.
        chance: Uniform in 0 to 1.
    """
    return max(wait_seconds, _LEAST_RETRY_SECONDS) * (1 + _JITTER * chance)


def drain_problem(policy: AdmissionPolicy, longest_request_seconds: float) -> str | None:
    """Why "what was admitted is finished" cannot be kept with these limits, as a sentence that says what to change."""
    needed = policy.max_queue_seconds + longest_request_seconds
    if needed <= policy.drain_seconds:
        return None
    return (
        f"drain_seconds is {policy.drain_seconds:g}, but max_queue_seconds ({policy.max_queue_seconds:g}) plus the "
        f"longest request that the limits admit ({longest_request_seconds:.1f} s on this device) is {needed:.1f}: "
        "raise drain_seconds, or lower max_queue_seconds, max_steps, max_images or max_pixels"
    )


def too_long(policy: AdmissionPolicy, work_seconds: float) -> str | None:
    """Why a request of so much work could not be finished after a SIGTERM, were it to wait as long as it may.

    Completes a sentence that begins with the request. Limits without negative prompts are checked by `drain_problem`.
    """
    most = policy.drain_seconds - policy.max_queue_seconds
    if work_seconds <= most:
        return None
    return (
        f"takes {work_seconds:.0f} s on this server, which finishes requests of at most {most:.0f} s: ask for fewer "
        "images, fewer steps, a smaller size, or no negative prompt"
    )
