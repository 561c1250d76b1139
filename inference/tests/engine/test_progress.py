"""What the worker says, applied to the ledger; no process."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from bench import NO_KNEE, image, pair
from facts import Facts

from fluxpool_inference.engine import RequestFailed, Stage
from fluxpool_inference.engine import progress as progress_module
from fluxpool_inference.engine.image import RawImage
from fluxpool_inference.engine.ledger import Entry, Ledger
from fluxpool_inference.engine.progress import Progress
from fluxpool_inference.engine.telemetry import BusyMeter
from fluxpool_inference.ipc.messages import Encoded, Failed, Finished, Ready, RowsLowered, Started, StepDone
from fluxpool_inference.ipc.pixels import share
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.choice import Forwards
from fluxpool_inference.scheduling.costs import OnlineCosts
from fluxpool_inference.scheduling.limits import RowLimits
from fluxpool_inference.values import ImageRequest

BUCKET = NO_KNEE.reference
ALONE = Forwards(1, 1)


@dataclass
class Desk:
    ledger: Ledger
    progress: Progress
    costs: OnlineCosts
    facts: Facts
    limits: RowLimits
    now: list[float]

    def admit(self, steps: int = 2, make: Callable[..., ImageRequest] = image) -> Entry:
        number = 1 + len(self.facts.admitted_work)
        future: asyncio.Future[RawImage] = asyncio.get_running_loop().create_future()
        entry = Entry(number, make(steps=steps), BUCKET, 9.0, self.now[0], 2.0, 8, future)
        self.ledger.add(entry)
        self.facts.admitted(2.0, 0.0)
        return entry

    def say(self, *messages: object, descriptor: int | None = None) -> None:
        for message in messages:
            self.progress.hear(message, descriptor)  # type: ignore[arg-type]

    def say_everything(self, entry: Entry) -> None:
        """Each word that a worker has of an image, 1.4 s of work in all."""
        self.say(
            Started(entry.number, 100.0),
            Encoded(entry.number, BUCKET, True, 0.1),
            StepDone((entry.number,), BUCKET, ALONE, 1.0, None),
            Failed(entry.number, "too late"),
        )
        self.finish(entry)

    def finish(self, entry: Entry, size: int = 64 * 64 * 3) -> None:
        done = Finished(entry.number, BUCKET, 0.1, 0.2, 0.3, 4)
        self.say(done, descriptor=share(memoryview(bytes(size))))


@pytest.fixture
async def desk() -> Desk:
    ledger, facts, now = Ledger(workers=2), Facts(), [100.0]
    limits = RowLimits(NO_KNEE, 8)
    meter = BusyMeter(lambda: now[0])
    costs = OnlineCosts(NO_KNEE)
    progress = Progress(ledger, costs=costs, limits=limits, meter=meter, observer=facts, clock=lambda: now[0])
    return Desk(ledger, progress, costs, facts, limits, now)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, not read


async def test_an_image_goes_through_its_stages_and_its_work_goes_down(desk: Desk) -> None:
    entry = desk.admit()
    step = NO_KNEE.step_seconds(BUCKET, 1)
    seen: list[tuple[Stage, float]] = []

    def note() -> None:
        seen.append((entry.stage, entry.remaining_work(NO_KNEE)))

    note()
    for message in (
        Started(entry.number, 100.5),
        Encoded(entry.number, BUCKET, False, 0.1),
        StepDone((entry.number,), BUCKET, ALONE, 1.0, None),
        StepDone((entry.number,), BUCKET, ALONE, 1.0, None),
    ):
        desk.say(message)
        note()
    desk.finish(entry)
    note()
    assert seen == [
        (Stage.QUEUE, pytest.approx(0.1 + 2 * step + 0.1)),
        (Stage.ENCODE, pytest.approx(0.1 + 2 * step + 0.1)),
        (Stage.DENOISE, pytest.approx(2 * step + 0.1)),
        (Stage.DENOISE, pytest.approx(step + 0.1)),
        (Stage.DECODE, pytest.approx(0.1)),
        (Stage.RESPOND, 0.0),
    ]
    assert desk.facts.waits == [0.5]
    assert sum(desk.facts.busy_seconds) == pytest.approx(0.1 + 2.0 + 0.3)
    entry.result.result().release()
    assert desk.facts.in_flight == 0


async def test_words_about_images_that_are_gone_count_as_work_and_change_nothing_else(desk: Desk) -> None:
    gone = desk.admit()
    desk.ledger.remove(gone)
    files = open_files()
    desk.say_everything(gone)
    assert open_files() == files
    assert sum(desk.facts.busy_seconds) == pytest.approx(1.4)
    assert (desk.facts.waits, desk.facts.failures, desk.facts.finishes) == ([], [], [])


async def test_words_of_the_worker_that_an_image_was_moved_from_change_nothing(desk: Desk) -> None:
    moved = desk.admit()
    desk.say(Started(moved.number, 100.0))
    desk.ledger.move(moved, 1)
    assert (moved.started, moved.stage) == (False, Stage.QUEUE), "the other begins anew"
    files = open_files()
    desk.say_everything(moved)
    assert open_files() == files
    assert (moved.stage, moved.image, desk.facts.failures) == (Stage.QUEUE, None, [])
    assert [list(desk.ledger.of(worker)) for worker in (0, 1)] == [[], [moved]]
    assert sum(desk.facts.busy_seconds) == pytest.approx(1.4), "what it did was work all the same"


async def test_an_image_whose_waiter_was_cancelled_in_this_moment_is_dropped(desk: Desk) -> None:
    entry = desk.admit()
    entry.result.cancel()
    files = open_files()
    desk.finish(entry)
    assert open_files() == files
    assert desk.ledger.get(entry.number) is entry, "its ticket takes it out, as cancelled"
    assert entry.image is None


async def test_an_image_that_fails_in_this_moment_has_failed_and_not_been_cancelled(desk: Desk) -> None:
    entry = desk.admit()
    entry.result.cancel()
    desk.say(Failed(entry.number, "no"))
    assert desk.facts.in_flight == 0
    assert len(desk.facts.failures) == 1
    assert desk.ledger.get(entry.number) is None, "its ticket finds nothing to cancel"


async def test_a_failure_ends_an_image_once(desk: Desk) -> None:
    entry = desk.admit()
    desk.say(Failed(entry.number, "no"), Failed(entry.number, "no"))
    with pytest.raises(RequestFailed, match="no"):
        await entry.result
    assert len(desk.facts.failures) == 1
    await desk.ledger.empty()


async def test_pixels_that_cannot_be_mapped_fail_their_image(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def take(descriptor: int) -> None:
        os.close(descriptor)
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(progress_module, "take", take)
    entry = desk.admit()
    desk.finish(entry)
    with pytest.raises(RequestFailed, match="Too many open files"):
        await entry.result
    assert len(desk.facts.failures) == 1
    await desk.ledger.empty()


async def test_a_wait_is_told_once_whoever_begins(desk: Desk) -> None:
    entry = desk.admit()
    desk.say(Started(entry.number, 101.0))
    entry.interrupt()
    desk.say(Started(entry.number, 105.0))
    assert desk.facts.waits == [1.0]
    assert entry.wait_seconds == 1.0


async def test_lowered_rows_are_taken_over(desk: Desk) -> None:
    desk.say(RowsLowered(BUCKET, 3))
    assert desk.limits(BUCKET) == 3
    assert desk.limits(Bucket(8, 8, 32)) == 8


async def test_paced_steps_are_told_apart(desk: Desk) -> None:
    for overran in (None, False, True):
        desk.say(StepDone((), BUCKET, ALONE, 1.0, overran))
    assert desk.facts.overruns == [False, True]


async def test_the_steps_of_a_pair_count_its_rows(desk: Desk) -> None:
    pair_of_prompts, alone = desk.admit(make=pair), desk.admit()
    both = (pair_of_prompts.number, alone.number)
    desk.say(StepDone(both, BUCKET, Forwards(1, 3), 1.0, None))
    assert desk.facts.rows == [3]
    assert (pair_of_prompts.steps_done, alone.steps_done) == (1, 1)


async def test_a_pair_that_ran_a_row_at_a_time_counts_as_two_steps_and_is_one_of_the_image(desk: Desk) -> None:
    entry = desk.admit(make=pair)
    seconds = 1.5 * NO_KNEE.step_seconds(BUCKET, 1)
    for _ in range(50):
        desk.say(StepDone((), BUCKET, Forwards(2, 1), 2 * seconds, False))
    desk.say(StepDone((entry.number,), BUCKET, Forwards(2, 1), 2 * seconds, True))
    assert desk.facts.rows == [1] * 102
    assert desk.facts.overruns == [False] * 100 + [True] * 2
    assert desk.costs.step_seconds(BUCKET, 1) == pytest.approx(seconds, rel=0.01), "a forward's, not the pair's"
    assert sum(desk.facts.busy_seconds) == pytest.approx(51 * 2 * seconds)
    assert entry.steps_done == 1


async def test_a_pair_has_the_work_of_two_rows_and_two_prompts(desk: Desk) -> None:
    entry = desk.admit(make=pair)
    step = NO_KNEE.step_seconds(BUCKET, 1)
    assert entry.remaining_work(NO_KNEE) == pytest.approx(2 * 0.1 + 2 * 2 * step + 0.1)
    desk.say(Encoded(entry.number, BUCKET, False, 0.1), Encoded(entry.number, BUCKET, True, 0.1))
    desk.say(StepDone((entry.number,), BUCKET, Forwards(1, 2), 1.0, None))
    assert entry.remaining_work(NO_KNEE) == pytest.approx(2 * step + 0.1)
    assert desk.facts.hits == [False, True]


async def test_the_truncation_of_either_prompt_is_handed_over(desk: Desk) -> None:
    entry = desk.admit(make=pair)
    desk.say(Finished(entry.number, BUCKET, 0.1, 0.2, 0.3, 4, 5), descriptor=share(memoryview(bytes(64 * 64 * 3))))
    made = entry.result.result()
    assert (made.truncated_tokens, made.negative_truncated_tokens) == (4, 5)
    made.release()


async def test_a_word_that_only_a_start_has_is_an_error(desk: Desk) -> None:
    with pytest.raises(TypeError, match="Ready"):
        desk.say(Ready(None, NO_KNEE, None, None, "cpu", None, {}))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="descriptor"):
        desk.say(Finished(1, BUCKET, 0.1, 0.2, 0.3, 4))


# ---- the ledger


async def test_the_ledger_is_empty_when_the_last_entry_has_left(desk: Desk) -> None:
    await desk.ledger.empty()
    first, second = desk.admit(), desk.admit()
    waiting = asyncio.create_task(desk.ledger.empty())
    desk.ledger.remove(first)
    await asyncio.sleep(0)
    assert not waiting.done()
    desk.ledger.remove(second)
    await waiting


async def test_the_load_is_what_waits_and_what_runs(desk: Desk) -> None:
    waiting, running, answering = desk.admit(), desk.admit(), desk.admit(steps=1)
    desk.say(StepDone((running.number, answering.number), BUCKET, Forwards(1, 2), 1.0, None))
    desk.finish(answering)
    load = desk.ledger.load(NO_KNEE)
    assert (load.waiting, load.running) == (1, 2)
    assert load.queued_work_seconds == waiting.remaining_work(NO_KNEE)
    assert load.running_work_seconds == running.remaining_work(NO_KNEE)
    assert desk.ledger.not_started == 2, "nobody said Started"
    assert [entry.number for entry in desk.ledger.of(0)] == [waiting.number, running.number]
    answering.result.result().release()


# ---- busy time


def test_the_busy_share_is_that_of_the_last_seconds() -> None:
    now = [1000.0]
    meter = BusyMeter(lambda: now[0])
    assert meter.ratio(None) == 0
    meter.add(1.0)
    assert meter.ratio(None) == pytest.approx(0.2)
    now[0] += 4.5
    assert meter.ratio(None) == pytest.approx(0.1), "half of it is older than five seconds"
    assert meter.ratio(now[0] - 2) == pytest.approx(0.5), "with two seconds of what is not reported yet"
    assert meter.ratio(now[0] - 60) == 1.0
    now[0] += 60
    assert meter.ratio(None) == 0


def test_reports_that_nobody_asks_for_are_forgotten() -> None:
    now = [0.0]
    meter = BusyMeter(lambda: now[0])
    for _ in range(1000):
        now[0] += 1.0
        meter.add(0.5)
    assert len(meter._reports) <= 6
    assert meter.ratio(None) == pytest.approx(0.5)
