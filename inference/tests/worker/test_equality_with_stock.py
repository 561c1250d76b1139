"""Whatever an image shares its steps with, it is the one that the stock pipeline makes alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bench import TEXT_TOKENS, Bench, image, pair
from comparison import POISON, Comparison, load
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from stock import Stock

from fluxpool_inference.ipc.messages import Encoded, Failed, Finished, StepDone
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.values import ImageRequest
from fluxpool_inference.worker import formulas

PROMPTS = ["a cat", "", "a dog, two birds and a very long tail " * 9, "žluťoučký kůň 🐴", "a cat\n\twith  spaces "]
PAIRS = [
    pair("a cat", negative="", seed=1, steps=4, scale=1.01),
    image("a dog", seed=2, steps=3),
    pair("a dog", negative="a cat", seed=3, steps=2, scale=7.0),
    pair("a cat", negative="a cat", seed=4, steps=5),
    image("a cat", seed=5, steps=6),
]
AXES = {
    "steps": [image(steps=steps) for steps in (1, 2, 3, 7)],
    "prompt": [image(prompt) for prompt in PROMPTS],
    "seed": [image(seed=seed) for seed in (0, 1, 2**31, 2**63, 2**64 - 1)],
    "size": [image(width=width, height=height) for width, height in ((64, 64), (128, 32), (32, 128), (96, 64))],
    "text length": [image("a cat and a dog", max_sequence_length=length) for length in (16, 32, 48)],
    "negative prompt": [pair(negative=prompt) for prompt in PROMPTS],
    "true CFG scale": [pair(scale=scale) for scale in (1.01, 1.5, 3.3, 20.0)],
    "true CFG or not": PAIRS,
    "everything": [
        image("a cat", seed=5, steps=2),
        image("a dog", seed=6, steps=5, width=96, height=64),
        image("a bird", seed=7, steps=3),
        image("", seed=8, steps=6, width=96, height=64),
        pair("a bird", negative="a dog", seed=9, steps=4),
        pair("", negative="a cat", seed=10, steps=3, width=96, height=64, scale=2.0),
    ],
}


def rows_of(bench: Bench) -> list[int]:
    return [step.forwards.rows for step in bench.all(StepDone)]


def checked(comparison: Comparison, requests: Sequence[ImageRequest], batch_size: int = 8) -> None:
    made = comparison.together(requests, batch_size)
    assert len(made) == len(requests)
    comparison.assert_equal(made)


@pytest.mark.parametrize("axis", AXES)
def test_images_that_differ_in_one_axis_or_in_all_equal_stock(either: Comparison, axis: str) -> None:
    checked(either, AXES[axis])


def test_images_that_differ_in_guidance_equal_stock(dev: Comparison) -> None:
    requests = [image(guidance=guidance) for guidance in (None, 0.0, 1.0, 3.5, 7.0)]
    made = dev.together(requests)
    dev.assert_equal(made)
    latents = dict(made)
    assert torch.equal(latents[requests[0]], latents[requests[3]]), "3.5 is the default, of stock too"


def test_a_model_without_guidance_embedding_has_none_to_give(schnell: Comparison) -> None:
    assert schnell.model.info.default_guidance is None
    checked(schnell, [image(seed=seed) for seed in (1, 2)])


def test_more_images_than_rows_equal_stock(either: Comparison) -> None:
    checked(either, [image(seed=seed, steps=1 + seed % 4) for seed in range(7)], batch_size=3)


@pytest.mark.parametrize("steps_before", range(6))
def test_an_image_may_join_at_any_step_of_others(either: Comparison, steps_before: int) -> None:
    bench, recorder = either.bench()
    first = bench.submit(image("a cat", seed=1, steps=6))
    for _ in range(steps_before):
        bench.until(StepDone, first)
    bench.submit(image("a dog", seed=2, steps=3))
    bench.finish()
    steps = range(max(6, steps_before + 3))
    assert rows_of(bench) == [(step < 6) + (steps_before <= step < steps_before + 3) for step in steps]
    either.assert_equal(recorder.made)


@pytest.mark.parametrize("steps_before", range(1, 4))
def test_an_image_may_be_paused_at_any_step(either: Comparison, steps_before: int) -> None:
    bench, recorder = either.bench(batch_size=1)
    paused = bench.submit(image("a cat", seed=1, steps=4), deadline=100)
    for _ in range(steps_before):
        bench.until(StepDone, paused)
    urgent = bench.submit(image("a dog", seed=2, steps=3), deadline=1)
    bench.finish()
    assert [step.numbers[0] for step in bench.all(StepDone)] == (
        [paused] * steps_before + [urgent] * 3 + [paused] * (4 - steps_before)
    )
    either.assert_equal(recorder.made)


def test_the_batch_size_may_change_under_way(either: Comparison) -> None:
    bench, recorder = either.bench(batch_size=4)
    numbers = [bench.submit(image(seed=seed, steps=5)) for seed in range(4)]
    for rows in (1, 3, 2, 4, 1, 4):
        bench.until(StepDone, numbers[0])
        bench.set_batch_size(rows)
        if bench.outcome(numbers[0]) is not None or len(bench.all(StepDone)) == 5:
            break
    bench.finish()
    assert len(set(rows_of(bench))) >= 4, "several numbers of rows were in use"
    either.assert_equal(recorder.made)


@pytest.mark.parametrize("batch_size", range(1, 9))
def test_pairs_of_true_cfg_and_others_equal_stock_at_any_batch_size(either: Comparison, batch_size: int) -> None:
    checked(either, PAIRS, batch_size)


def test_pairs_that_differ_in_guidance_too_equal_stock(dev: Comparison) -> None:
    checked(dev, [pair(guidance=guidance, seed=seed) for seed, guidance in enumerate((None, 1.0, 7.0))])


def test_a_pair_of_which_one_row_fits_equals_stock_and_may_be_so_to_the_last_bit(either: Comparison) -> None:
    request = pair("a cat", negative="a dog", steps=5)
    either.assert_equal(either.together([request], batch_size=1))
    ((_, found),) = either.together([replace(request, reproducible=True)], batch_size=1)
    assert torch.equal(found, either.stock.latents(request))


def test_a_reproducible_image_is_stock_to_the_last_bit_in_any_company(either: Comparison) -> None:
    requests = [replace(request, reproducible=reproducible) for request in PAIRS for reproducible in (True, False)]
    made = either.together(requests)
    either.assert_equal(made)
    kept = [(request, latents) for request, latents in made if request.reproducible]
    assert len(kept) == len(PAIRS)
    for request, latents in kept:
        assert torch.equal(latents, either.stock.latents(request)), request


@pytest.mark.parametrize(("patient", "urgent"), [(pair, image), (image, pair), (pair, pair)])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_pair_may_be_paused_and_may_pause_others(
    either: Comparison,
    patient: Callable[..., ImageRequest],
    urgent: Callable[..., ImageRequest],
    batch_size: int,
) -> None:
    bench, recorder = either.bench(batch_size=batch_size)
    paused = bench.submit(patient("a cat", seed=1, steps=4), deadline=100)
    bench.until(StepDone, paused)
    first = bench.submit(urgent("a dog", seed=2, steps=3), deadline=1)
    bench.finish()
    alone = [step.numbers for step in bench.all(StepDone)]
    assert alone == [(paused,)] + [(first,)] * 3 + [(paused,)] * 3
    either.assert_equal(recorder.made)


def test_the_batch_size_may_change_between_the_steps_of_pairs(either: Comparison) -> None:
    bench, recorder = either.bench(batch_size=8)
    numbers = [bench.submit(make(seed=seed, steps=7)) for seed, make in enumerate([pair, image, pair])]
    for rows in (1, 3, 2, 4, 5):
        bench.until(StepDone, numbers[0])
        bench.set_batch_size(rows)
    bench.finish()
    assert set(rows_of(bench)) == {1, 2, 3, 5}, "a pair alone by halves and whole, beside one row, and all"
    either.assert_equal(recorder.made)


def test_a_neighbour_may_be_cancelled_under_way(either: Comparison) -> None:
    bench, recorder = either.bench()
    victim = bench.submit(image(seed=1, steps=6))
    kept = bench.submit(image(seed=2, steps=4))
    bench.until(StepDone, kept)
    bench.cancel(victim)
    bench.finish()
    assert rows_of(bench) == [2, 1, 1, 1]
    either.assert_equal(recorder.made)


def test_a_prompt_from_the_cache_makes_the_same_image(either: Comparison) -> None:
    bench, recorder = either.bench()
    bench.submit(image("a cat", seed=1))
    bench.finish()
    bench.submit(image("a cat", seed=2))
    bench.submit(image("a dog", seed=3))
    bench.finish()
    assert [said.hit for said in bench.all(Encoded)] == [False, True, False]
    either.assert_equal(recorder.made)


def test_a_prompt_encoded_among_others_makes_the_same_image(either: Comparison) -> None:
    bench, recorder = either.bench(prompts_together=4)
    for seed, prompt in enumerate(PROMPTS[:4]):
        bench.submit(image(prompt, seed=seed))
    bench.finish()
    either.assert_equal(recorder.made)


def test_no_embedding_keeps_those_of_its_company_in_memory(dev: Comparison) -> None:
    for made in dev.model.encode(PROMPTS, TEXT_TOKENS):
        assert made.embeddings.untyped_storage().nbytes() == made.embeddings.nbytes
        assert made.pooled.untyped_storage().nbytes() == made.pooled.nbytes


def test_a_neighbour_full_of_nan_changes_nothing_and_fails_alone(either: Comparison) -> None:
    bench, recorder = either.bench()
    kept = bench.submit(image(seed=1))
    poisoned = bench.submit(image(POISON, seed=2, steps=3))
    also_kept = bench.submit(image(seed=3, steps=6))
    bench.finish()
    outcome = bench.outcome(poisoned)
    assert isinstance(outcome, Failed)
    assert outcome.message == "decoding failed: the final latents are not finite"
    assert all(isinstance(bench.outcome(number), Finished) for number in (kept, also_kept))
    either.assert_equal(recorder.made)


def test_an_image_that_the_vae_makes_infinite_fails_rather_than_be_black(
    dev: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(latents: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        return (torch.full((1, 3, 64, 64), torch.inf),)

    monkeypatch.setattr(dev.model._parts.vae, "decode", overflow)
    bench, _ = dev.bench()
    number = bench.submit(image(steps=1))
    bench.finish()
    outcome = bench.outcome(number)
    assert isinstance(outcome, Failed)
    assert outcome.message == "decoding failed: the decoded image is not finite"


def test_a_pair_full_of_nan_changes_nothing_and_fails_alone(dev: Comparison) -> None:
    bench, recorder = dev.bench()
    kept = [bench.submit(image(seed=1)), bench.submit(pair(seed=2))]
    poisoned = bench.submit(pair(POISON, seed=3, steps=3))
    bench.finish()
    assert isinstance(bench.outcome(poisoned), Failed)
    assert all(isinstance(bench.outcome(number), Finished) for number in kept)
    dev.assert_equal([(request, found) for request, found in recorder.made if request.prompt != POISON])


def test_rows_of_several_images_may_be_run_one_by_one(dev: Comparison) -> None:
    bucket = Bucket(4, 4, TEXT_TOKENS)
    (text,) = dev.model.encode(["a tree"], TEXT_TOKENS)
    together, apart = ([dev.model.begin(image(seed=seed), bucket, text) for seed in (1, 2)] for _ in range(2))
    dev.model.step(bucket, together)
    dev.model.step(bucket, apart, one_by_one=True)
    for one, other in zip(together, apart, strict=True):
        assert other.index == 1
        torch.testing.assert_close(one.latents, other.latents, atol=1e-6, rtol=0)


def test_pixels_of_a_reproducible_image_are_those_of_stock_to_the_last_bit(either: Comparison) -> None:
    for request in (image("a cat", seed=4), image("a dog", width=96, height=48, steps=2)):
        bench, _ = either.bench()
        number = bench.submit(replace(request, reproducible=True))
        bench.finish()
        np.testing.assert_array_equal(np.asarray(bench.pixels[number]), either.stock.pixels(request))


def test_pixels_of_a_batch_differ_from_stock_by_a_rounding_at_most(either: Comparison) -> None:
    bench, _ = either.bench()
    requests = [image("a cat", seed=seed, steps=1 + seed) for seed in range(4)]
    numbers = [bench.submit(request) for request in requests]
    bench.finish()
    for number, request in zip(numbers, requests, strict=True):
        found, wanted = np.asarray(bench.pixels[number]), either.stock.pixels(request)
        assert found.shape == (64, 64, 3)
        assert np.abs(found.astype(int) - wanted).max() <= 1
        assert (found != wanted).mean() <= 0.001


@pytest.mark.parametrize("scheduler", [{}, {"base_shift": 0.25, "max_shift": 2.0, "base_image_seq_len": 64}])
def test_sigmas_are_shifted_as_in_stock(scheduler: dict[str, float]) -> None:
    arguments = {name.replace("_image", ""): value for name, value in scheduler.items()}
    for tokens in (1, 16, 255, 1024, 4096, 8000):
        assert formulas.shift(tokens, scheduler) == calculate_shift(tokens, **arguments)


def test_the_model_has_its_own_text_length_unless_told_otherwise(dev: Comparison, schnell: Comparison) -> None:
    for comparison, length in ((dev, 512), (schnell, 256)):
        checked(comparison, [image("a cat", steps=1, max_sequence_length=length)])


def test_truncated_tokens_are_those_of_t5_beyond_the_length(dev: Comparison) -> None:
    bench, _ = dev.bench()
    numbers = [bench.submit(image("x" * letters, steps=1)) for letters in (10, 100)]
    bench.finish()
    counts = [outcome.truncated_tokens for number in numbers if isinstance(outcome := bench.outcome(number), Finished)]
    whole = len(dev.model._parts.t5_tokenizer("x" * 100).input_ids)
    assert counts == [0, whole - TEXT_TOKENS]
    assert whole > TEXT_TOKENS


def test_tokens_cut_off_the_negative_prompt_are_told_apart(dev: Comparison) -> None:
    bench, _ = dev.bench()
    number = bench.submit(pair("a", negative="x" * 100, steps=1))
    bench.finish()
    outcome = bench.outcome(number)
    assert isinstance(outcome, Finished)
    whole = len(dev.model._parts.t5_tokenizer("x" * 100).input_ids)
    assert (outcome.truncated_tokens, outcome.negative_truncated_tokens) == (0, whole - TEXT_TOKENS)


# ---- bfloat16: rounding is copied, so on the CPU even a mixed batch is equal bit by bit


@pytest.fixture(scope="module", params=["dev_model", "schnell_model"])
def rounded(request: pytest.FixtureRequest) -> Comparison:
    directory: Path = request.getfixturevalue(request.param)
    return Comparison(load(directory, "bfloat16"), Stock(directory, torch.bfloat16, TEXT_TOKENS))


def test_in_bfloat16_an_image_alone_is_stock_bit_by_bit(rounded: Comparison) -> None:
    request = image("a cat", seed=4, steps=5)
    ((_, found),) = rounded.together([request])
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, rounded.stock.latents(request))


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_in_bfloat16_pairs_are_stock_bit_by_bit(rounded: Comparison, batch_size: int) -> None:
    for request, found in rounded.together(PAIRS, batch_size):
        assert torch.equal(found, rounded.stock.latents(request)), request


def test_in_bfloat16_a_mixed_batch_is_stock_bit_by_bit_and_so_are_its_pixels(rounded: Comparison) -> None:
    bench, recorder = rounded.bench()
    requests = [image("a cat", seed=1, steps=5), image("a dog", seed=2, steps=3), image("", seed=3, steps=8)]
    numbers = [bench.submit(request) for request in requests]
    bench.finish()
    assert max(rows_of(bench)) == 3
    latents = dict(recorder.made)
    for number, request in zip(numbers, requests, strict=True):
        assert torch.equal(latents[request], rounded.stock.latents(request))
        np.testing.assert_array_equal(np.asarray(bench.pixels[number]), rounded.stock.pixels(request))
