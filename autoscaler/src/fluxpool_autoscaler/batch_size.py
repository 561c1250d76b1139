"""The batch size: the ceiling over the rows of one denoising step, the same for every pod of the pool.

It trades the speed of those who run for the start of those who wait. Raising it costs nothing and needs no pod, so it
rises to the maximum the moment requests wait for a row; replicas follow. With a latency target it rests at the largest
size at which a mean request still meets the target, as long as no pod holds more requests than that; without one it
rests at the maximum.
"""

from dataclasses import dataclass, replace

from fluxpool_autoscaler.census import Census, age_limit_seconds, take_census
from fluxpool_autoscaler.decision import Limit, Proposal, Verdict
from fluxpool_autoscaler.knob import Knob, conclude
from fluxpool_autoscaler.memory import KnobMemory
from fluxpool_autoscaler.observation import Observation, PodSample, finite, queue_depth
from fluxpool_autoscaler.policy import Policy
from fluxpool_autoscaler.rails import Draft, bound, hold_by_window
from fluxpool_autoscaler.reasons import count, figure
from fluxpool_autoscaler.rules import largest
from fluxpool_autoscaler.service_curve import curve_of

# Requests come in at random, so the batch size would follow every lull: the largest need of a minute counts, or of the
# user's scale-down window where that is shorter.
LONGEST_WINDOW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """The predicted time of a mean request: its solo work times t(b) / t(1), with t(b) = a + c b.

    Attributes:
        solo_seconds: the mean solo work of a request.
        row_share: c / (a + c) of the slowest pod: how much of a one-row step each further row adds.
    """

    solo_seconds: float
    row_share: float

    def at(self, rows: int) -> float:
        """Seconds at a batch size."""
        return self.solo_seconds * (1 + self.row_share * (rows - 1))


def latency_rule(census: Census, policy: Policy, service: ServiceTime | None, base: int) -> Proposal:
    """The largest size at which a mean request meets the latency target, if the pods carry the load there.

    A pod carries its load at b rows when it holds no more than b requests: its steps are then the same as now. Where
    one holds more, a lower ceiling would make requests wait, and the maximum is the better resting place.
    """
    target, batching = policy.targets.latency_seconds, policy.batching
    if target is None:
        return Proposal("latency", batching.maximum, "there is no latency target")
    if service is None:
        return Proposal("latency", base, "the service time of a request is not known yet", None, target)
    sizes = range(batching.maximum, batching.bounds.minimum, -1)
    rest = next((rows for rows in sizes if service.at(rows) <= target), batching.bounds.minimum)
    seconds = service.at(rest)
    fullest = max(census.values(queue_depth))
    if fullest > rest:
        because = f"a pod holds {count(round(fullest), 'request')}, and only {rest} at once meet the latency target"
        return Proposal("latency", batching.maximum, because, seconds, target)
    because = f"a request takes {figure(seconds)} s at {count(rest, 'row')}, target {figure(target)} s"
    return Proposal("latency", rest, because, seconds, target)


def waiting_rule(census: Census, policy: Policy) -> Proposal:
    """The maximum when requests wait for a row, else no more than the minimum.

    A request waits for a row where its pod holds more requests than the batch size; with a row to spare it only waits
    for its prompt to be encoded.
    """
    waiting = sum(_waiting_for_a_row(sample) for sample in census.samples.values())
    number = policy.batching.maximum if waiting > 0 else policy.batching.bounds.minimum
    return Proposal("waiting", number, f"{count(round(waiting), 'request')} waiting for a row", waiting, 0)


def decide_batch_size(
    observation: Observation, memory: KnobMemory, policy: Policy, now: float
) -> tuple[Verdict, KnobMemory]:
    """The verdict on the batch size, and what to remember of it."""
    mode, bounds = policy.batching.mode, policy.batching.bounds
    memory = memory.in_mode(mode)
    knob = Knob("row", mode, bounds, _in_force(observation, memory, policy))
    census = take_census(observation)
    proposals: tuple[Proposal, ...] = ()
    if census.values(queue_depth):
        service = _service_time(census, finite(observation.mean_request_work_seconds))
        resting, waiting = latency_rule(census, policy, service, knob.base), waiting_rule(census, policy)
        # Of two that ask for as much the first is the reason given.
        proposals = (waiting, resting) if waiting.value else (resting, waiting)
    winner = largest(proposals)
    if winner is None or winner.number is None or _shrinks_in_the_dark(census, winner.number, knob.base):
        memory = replace(memory, blind=True)
        draft = bound(_unmoved(knob.in_force, winner), bounds)
    else:
        window = min(policy.scale_down.window_seconds, LONGEST_WINDOW_SECONDS)
        longest_gap = min(age_limit_seconds(observation), window)
        memory = memory.with_need(now, winner.number, present=knob.base, longest_gap_seconds=longest_gap)
        draft = hold_by_window(
            Draft(winner.number),
            knob.anchor(memory),
            memory.needs,
            up_seconds=0,
            down_seconds=window,
            bounds=bounds,
            now=now,
        )
        memory = replace(memory, recommended=draft.number)
    return conclude(knob, memory, proposals, (draft, draft), now)


def _in_force(observation: Observation, memory: KnobMemory, policy: Policy) -> int:
    """The size that rules now; at the very first, where the pool would rest if requests took for ever, or no time."""
    if memory.in_force is not None:
        return memory.in_force
    if observation.batch_size is not None:
        return observation.batch_size
    return policy.batching.maximum if policy.targets.latency_seconds is None else policy.batching.bounds.minimum


def _shrinks_in_the_dark(census: Census, need: int, base: int) -> bool:
    """True when a ready pod without a sample might need more than those that would lower the size."""
    return need < base and len(census.values(queue_depth)) < census.ready


def _unmoved(in_force: int, winner: Proposal | None) -> Draft:
    draft = Draft(in_force)
    if winner is None:
        return draft
    return draft.moved(
        in_force, Limit.HELD_BY_MISSING_METRICS, f"held at {in_force}, since a ready pod has no sample that counts"
    )


def _service_time(census: Census, mean_request_work_seconds: float | None) -> ServiceTime | None:
    shares = [curve.row_share for sample in census.samples.values() if (curve := curve_of(sample)) is not None]
    if not shares or mean_request_work_seconds is None:
        return None
    return ServiceTime(mean_request_work_seconds, max(shares))


def _waiting_for_a_row(sample: PodSample) -> float:
    waiting, depth, limit = finite(sample.requests_waiting), queue_depth(sample), finite(sample.batch_size_limit)
    if waiting is None or (depth is not None and limit is not None and depth <= limit):
        return 0
    return waiting
