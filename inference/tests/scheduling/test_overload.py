"""A device on a virtual clock, at loads below and far above what it can do: who waits how long, and who was told so."""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduling_values import SMALL, WIDE, Image, calibration

from fluxpool_inference.scheduling.admission import AdmissionPolicy, Offer, Promise, delayed, refusal
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.choice import DeadlineQueue, Forwards, choose, order
from fluxpool_inference.scheduling.costs import Calibration
from fluxpool_inference.scheduling.deadlines import deadline
from fluxpool_inference.scheduling.forecast import Forecast, forecast
from fluxpool_inference.scheduling.limits import RowLimits
from fluxpool_inference.values import Priority

POLICY = AdmissionPolicy(max_queue_seconds=10.0, max_waiting=1000, drain_seconds=300.0)


@dataclass(slots=True, eq=False)
class Admitted(Image):
    arrival: float = 0.0
    steps: int = 0
    estimate: float = 0.0
    wait: float = 0.0
    took: float = 0.0
    patience: float | None = None

    def promise(self, now: float) -> Promise:
        waited = now - self.arrival
        return Promise(
            self.number,
            None if self.started else POLICY.max_queue_seconds - waited,
            None if self.patience is None else self.patience - waited,
        )


@dataclass
class Arrival:
    at: float
    bucket: Bucket
    steps: int
    priority: Priority = Priority.NORMAL
    rows: int = 1
    patience: float | None = None


@dataclass
class Server:
    """Does what admission and the worker's loop do: one thing at a time, whatever comes meanwhile."""

    costs: Calibration
    batch_size: int
    now: float = 0.0
    queue: DeadlineQueue[Admitted] = field(default_factory=DeadlineQueue)
    done: list[Admitted] = field(default_factory=list)
    refused: int = 0
    busy_seconds: float = 0.0
    first_come_first_served: bool = False

    def run(self, arrivals: Sequence[Arrival]) -> None:
        coming = list(reversed(arrivals))
        while coming or self.queue:
            if not self.queue:
                self.now = coming[-1].at
                self.arrive(coming.pop(), 0.0)
                continue
            seconds, rows = self.begin()
            while coming and coming[-1].at <= self.now + seconds:
                arrival = coming.pop()
                self.arrive(arrival, arrival.at - self.now)
            self.now += seconds
            self.busy_seconds += seconds
            self.end(rows)

    def arrive(self, arrival: Arrival, elapsed: float) -> None:
        work = self.costs.work_seconds(arrival.bucket, arrival.steps, rows=arrival.rows)
        number = len(self.done) + len(self.queue) + self.refused
        at = deadline(arrival.at, work, arrival.priority, arrival.patience)
        due = arrival.at if self.first_come_first_served else at
        image = Admitted(number, arrival.bucket, due, arrival.steps, rows=arrival.rows)
        image.arrival, image.steps, image.patience = arrival.at, arrival.steps, arrival.patience
        ahead = self.forecast([image], elapsed)
        overtaken = [one.promise(arrival.at) for one in self.queue if order(one) > order(image)]
        more_urgent = (one.promise(arrival.at) for one in self.queue if order(one) < order(image))
        promises = overtaken + delayed(more_urgent, ahead, lambda: self.forecast([], elapsed))
        waiting = sum(not one.started for one in self.queue)
        if refusal(POLICY, Offer([number], waiting, arrival.patience, ahead, promises)):
            self.refused += 1
            return
        image.estimate = ahead.starts[number]
        self.queue.add(image)

    def forecast(self, offered: Sequence[Admitted], elapsed: float) -> Forecast:
        return forecast(self.queue, offered, self.costs, RowLimits(self.costs, self.batch_size), elapsed)

    def begin(self) -> tuple[float, list[Admitted]]:
        """The next thing: how long it takes, and the rows if it is a step."""
        limits = RowLimits(self.costs, self.batch_size)
        chosen = choose(self.queue, limits)
        for image in chosen:
            if not image.started:
                image.started = True
                image.wait = self.now - image.arrival
                return image.rows * self.costs.prompt_seconds(image.bucket), []
        bucket = chosen[0].bucket
        forwards = Forwards.of(chosen, limits(bucket))
        return forwards.number * self.costs.step_seconds(bucket, forwards.rows), chosen

    def end(self, rows: list[Admitted]) -> None:
        for row in rows:
            row.steps_left -= 1
            if row.steps_left == 0:
                self.now += self.costs.image_seconds(row.bucket)
                self.queue.remove(row)
                row.took = self.now - row.arrival
                self.done.append(row)


def poisson(
    rate: float, seconds: float, steps: Sequence[int], buckets: Sequence[Bucket], seed: int, pairs: float = 0.0
) -> list[Arrival]:
    chance = random.Random(seed)
    arrivals: list[Arrival] = []
    at = chance.expovariate(rate)
    while at < seconds:
        arrivals.append(Arrival(at, chance.choice(buckets), chance.choice(steps)))
        arrivals[-1].rows = 2 if pairs and chance.random() < pairs else 1
        at += chance.expovariate(rate)
    return arrivals


def relative_errors(server: Server) -> list[float]:
    """Of all admitted, with waits below a step counted as one: nothing finer is felt or foretold."""
    step = server.costs.step_seconds(SMALL, 1)
    return [abs(image.estimate - image.wait) / max(image.wait, step) for image in server.done]


OVERHEAD_BOUND = calibration(fixed=0.02, per_row=0.02, encode=0.005, decode=0.01)
COMPUTE_BOUND = calibration(fixed=0.0, per_row=0.1, encode=0.005, decode=0.01)


@pytest.mark.parametrize("times", [1.5, 10.0])
@pytest.mark.parametrize(
    ("costs", "steps", "buckets", "pairs"),
    [
        (OVERHEAD_BOUND, [8], [SMALL], 0.0),
        (OVERHEAD_BOUND, [4, 8, 16, 28], [SMALL], 0.0),
        (OVERHEAD_BOUND, [4, 28], [SMALL, WIDE], 0.0),
        (COMPUTE_BOUND, [4, 28], [SMALL], 0.0),
        (OVERHEAD_BOUND, [4, 28], [SMALL], 0.3),
        (COMPUTE_BOUND, [4, 28], [SMALL], 0.3),
    ],
    ids=["alike", "mixed steps", "mixed steps and sizes", "one row", "pairs", "pairs, one row"],
)
def test_under_overload_waits_are_as_foretold_and_bounded_and_the_device_is_never_idle(
    costs: Calibration, steps: list[int], buckets: list[Bucket], pairs: float, times: float
) -> None:
    server = Server(costs, batch_size=8)
    rows = RowLimits(costs, 8)(SMALL)
    images_per_second = rows / (statistics.mean(steps) * costs.step_seconds(SMALL, rows))
    server.run(poisson(times * images_per_second, 40.0, steps, buckets, seed=1, pairs=pairs))
    assert server.refused > 0
    assert len(relative_errors(server)) == len(server.done)
    assert statistics.median(relative_errors(server)) <= 0.2
    # Those who come later may use up the reserve; what they do to the step under way comes on top.
    assert max(image.wait for image in server.done) <= POLICY.max_queue_seconds + costs.step_seconds(WIDE, 8)
    assert {image.steps for image in server.done} == set(steps), "none is shut out, be it long or short"
    assert {image.rows for image in server.done} == ({1, 2} if pairs else {1}), "nor are pairs"
    assert server.busy_seconds >= 0.8 * server.now


def test_a_short_image_overtakes_long_ones_at_little_cost_to_them() -> None:
    """One row of 94 ms, 4 and 28 steps half and half, at 70 % load: the simulation that chose the deadlines."""
    costs = calibration(fixed=0.0, per_row=0.094, encode=0.001, decode=0.001)
    rate = 0.7 / statistics.mean(costs.work_seconds(SMALL, steps) for steps in (4, 28))
    arrivals = poisson(rate, 600.0, [4, 28], [SMALL], seed=3)

    def medians(*, first_come_first_served: bool) -> list[float]:
        server = Server(costs, batch_size=1, first_come_first_served=first_come_first_served)
        server.run(arrivals)
        return [statistics.median(image.took for image in server.done if image.steps == steps) for steps in (4, 28)]

    short, long = medians(first_come_first_served=False)
    short_in_order, long_in_order = medians(first_come_first_served=True)
    assert short < 0.4 * short_in_order
    assert long < 1.2 * long_in_order


def arrivals_of(patience: st.SearchStrategy[float | None], steps: Sequence[int]) -> st.SearchStrategy[list[Arrival]]:
    """Arrivals with gaps between them, put in order."""
    one = st.builds(
        Arrival,
        at=st.floats(0.0, 0.5) | st.floats(0.0, 2.0),
        bucket=st.sampled_from([SMALL, SMALL, WIDE]),
        steps=st.sampled_from(steps),
        priority=st.sampled_from(Priority),
        rows=st.sampled_from([1, 1, 2]),
        patience=patience,
    )
    return st.lists(one, min_size=1, max_size=30).map(in_order)


def in_order(arrivals: list[Arrival]) -> list[Arrival]:
    at = 0.0
    for arrival in arrivals:
        at += arrival.at
        arrival.at = at
    return arrivals


MISSED_SECONDS = 0.5
"""What prompts of images that come later add to a step, and what of it is under way when they come."""


@settings(max_examples=60)
@given(arrivals_of(st.none(), [1, 4, 28]), st.sampled_from([COMPUTE_BOUND, OVERHEAD_BOUND]), st.sampled_from([1, 2, 8]))
def test_nobody_begins_later_than_promised_whoever_comes_and_however_urgent(
    arrivals: list[Arrival], costs: Calibration, rows: int
) -> None:
    server = Server(costs, batch_size=rows)
    server.run(arrivals)
    assert len(server.done) + server.refused == len(arrivals), "what was admitted was made"
    for image in server.done:
        assert image.wait <= POLICY.max_queue_seconds + MISSED_SECONDS


@settings(max_examples=60)
@given(
    arrivals_of(st.none() | st.floats(2.0, 8.0), [4, 28, 100]),
    st.sampled_from([COMPUTE_BOUND, OVERHEAD_BOUND]),
    st.sampled_from([1, 4, 8]),
)
def test_whose_client_said_how_long_it_waits_is_done_by_then_whoever_comes_and_shares_its_steps(
    arrivals: list[Arrival], costs: Calibration, rows: int
) -> None:
    server = Server(costs, batch_size=rows)
    server.run(arrivals)
    for image in server.done:
        if image.patience is not None:
            assert image.took <= image.patience + MISSED_SECONDS


def test_one_that_would_make_the_steps_of_a_more_urgent_one_too_long_is_refused_until_it_is_done() -> None:
    alone = OVERHEAD_BOUND.work_seconds(SMALL, 100)
    tight = Arrival(0.0, SMALL, 100, patience=1.2 * alone)
    others = [Arrival(0.1 + 0.01 * number, SMALL, 100) for number in range(4)]
    later = Arrival(alone + 0.5, SMALL, 100)
    server = Server(OVERHEAD_BOUND, batch_size=8)
    server.run([tight, *others, later])
    assert server.refused == 4
    first, last = server.done
    assert first.patience is not None
    assert first.took <= first.patience
    assert last.arrival == later.at
