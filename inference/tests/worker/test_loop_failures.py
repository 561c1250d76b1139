"""Cancelled, failed and out of memory at every stage: neighbours finish, the queue goes on, each image ends once."""

import weakref
from queue import SimpleQueue
from typing import Any

import fake_model
import pytest
from bench import NO_KNEE, TEXT_TOKENS, Bench, VirtualTime, image, is_about, pair
from fake_model import Activations, FakeModel, Path

from fluxpool_inference.configuration import Pace
from fluxpool_inference.ipc.messages import (
    Encoded,
    Failed,
    Finished,
    FromWorker,
    RowsLowered,
    Started,
    StepDone,
    Submit,
    ToWorker,
)
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.limits import RowLimits
from fluxpool_inference.worker.attempts import DeviceLostError
from fluxpool_inference.worker.loop import DeviceLoop

STAGES = ["encode", "begin", "step 0", "step 1", "step 3", "decode"]
BUCKET = Bucket(4, 4, TEXT_TOKENS)


def finished(bench: Bench, *numbers: int) -> bool:
    return all(isinstance(bench.outcome(number), Finished) for number in numbers)


# ---- cancelled


@pytest.mark.parametrize("turns", range(9))
def test_an_image_cancelled_after_any_turn_is_gone_by_the_next_and_its_neighbours_finish(
    bench: Bench, turns: int
) -> None:
    before = bench.submit(image("b", seed=1, steps=4))
    victim = bench.submit(image("v", seed=2, steps=4))
    after = bench.submit(image("a", seed=3, steps=4))
    for _ in range(turns):  # three encodings, four steps, one decoding, and the victim's own
        bench.turn()
    said = len(bench.said)
    bench.cancel(victim)
    bench.finish()
    assert not any(is_about(message, victim) for message in bench.said[said:])
    assert finished(bench, before, after)
    later = bench.submit(image("l", seed=4))
    bench.finish()
    assert finished(bench, later)


def test_those_turns_were_every_stage(bench: Bench) -> None:
    for seed in (1, 2, 3):
        bench.submit(image(str(seed), seed=seed, steps=4))
    kinds = [type(bench.turn()[-1]) for _ in range(9)]
    assert kinds == [Encoded] * 3 + [StepDone] * 4 + [Finished] * 2


def test_the_last_image_in_flight_can_be_cancelled_and_the_loop_then_waits(bench: Bench) -> None:
    number = bench.submit(image())
    bench.until(StepDone, number)
    bench.cancel(number)
    assert bench.turn() == []


def test_a_cancellation_of_what_is_gone_or_was_never_there_changes_nothing(bench: Bench) -> None:
    number = bench.submit(image())
    bench.finish()
    bench.cancel(number)
    bench.cancel(99)
    assert bench.turn() == []


# ---- failed


@pytest.mark.parametrize("stage", STAGES)
def test_an_image_that_fails_at_any_stage_fails_alone_and_says_why(bench: Bench, stage: str) -> None:
    before = bench.submit(image(seed=1))
    culprit = bench.submit(image(f"error at {stage}", seed=2))
    after = bench.submit(image(seed=3))
    bench.finish()
    outcome = bench.outcome(culprit)
    assert isinstance(outcome, Failed)
    what = {"encode": "text encoding", "begin": "text encoding", "decode": "decoding"}.get(stage, "denoising")
    assert outcome.message == f"{what} failed: a planted error"
    assert finished(bench, before, after)
    later = bench.submit(image(seed=4))
    bench.finish()
    assert finished(bench, later)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "MemoryError"),
        (
            RuntimeError("CUDA error: misaligned address\nFor debugging consider CUDA_LAUNCH_BLOCKING=1"),
            "CUDA error: misaligned address",
        ),
    ],
)
def test_of_an_error_one_line_is_told_or_its_kind_if_it_says_nothing(
    bench: Bench, model: FakeModel, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def decode(*_: object) -> None:
        raise error

    monkeypatch.setattr(model, "decode", decode)
    number = bench.submit(image())
    bench.finish()
    assert bench.outcome(number) == Failed(number, f"decoding failed: {told}")


@pytest.mark.parametrize("stage", STAGES)
def test_a_lone_image_that_fails_at_any_stage_leaves_a_loop_that_works(bench: Bench, stage: str) -> None:
    culprit = bench.submit(image(f"error at {stage}"))
    bench.finish()
    assert isinstance(bench.outcome(culprit), Failed)
    later = bench.submit(image())
    bench.finish()
    assert finished(bench, later)


def test_the_neighbours_of_a_failed_step_lose_no_step_and_run_none_twice(bench: Bench, model: FakeModel) -> None:
    numbers = [bench.submit(image(seed=1)), bench.submit(image("error at step 2", seed=2)), bench.submit(image(seed=3))]
    bench.finish()
    assert model.steps == [[1, 2, 3], [1, 2, 3], [1, 2, 3], [1], [2], [3], [1, 3]]
    told = [number for step in bench.all(StepDone) for number in step.numbers]
    assert [told.count(number) for number in numbers] == [4, 2, 4]


def test_several_culprits_of_one_step_all_fail_and_the_others_go_on(bench: Bench) -> None:
    good = [bench.submit(image(seed=seed)) for seed in (1, 2)]
    bad = [bench.submit(image("error at step 1", seed=seed)) for seed in (3, 4)]
    bench.finish()
    assert finished(bench, *good)
    assert all(isinstance(bench.outcome(number), Failed) for number in bad)


def test_a_step_that_fails_is_not_held_to_its_pace(model: FakeModel, time: VirtualTime) -> None:
    bench = Bench(model, clock=time.clock(), pace=Pace(10.0, 0.0))
    bench.submit(image("error at step 0"))
    bench.finish()
    assert time.seconds < 10
    assert bench.all(StepDone) == []


def test_prompts_of_which_one_fails_are_encoded_again_one_by_one(model: FakeModel, time: VirtualTime) -> None:
    bench = Bench(model, clock=time.clock(), prompts_together=4)
    good = [bench.submit(image("a", seed=1)), bench.submit(image("b", seed=2))]
    bad = bench.submit(image("error at encode", seed=3))
    good.append(bench.submit(image("c", seed=4)))
    bench.finish()
    assert model.encodings[:4] == [4, 1, 1, 1]
    assert finished(bench, *good)
    outcome = bench.outcome(bad)
    assert isinstance(outcome, Failed)
    assert outcome.message == "text encoding failed: a planted error"
    assert len(bench.all(Started)) == 4, "each is started once"


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("stage", STAGES)
def test_a_pair_that_fails_at_any_stage_fails_alone_and_is_never_moved_by_half(
    model: FakeModel, time: VirtualTime, stage: str, batch_size: int
) -> None:
    bench = Bench(model, clock=time.clock(), batch_size=batch_size, prompts_together=4)
    good = [bench.submit(pair(seed=1)), bench.submit(image(seed=2))]
    bad = bench.submit(pair(f"error at {stage}", seed=3))
    good.append(bench.submit(pair("another", seed=4)))
    bench.finish()
    assert isinstance(bench.outcome(bad), Failed)
    assert finished(bench, *good)
    told = [number for step in bench.all(StepDone) for number in step.numbers]
    assert [told.count(number) for number in good] == [4, 4, 4]


def test_a_pair_whose_negative_prompt_cannot_be_encoded_fails_alone(model: FakeModel, time: VirtualTime) -> None:
    bench = Bench(model, clock=time.clock(), prompts_together=4)
    good = [bench.submit(pair(seed=1))]
    bad = bench.submit(pair("fine", negative="error at encode", seed=2))
    good.append(bench.submit(pair("fine", seed=3)))
    bench.finish()
    outcome = bench.outcome(bad)
    assert isinstance(outcome, Failed)
    assert outcome.message == "text encoding failed: a planted error"
    assert finished(bench, *good)


# ---- out of memory


@pytest.mark.parametrize("stage", STAGES)
def test_an_image_without_memory_at_any_stage_is_tried_again_and_then_fails_alone(bench: Bench, stage: str) -> None:
    before = bench.submit(image(seed=1))
    culprit = bench.submit(image(f"oom at {stage}", seed=2))
    after = bench.submit(image(seed=3))
    bench.finish()
    outcome = bench.outcome(culprit)
    assert isinstance(outcome, Failed)
    assert "a planted want of memory" in outcome.message
    assert finished(bench, before, after)


@pytest.mark.parametrize("stage", STAGES)
def test_a_want_of_memory_that_passes_fails_nobody(bench: Bench, stage: str) -> None:
    numbers = [bench.submit(image(seed=1)), bench.submit(image(f"oom once at {stage}", seed=2))]
    bench.finish()
    assert finished(bench, *numbers)


@pytest.mark.parametrize("stage", STAGES)
def test_a_lone_image_gets_over_a_want_of_memory_that_passes(bench: Bench, stage: str) -> None:
    number = bench.submit(image(f"oom once at {stage}"))
    bench.finish()
    assert finished(bench, number)


def test_a_batch_without_memory_halves_the_rows_of_its_bucket_for_good(bench: Bench, model: FakeModel) -> None:
    model.rows_held = 3
    numbers = [bench.submit(image(seed=seed, steps=2)) for seed in range(1, 7)]
    bench.finish()
    assert finished(bench, *numbers)
    assert bench.all(RowsLowered) == [RowsLowered(BUCKET, 3)]
    assert [len(step) for step in model.steps] == [6, 1, 1, 1, 1, 1, 1, 3, 3]
    assert bench.limits(BUCKET) == 3


def test_another_bucket_keeps_its_rows(bench: Bench, model: FakeModel) -> None:
    model.rows_held = 1
    for seed in (1, 2):
        bench.submit(image(seed=seed, steps=1))
    bench.finish()
    assert bench.limits(BUCKET) == 1
    assert bench.limits(Bucket(4, 8, TEXT_TOKENS)) == 8


def test_without_memory_rows_are_halved_and_not_images_and_pairs_run_again_a_row_at_a_time(
    bench: Bench, model: FakeModel
) -> None:
    model.rows_held = 4
    numbers = [bench.submit(make(seed=seed, steps=2)) for seed, make in enumerate([pair, pair, image, image])]
    bench.finish()
    assert finished(bench, *numbers)
    assert bench.all(RowsLowered) == [RowsLowered(BUCKET, 3)]
    assert model.steps == [[0, 0, 1, 1, 2, 3], [0], [0], [1], [1], [2], [3], [0, 0, 2], [1, 1, 3]]


def test_a_pair_that_does_not_fit_into_memory_runs_a_row_at_a_time_from_then_on(bench: Bench, model: FakeModel) -> None:
    model.rows_held = 1
    number = bench.submit(pair(steps=2, seed=7))
    bench.finish()
    assert finished(bench, number)
    assert bench.all(RowsLowered) == [RowsLowered(BUCKET, 1)]
    assert model.steps == [[7, 7], [7], [7], [7], [7]]


def test_a_pair_without_memory_for_one_row_is_tried_again_and_then_fails(bench: Bench, model: FakeModel) -> None:
    model.rows_held = 0
    bench.set_batch_size(1)
    number = bench.submit(pair(seed=7))
    bench.finish()
    assert isinstance(bench.outcome(number), Failed)
    assert bench.all(RowsLowered) == []
    assert model.steps == [[7]] * 3


def test_one_row_without_memory_lowers_nothing_below_one(bench: Bench) -> None:
    bench.submit(image("oom at step 0"))
    bench.finish()
    assert bench.all(RowsLowered) == []
    assert bench.limits(BUCKET) == 8


class Watched(FakeModel):
    """Notes, whenever it is asked to make room, how many of the activations of failed steps are still held."""

    def __init__(self, time: VirtualTime, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(time.clock(), rows_held=2)
        self._made: list[weakref.ref[Activations]] = []
        self.held: list[int] = []
        monkeypatch.setattr(fake_model, "Activations", self._new)

    def _new(self) -> Activations:
        made = Activations()
        self._made.append(weakref.ref(made))
        return made

    def recover(self) -> bool:
        self.held.append(sum(ref() is not None for ref in self._made))
        return super().recover()


def test_room_is_made_only_after_the_failed_step_has_let_go_of_its_memory(
    time: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Watched(time, monkeypatch)
    bench = Bench(model, clock=time.clock())
    for seed in (1, 2, 3):
        bench.submit(image(seed=seed, steps=1))
    bench.submit(image("oom at decode", seed=4, steps=1))
    bench.finish()
    assert len(model.held) == 3
    assert model.held == [0, 0, 0], "the traceback of an error keeps all that its frames hold"


# ---- the device lost


@pytest.mark.parametrize("stage", STAGES)
def test_a_lost_device_ends_the_loop_at_any_stage(model: FakeModel, time: VirtualTime, stage: str) -> None:
    inbox: SimpleQueue[ToWorker] = SimpleQueue()
    said: list[FromWorker] = []

    def hear(message: FromWorker, pixels: Any = None) -> None:
        said.append(message)

    loop = DeviceLoop(model, RowLimits(NO_KNEE, 8), hear, inbox, pace=None, prompt_cache_bytes=0, clock=time.clock())
    inbox.put(Submit(1, image(seed=1), BUCKET, 1.0))
    inbox.put(Submit(2, image(f"loss at {stage}", seed=2), BUCKET, 2.0))
    with pytest.raises(DeviceLostError, match="a planted loss"):
        loop.run()
    assert not any(isinstance(message, Failed) for message in said), "the images run again on another device"


def test_started_is_said_before_anything_is_done_with_an_image(bench: Bench) -> None:
    bench.submit(image("error at encode"))
    bench.finish()
    assert [type(message) for message in bench.said] == [Started, Failed]


def test_the_fake_model_moves_no_row_of_a_failed_step(model: FakeModel) -> None:
    first, second = model.encode(["a", "b"], 32)
    rows = [Path(image(seed=1), first), Path(image("error at step 0"), second)]
    with pytest.raises(ValueError, match="planted"):
        model.step(BUCKET, rows)
    assert [row.index for row in rows] == [0, 0]
