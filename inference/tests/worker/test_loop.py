"""What the loop does in which order, on a fake model in virtual time."""

import pytest
from bench import TEXT_TOKENS, Bench, VirtualTime, image, pair
from fake_model import FakeModel, picture

from fluxpool_inference.configuration import EngineConfig, Pace
from fluxpool_inference.ipc.messages import Configure, Encoded, Finished, Started, StepDone
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.choice import Forwards


def test_a_lone_image_is_encoded_stepped_and_decoded_and_each_second_is_told(bench: Bench) -> None:
    request = image("one two three four five six seven eight nine ten", steps=2)
    number = bench.submit(request)
    bench.finish()
    bucket = Bucket(4, 4, TEXT_TOKENS)
    assert bench.said == [
        Started(number, 0.0),
        Encoded(number, bucket, hit=False, seconds=pytest.approx(0.05)),
        StepDone((number,), bucket, Forwards(1, 1), pytest.approx(0.5), overran=None),
        StepDone((number,), bucket, Forwards(1, 1), pytest.approx(0.5), overran=None),
        Finished(number, bucket, pytest.approx(0.05), pytest.approx(1.0), pytest.approx(0.2), truncated_tokens=2),
    ]
    assert bytes(bench.pixels[number]) == picture(request)


def test_nothing_to_do_is_nothing_said(bench: Bench) -> None:
    assert bench.turn() == []


def test_images_share_steps_join_at_the_next_one_and_leave_when_done(bench: Bench, model: FakeModel) -> None:
    first = bench.submit(image(seed=1, steps=4))
    bench.until(StepDone, first)
    bench.submit(image(seed=2, steps=2))
    bench.finish()
    assert model.steps == [[1], [1, 2], [1, 2], [1]]


def test_a_step_holds_images_of_one_grid_and_one_text_length_only(bench: Bench, model: FakeModel) -> None:
    bench.submit(image(seed=1, steps=1, width=64, height=128))
    bench.submit(image(seed=2, steps=1, width=128, height=64))
    bench.submit(image(seed=3, steps=1, width=64, height=128, max_sequence_length=16))
    bench.submit(image(seed=4, steps=1, width=64, height=128))
    bench.finish()
    assert model.steps == [[1, 4], [2], [3]]


def test_an_image_is_decoded_before_the_next_step_so_that_it_waits_for_nobody(bench: Bench, time: VirtualTime) -> None:
    short = bench.submit(image(seed=1, steps=1))
    bench.submit(image(seed=2, steps=9))
    bench.until(StepDone, short)
    (said,) = bench.turn()
    assert isinstance(said, Finished)
    assert said.number == short


def test_an_urgent_image_pauses_another_at_any_step_which_goes_on_where_it_was(bench: Bench, model: FakeModel) -> None:
    bench.set_batch_size(1)
    patient = bench.submit(image(seed=1, steps=3), deadline=100)
    bench.until(StepDone, patient)
    bench.submit(image(seed=2, steps=2), deadline=50)
    bench.finish()
    assert model.steps == [[1], [2], [2], [1], [1]]


def test_deadlines_rule_and_of_equal_ones_the_older_image_goes_first(bench: Bench, model: FakeModel) -> None:
    bench.set_batch_size(2)
    for seed, deadline in ((1, 9.0), (2, 5.0), (3, 7.0), (4, 5.0)):
        bench.submit(image(seed=seed, steps=1), deadline=deadline)
    bench.finish()
    assert model.steps == [[2, 4], [3, 1]]


def test_a_new_batch_size_holds_from_the_next_step_on(bench: Bench, model: FakeModel) -> None:
    numbers = [bench.submit(image(seed=seed, steps=3)) for seed in (1, 2, 3)]
    bench.until(StepDone, numbers[2])
    bench.set_batch_size(1)
    bench.until(StepDone, numbers[0])
    bench.set_batch_size(2)
    bench.finish()
    assert model.steps == [[1, 2, 3], [1], [1, 2], [2, 3], [3]]


def test_only_what_is_in_the_next_step_is_encoded(bench: Bench, model: FakeModel) -> None:
    bench.set_batch_size(1)
    bench.submit(image("the first", seed=1, steps=1))
    bench.submit(image("the second", seed=2, steps=1))
    bench.until(StepDone, 1)
    assert model.encoded == ["the first"]


def test_a_prompt_is_encoded_once_and_remembered_for_each_text_length(bench: Bench, model: FakeModel) -> None:
    for text_tokens in (16, 32, 16):
        bench.submit(image("a tree", max_sequence_length=text_tokens, steps=1))
        bench.finish()
    assert [said.hit for said in bench.all(Encoded)] == [False, False, True]
    assert [said.seconds for said in bench.all(Encoded)] == [pytest.approx(0.05), pytest.approx(0.05), 0.0]
    assert model.encoded == ["a tree", "a tree"]


def test_prompts_that_wait_for_the_same_step_are_encoded_together_each_counting_its_share(
    model: FakeModel, time: VirtualTime
) -> None:
    bench = Bench(model, clock=time.clock(), prompts_together=4)
    numbers = [bench.submit(image(prompt, seed=1, steps=1)) for prompt in ("a", "b", "a", "c", "d", "e")]
    bench.finish()
    assert model.encodings == [4, 1]
    assert model.encoded == ["a", "b", "c", "d", "e"], "of two equal ones the second finds the first in the cache"
    told = {said.number: said for said in bench.all(Encoded)}
    assert [told[number].hit for number in numbers] == [False, False, True, False, False, False]
    assert sum(said.seconds for said in told.values()) == pytest.approx(2 * 0.05)
    whole = {said.number: said.encode_seconds for said in bench.all(Finished)}
    assert [whole[number] for number in numbers] == pytest.approx([0.05, 0.05, 0.0, 0.05, 0.05, 0.05])


def test_a_remembered_prompt_waits_for_no_other_to_be_encoded(model: FakeModel, time: VirtualTime) -> None:
    bench = Bench(model, clock=time.clock(), prompts_together=4)
    bench.submit(image("a", steps=1))
    bench.finish()
    for prompt in ("a", "b", "c"):
        bench.submit(image(prompt, steps=1))
    assert [type(said) for said in bench.turn()] == [Started, Encoded]
    bench.finish()
    assert model.encodings == [1, 2]


@pytest.mark.parametrize(
    ("together", "encodings"), [(1, [1] * 7), (3, [3, 3, 1]), (4, [4, 3]), (8, [7]), ((1, 2, 4), [4, 2, 1])]
)
def test_as_many_prompts_share_a_forward_as_wait_and_may(
    model: FakeModel, time: VirtualTime, together: int | tuple[int, ...], encodings: list[int]
) -> None:
    bench = Bench(model, clock=time.clock(), prompts_together=together)
    for prompt in "abcdefg":
        bench.submit(image(prompt, steps=1))
    bench.finish()
    assert model.encodings == encodings


def test_a_pace_holds_each_step_and_held_time_counts(model: FakeModel, time: VirtualTime) -> None:
    bench = Bench(model, clock=time.clock(), pace=Pace(1.0, 0.5))
    for seed in (1, 2):
        bench.submit(image(seed=seed, steps=1))
    bench.finish()
    (step,) = bench.all(StepDone)
    assert (step.seconds, step.overran) == (pytest.approx(2.0), False)
    assert [said.denoise_seconds for said in bench.all(Finished)] == [pytest.approx(2.0)] * 2
    assert time.seconds == pytest.approx(0.05 + 2.0 + 2 * 0.2), (
        "only the prompt's first encoding and the decodings more"
    )


def test_a_step_slower_than_its_pace_is_told_as_an_overrun(model: FakeModel, time: VirtualTime) -> None:
    bench = Bench(model, clock=time.clock(), pace=Pace(0.1, 0.1))
    bench.submit(image(steps=1))
    bench.finish()
    (step,) = bench.all(StepDone)
    assert (step.seconds, step.overran) == (pytest.approx(0.5), True)


# ---- pairs of true CFG


def test_a_lone_pair_encodes_both_prompts_and_shares_its_forwards_with_itself(bench: Bench, model: FakeModel) -> None:
    number = bench.submit(pair("one two", negative="a b c d e f g h i", seed=7, steps=2))
    bench.finish()
    bucket = Bucket(4, 4, TEXT_TOKENS)
    assert bench.said == [
        Started(number, 0.0),
        Encoded(number, bucket, hit=False, seconds=pytest.approx(0.05)),
        Encoded(number, bucket, hit=False, seconds=pytest.approx(0.05)),
        StepDone((number,), bucket, Forwards(1, 2), pytest.approx(0.6), overran=None),
        StepDone((number,), bucket, Forwards(1, 2), pytest.approx(0.6), overran=None),
        Finished(
            number,
            bucket,
            pytest.approx(0.1),
            pytest.approx(1.2),
            pytest.approx(0.2),
            truncated_tokens=0,
            negative_truncated_tokens=1,
        ),
    ]
    assert model.steps == [[7, 7], [7, 7]]


def test_a_pair_where_one_row_fits_takes_two_forwards_for_each_step(bench: Bench, model: FakeModel) -> None:
    bench.set_batch_size(1)
    bench.submit(pair(seed=1, steps=2))
    bench.submit(image(seed=2, steps=1))
    bench.finish()
    assert model.steps == [[1], [1], [1], [1], [2]]
    assert [(step.forwards, step.seconds) for step in bench.all(StepDone)] == [
        (Forwards(2, 1), pytest.approx(1.0)),
        (Forwards(2, 1), pytest.approx(1.0)),
        (Forwards(1, 1), pytest.approx(0.5)),
    ]


def test_the_batch_size_counts_rows_and_a_single_fills_the_one_that_no_pair_fits(
    bench: Bench, model: FakeModel
) -> None:
    bench.set_batch_size(3)
    bench.submit(pair(seed=1, steps=2))
    bench.submit(pair(seed=2, steps=1))
    bench.submit(image(seed=3, steps=1))
    bench.finish()
    assert model.steps == [[1, 1, 3], [1, 1], [2, 2]]


def test_the_pace_of_a_pair_is_that_of_its_rows(model: FakeModel, time: VirtualTime) -> None:
    for batch_size, seconds in ((2, 1.0 + 2 * 0.5), (1, 2 * (1.0 + 0.5))):
        bench = Bench(model, clock=time.clock(), pace=Pace(1.0, 0.5), batch_size=batch_size)
        bench.submit(pair(steps=1))
        bench.finish()
        (step,) = bench.all(StepDone)
        assert (step.seconds, step.overran) == (pytest.approx(seconds), False)


def test_the_prompts_of_pairs_are_encoded_together_and_a_shared_one_once(model: FakeModel, time: VirtualTime) -> None:
    bench = Bench(model, clock=time.clock(), prompts_together=3)
    requests = [
        pair("a", negative="bad", seed=1, steps=1),
        pair("b", negative="bad", seed=2, steps=1),
        image("c", seed=3, steps=1),
        image("bad", seed=4, steps=1),
        pair("a", negative="a", seed=5, steps=1),
    ]
    numbers = [bench.submit(request) for request in requests]
    bench.finish()
    assert model.encodings == [3, 1]
    assert model.encoded == ["a", "bad", "b", "c"]
    told = {number: [said.hit for said in bench.all(Encoded) if said.number == number] for number in numbers}
    assert list(told.values()) == [[False, False], [False, True], [False], [True], [True, True]]
    assert sum(said.seconds for said in bench.all(Encoded)) == pytest.approx(2 * 0.05)


def test_prompts_that_nothing_remembers_are_encoded_for_each_image(model: FakeModel, time: VirtualTime) -> None:
    bench = Bench(model, clock=time.clock(), prompts_together=4, prompt_cache_bytes=0)
    for seed in (1, 2):
        bench.submit(pair("a", negative="bad", seed=seed, steps=1))
    bench.submit(pair("b", negative="b", seed=3, steps=1))
    bench.finish()
    assert [said.hit for said in bench.all(Encoded)] == [False] * 6
    assert len(bench.all(Finished)) == 3


# ---- reproducible images


def test_a_reproducible_image_has_forwards_of_its_own(bench: Bench, model: FakeModel) -> None:
    bench.submit(image(seed=1, steps=2))
    bench.submit(pair(seed=2, steps=1, reproducible=True))
    bench.submit(image(seed=3, steps=1, reproducible=True))
    bench.submit(pair(seed=4, steps=2))
    bench.finish()
    assert model.steps == [[1, 4, 4], [1, 4, 4], [2], [2], [3]]
    assert [step.forwards for step in bench.all(StepDone)] == [
        *[Forwards(1, 3)] * 2,
        Forwards(2, 1),
        Forwards(1, 1),
    ]


def test_the_loop_is_configured_once(bench: Bench) -> None:
    bench._inbox.put(Configure(EngineConfig("m"), since=0.0))
    with pytest.raises(TypeError, match="Configure"):
        bench.turn()
