"""`decode_batch_size`: images of one size that have all their steps may be decoded by one call."""

import numpy as np
import pytest
from bench import Bench, image
from comparison import POISON, Comparison
from fake_model import FakeModel, picture

from fluxpool_inference.ipc.messages import Failed, Finished


def made(model: FakeModel, *requests: object, decode_batch_size: int) -> Bench:
    bench = Bench(model, clock=model.clock, decode_batch_size=decode_batch_size)
    for request in requests:
        bench.submit(request)  # type: ignore[arg-type]
    bench.finish()
    return bench


@pytest.mark.parametrize(
    ("decode_batch_size", "calls"), [(1, [[1], [2], [3], [4], [5]]), (3, [[1, 2, 3], [4, 5]]), (8, [[1, 2, 3, 4, 5]])]
)
def test_as_many_as_are_ready_are_decoded_by_one_call(
    model: FakeModel, decode_batch_size: int, calls: list[list[int]]
) -> None:
    bench = made(model, *(image(seed=seed) for seed in range(1, 6)), decode_batch_size=decode_batch_size)
    assert model.decoded == calls
    for number in range(1, 6):
        assert bytes(bench.pixels[number]) == picture(image(seed=number))


def test_sizes_do_not_mix(model: FakeModel) -> None:
    made(model, image(seed=1), image(seed=2, width=32), image(seed=3), decode_batch_size=8)
    assert sorted(model.decoded) == [[1, 3], [2]]


def test_a_reproducible_image_is_decoded_alone(model: FakeModel) -> None:
    made(model, image(seed=1), image(seed=2, reproducible=True), image(seed=3), decode_batch_size=8)
    assert sorted(model.decoded) == [[1, 3], [2]]


def test_each_counts_its_share_of_the_time(model: FakeModel) -> None:
    bench = made(model, *(image(seed=seed) for seed in range(4)), decode_batch_size=4)
    assert [done.decode_seconds for done in bench.all(Finished)] == [pytest.approx(0.05)] * 4


def test_one_that_fails_fails_alone(model: FakeModel) -> None:
    bench = made(model, image(seed=1), image("error at decode", seed=2), image(seed=3), decode_batch_size=8)
    assert [failed.number for failed in bench.all(Failed)] == [2]
    assert [done.number for done in bench.all(Finished)] == [1, 3]
    assert model.decoded == [[1, 2, 3], [1], [2], [3]]


def test_what_memory_did_not_hold_once_is_decoded_one_by_one_from_then_on(model: FakeModel) -> None:
    bench = made(model, image(seed=1), image("oom once at decode", seed=2), decode_batch_size=8)
    assert [done.number for done in bench.all(Finished)] == [1, 2]
    for seed in (3, 4):
        bench.submit(image(seed=seed))
    bench.finish()
    assert model.decoded == [[1, 2], [1], [2], [3], [4]]


def test_pixels_are_those_of_images_decoded_alone_but_for_a_rounding(dev: Comparison) -> None:
    requests = [image(f"a tree, {seed}", seed=seed) for seed in range(4)]
    found = []
    for decode_batch_size in (1, 4):
        bench, _ = dev.bench(decode_batch_size=decode_batch_size)
        numbers = [bench.submit(request) for request in requests]
        bench.finish()
        found.append(np.stack([np.asarray(bench.pixels[number]) for number in numbers]).astype(int))
    assert np.abs(found[0] - found[1]).max() <= 1


def test_one_full_of_nan_spoils_no_other(dev: Comparison) -> None:
    bench, recorder = dev.bench(decode_batch_size=4)
    numbers = [bench.submit(image(prompt, seed=3)) for prompt in ("a tree", POISON, "a cat")]
    bench.finish()
    assert [type(bench.outcome(number)) for number in numbers] == [Finished, Failed, Finished]
    dev.assert_equal(recorder.made)
