"""Images on several workers, on a virtual clock: none waits while a device has nothing to do."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from scheduling_values import SMALL, TALL, WIDE, Image, calibration

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.choice import DeadlineQueue, choose
from fluxpool_inference.scheduling.deadlines import deadline
from fluxpool_inference.scheduling.placement import Move, Waiting, place, relieve
from fluxpool_inference.values import Priority

STEP_SECONDS = {SMALL: 0.1, WIDE: 0.2, TALL: 0.3}


def test_each_image_goes_to_the_least_work_and_counts_for_the_next() -> None:
    assert place([5.0, 1.0, 1.0, 1.0], {0: 2.0, 1: 1.0, 2: 3.0}) == [1, 0, 0, 2]


def test_of_equal_workers_the_first_is_taken() -> None:
    assert place([1.0, 1.0], {3: 0.0, 1: 0.0}) == [1, 3]


def test_a_pair_of_true_cfg_weighs_two_images() -> None:
    costs = calibration(fixed=0.0, per_row=0.1, encode=0.05, decode=0.0)
    single, pair = (costs.work_seconds(SMALL, 4, rows=rows) for rows in (1, 2))
    assert place([pair, single, single, single], {0: 0.0, 1: 0.0}) == [0, 1, 1, 0]


def waiting(*works: float, first: int = 1) -> list[Waiting]:
    return [Waiting(first + place, work) for place, work in enumerate(works)]


def test_a_dry_worker_takes_the_most_urgent_until_the_rest_is_no_more_than_its_own() -> None:
    moves = relieve({0: 0.0, 1: 6.0}, {0: [], 1: waiting(2.0, 2.0, 2.0)})
    assert list(moves) == [Move(1, 0)]
    moves = relieve({0: 0.0, 1: 9.0}, {0: [], 1: waiting(1.0, 1.0, 1.0, 1.0, 1.0)})
    assert list(moves) == [Move(1, 0), Move(2, 0), Move(3, 0), Move(4, 0)]


def test_an_image_alone_with_its_worker_stays_and_so_does_what_runs() -> None:
    assert list(relieve({0: 0.0, 1: 6.0}, {0: [], 1: waiting(6.0)})) == []
    assert list(relieve({0: 0.0, 1: 6.0}, {0: [], 1: []})) == []


def test_an_image_alone_with_the_busiest_worker_does_not_keep_a_dry_one_from_another() -> None:
    moves = relieve({0: 0.0, 1: 6.0, 2: 5.0}, {0: [], 1: waiting(6.0, first=10), 2: waiting(2.0, 3.0, first=20)})
    assert list(moves) == [Move(20, 0)]


def test_no_dry_worker_takes_two_while_another_has_none() -> None:
    moves = relieve({0: 0.0, 1: 0.0, 2: 4.0}, {0: [], 1: [], 2: waiting(0.5, 0.5, first=20)})
    assert list(moves) == [Move(20, 0), Move(21, 1)]


def test_workers_that_have_something_to_do_take_nothing() -> None:
    assert list(relieve({0: 0.1, 1: 60.0}, {0: [], 1: waiting(20.0, 20.0)})) == []


def test_the_busiest_worker_is_relieved_first_and_each_dry_one_takes() -> None:
    loads = {0: 0.0, 1: 4.0, 2: 8.0, 3: 0.0}
    moves = list(relieve(loads, {0: [], 1: waiting(2.0, first=10), 2: waiting(3.0, 3.0, first=20), 3: []}))
    assert moves == [Move(20, 0), Move(21, 3)]


@dataclass(frozen=True)
class Arrival:
    gap_seconds: float
    bucket: Bucket
    steps: int
    priority: Priority
    cancelled_at_step: int | None


arrivals = st.lists(
    st.builds(
        Arrival,
        gap_seconds=st.sampled_from([0.0, 0.0, 0.05, 0.4, 3.0]),
        bucket=st.sampled_from([SMALL, WIDE, TALL]),
        steps=st.sampled_from([1, 2, 4, 28]),
        priority=st.sampled_from(Priority),
        cancelled_at_step=st.one_of(st.none(), st.integers(0, 6)),
    ),
    min_size=1,
    max_size=25,
)


@dataclass
class Device:
    """A worker on the virtual clock, and the end of the step that it runs."""

    queue: DeadlineQueue[Image] = field(default_factory=DeadlineQueue)
    rows: list[Image] = field(default_factory=list)
    until: float = 0.0

    def load(self) -> float:
        return sum(image.steps_left * STEP_SECONDS[image.bucket] for image in self.queue)

    def waiting(self) -> list[Image]:
        return [image for image in self.queue if not image.started]


class Pod:
    """Workers that run steps of at most two rows. Checks after each event that no work waits beside a dry worker."""

    def __init__(self, workers: int) -> None:
        self.devices = {index: Device() for index in range(workers)}
        self.now = 0.0
        self.made: list[int] = []
        self.cancel_at: dict[int, int] = {}

    def arrive(self, number: int, arrival: Arrival) -> None:
        work = arrival.steps * STEP_SECONDS[arrival.bucket]
        image = Image(number, arrival.bucket, deadline(self.now, work, arrival.priority), arrival.steps)
        if arrival.cancelled_at_step is not None:
            self.cancel_at[number] = max(0, arrival.steps - arrival.cancelled_at_step)
        (worker,) = place([work], {index: device.load() for index, device in self.devices.items()})
        assert self.devices[worker].load() == min(device.load() for device in self.devices.values())
        self.devices[worker].queue.add(image)
        self.go()

    def run(self, until: float) -> None:
        while ends := [device.until for device in self.devices.values() if device.rows and device.until <= until]:
            self.now = min(ends)
            for device in self.devices.values():
                if device.rows and device.until == self.now:
                    self.end_step(device)
            self.go()
        self.now = max(self.now, until)

    def end_step(self, device: Device) -> None:
        for image in device.rows:
            image.steps_left -= 1
            if image.steps_left == 0 or image.steps_left <= self.cancel_at.get(image.number, 0):
                device.queue.remove(image)
                self.made.append(image.number)
        device.rows = []

    def go(self) -> None:
        """Relieve, then begin a step wherever none runs."""
        loads = {index: device.load() for index, device in self.devices.items()}
        images = {index: device.waiting() for index, device in self.devices.items()}
        queues = {
            index: [Waiting(image.number, image.steps_left * STEP_SECONDS[image.bucket]) for image in of]
            for index, of in images.items()
        }
        homes = {image.number: (index, image) for index, of in images.items() for image in of}
        for move in relieve(loads, queues):
            index, image = homes[move.number]
            assert not image.started, "what a worker has begun with stays there"
            self.devices[index].queue.remove(image)
            self.devices[move.worker].queue.add(image)
        self.check()
        for device in self.devices.values():
            if not device.rows and device.queue:
                device.rows = choose(device.queue, lambda _: 2)
                device.until = self.now + STEP_SECONDS[device.rows[0].bucket]
                for row in device.rows:
                    row.started = True

    def check(self) -> None:
        if all(len(device.queue) for device in self.devices.values()):
            return
        for device in self.devices.values():
            alone = len(device.queue) == 1
            assert alone or not device.waiting(), "an image waits beside a worker that has nothing to do"


@given(arrivals, st.integers(1, 4))
def test_no_worker_is_idle_while_images_wait_for_others_and_every_image_is_made_once(
    sequence: list[Arrival], workers: int
) -> None:
    pod = Pod(workers)
    for number, arrival in enumerate(sequence):
        pod.arrive(number, arrival)
        pod.run(pod.now + arrival.gap_seconds)
    pod.run(1e9)
    assert sorted(pod.made) == list(range(len(sequence)))
