"""The choice on a virtual clock: arrivals, cancellations and changed limits in any order."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduling_values import SMALL, TALL, WIDE, Image

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.choice import DeadlineQueue, Forwards, choose, order
from fluxpool_inference.scheduling.deadlines import deadline
from fluxpool_inference.values import Priority

BUCKETS = [SMALL, WIDE, TALL]
STEP_SECONDS = {SMALL: 0.1, WIDE: 0.2, TALL: 0.3}


def in_order(*images: Image) -> list[Image]:
    return sorted(images, key=order)


def test_nothing_in_flight_is_no_step() -> None:
    assert choose([], lambda _: 8) == []


def test_the_earliest_deadline_picks_the_bucket_and_the_next_ones_fill_it() -> None:
    images = in_order(
        Image(1, WIDE, 9.0, 4), Image(2, SMALL, 5.0, 4), Image(3, SMALL, 11.0, 4), Image(4, SMALL, 10.0, 4)
    )
    assert [image.number for image in choose(images, lambda _: 2)] == [2, 4]
    assert [image.number for image in choose(images, lambda _: 8)] == [2, 4, 3]


def test_of_equal_deadlines_the_older_image_goes_first() -> None:
    images = in_order(Image(2, SMALL, 5.0, 4), Image(1, SMALL, 5.0, 4))
    assert [image.number for image in choose(images, lambda _: 1)] == [1]


def test_the_limit_is_that_of_the_chosen_bucket() -> None:
    images = in_order(*(Image(n, SMALL if n % 2 else WIDE, float(n), 4) for n in range(1, 9)))
    assert len(choose(images, lambda bucket: 3 if bucket == SMALL else 1)) == 3


def pairs_and_singles(*rows: int) -> list[Image]:
    """Of one bucket, most urgent first; `number` is the place."""
    return [Image(number, SMALL, float(number), 4, rows=each) for number, each in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "limit", "chosen"),
    [
        ((2,), 1, [0]),  # a pair alone, a row at a time
        ((2, 1, 1), 1, [0]),
        ((1, 2, 1), 1, [0]),
        ((2, 1), 2, [0]),
        ((1, 2, 1), 2, [0, 2]),  # a pair that does not fit lets a less urgent single fill the row
        ((1, 2, 2), 2, [0]),  # and no other does: a pair is never divided
        ((2, 2, 1), 3, [0, 2]),
        ((1, 2, 1), 3, [0, 1]),
        ((1, 1, 2, 2), 4, [0, 1, 2]),
        ((2, 1, 2, 1, 1), 5, [0, 1, 2]),
    ],
)
def test_a_pair_counts_as_two_rows(rows: tuple[int, ...], limit: int, chosen: list[int]) -> None:
    assert [image.number for image in choose(pairs_and_singles(*rows), lambda _: limit)] == chosen


@pytest.mark.parametrize(
    ("rows", "limit", "forwards"),
    [((1,), 1, (1, 1)), ((1, 1, 2), 4, (1, 4)), ((2,), 2, (1, 2)), ((2,), 8, (1, 2)), ((2,), 1, (2, 1))],
)
def test_a_step_is_one_forward_but_for_a_pair_where_one_row_fits(
    rows: tuple[int, ...], limit: int, forwards: tuple[int, int]
) -> None:
    assert Forwards.of(pairs_and_singles(*rows), limit) == Forwards(*forwards)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("limit", [1, 8])
def test_a_reproducible_image_runs_alone_a_row_at_a_time(rows: int, limit: int) -> None:
    image = Image(1, SMALL, 1.0, 4, rows=rows, reproducible=True)
    others = [Image(number, SMALL, float(number), 4) for number in (0, 2, 3)]
    assert choose(in_order(image, *others[1:]), lambda _: limit) == [image]
    assert image not in choose(in_order(image, *others), lambda _: limit), "nor beside more urgent ones"
    assert Forwards.of([image], limit) == Forwards(rows, 1)


def test_a_deadline_queue_iterates_in_order_and_gives_up_only_what_it_holds() -> None:
    queue: DeadlineQueue[Image] = DeadlineQueue()
    late, early, twin = Image(1, SMALL, 7.0, 1), Image(2, SMALL, 3.0, 1), Image(2, SMALL, 3.0, 1)
    for image in (late, early):
        queue.add(image)
    assert list(queue) == [early, late]
    with pytest.raises(ValueError, match="2 is not in flight"):
        queue.remove(twin)
    with pytest.raises(ValueError, match="3 is not in flight"):
        queue.remove(Image(3, SMALL, 9.0, 1))
    queue.remove(early)
    assert list(queue) == [late]
    assert len(queue) == 1


@dataclass(frozen=True)
class Arrival:
    gap_seconds: float
    bucket: Bucket
    steps: int
    priority: Priority
    cancel_after_steps: int | None
    limit: int
    rows: int
    reproducible: bool


arrivals = st.lists(
    st.builds(
        Arrival,
        gap_seconds=st.sampled_from([0.0, 0.05, 0.4, 3.0]),
        bucket=st.sampled_from(BUCKETS),
        steps=st.sampled_from([1, 2, 4, 8, 28]),
        priority=st.sampled_from(Priority),
        cancel_after_steps=st.one_of(st.none(), st.integers(0, 6)),
        limit=st.sampled_from([1, 2, 3, 4, 8]),
        rows=st.sampled_from([1, 1, 2]),
        reproducible=st.sampled_from([False, False, False, True]),
    ),
    min_size=1,
    max_size=25,
)


class Plant:
    """Runs steps on a virtual clock, checks every choice, and counts for each image the steps it was passed over."""

    def __init__(self) -> None:
        self.now = 0.0
        self.queue: DeadlineQueue[Image] = DeadlineQueue()
        self.limits = dict.fromkeys(BUCKETS, 8)
        self.passed_over: dict[Image, int] = {}
        self.given: dict[Image, int] = {}
        self.cancel_after: dict[Image, int] = {}

    def arrive(self, number: int, arrival: Arrival) -> None:
        seconds = arrival.steps * STEP_SECONDS[arrival.bucket]
        at = deadline(self.now, seconds, arrival.priority)
        image = Image(number, arrival.bucket, at, arrival.steps, rows=arrival.rows, reproducible=arrival.reproducible)
        self.limits[arrival.bucket] = arrival.limit
        self.passed_over[image], self.given[image] = 0, arrival.steps
        if arrival.cancel_after_steps is not None:
            self.cancel_after[image] = arrival.cancel_after_steps
        self.queue.add(image)

    def step(self) -> None:
        rows = choose(self.queue, self.limits.__getitem__)
        self.check(rows)
        self.now += STEP_SECONDS[rows[0].bucket]
        for image in list(self.queue):
            if image in rows:
                image.steps_left -= 1
            else:
                self.passed_over[image] += 1
            cancelled = self.given[image] - image.steps_left > self.cancel_after.get(image, 99)
            if image.steps_left == 0 or cancelled:
                self.queue.remove(image)

    def check(self, rows: list[Image]) -> None:
        in_flight = list(self.queue)
        bucket = rows[0].bucket
        same = [image for image in in_flight if image.bucket == bucket]
        assert {row.bucket for row in rows} == {bucket}, "a step mixes no buckets"
        assert rows[0] is min(in_flight, key=order), "the most urgent image of all is in the step"
        assert rows == sorted(rows, key=order)
        assert len(rows) == 1 or not any(row.reproducible for row in rows), "what is reproducible has no company"
        if rows[0].reproducible:
            return
        same = [image for image in same if not image.reproducible]
        room = self.limits[bucket] - sum(row.rows for row in rows)
        assert room >= 0 or len(rows) == 1, "no more rows than the limit, but for a pair alone"
        left_out = [image for image in same if image not in rows]
        assert all(image.rows > max(room, 0) for image in left_out), "no row is idle that an image could fill"
        singles = [image for image in same if image.rows == 1]
        assert [row for row in rows if row.rows == 1] == singles[: sum(row.rows == 1 for row in rows)]
        for image in left_out:
            more_urgent = sum(row.rows for row in rows if order(row) < order(image))
            assert more_urgent + image.rows > self.limits[bucket], "only the more urgent leave it no room"


@given(arrivals)
def test_every_step_is_full_of_one_bucket_and_nothing_starves(sequence: list[Arrival]) -> None:
    plant = Plant()
    for number, arrival in enumerate(sequence):
        plant.arrive(number, arrival)
        until = plant.now + arrival.gap_seconds
        while plant.queue and plant.now < until:
            plant.step()
        plant.now = max(plant.now, until)
    while plant.queue:
        plant.step()
    # An image is passed over only by steps that hold a more urgent one, so at most by all the steps of those.
    for image, skipped in plant.passed_over.items():
        assert skipped <= sum(given for other, given in plant.given.items() if order(other) < order(image))
