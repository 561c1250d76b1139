"""What warm-up measures, on a fake model in virtual time."""

from collections.abc import Container, Sequence
from dataclasses import replace

import pytest
from bench import TEXT_TOKENS, VirtualTime
from fake_model import FakeModel, Path

from fluxpool_inference.configuration import EngineConfig, Pace
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import Calibration, TransformerShape
from fluxpool_inference.worker.trial import STEPS
from fluxpool_inference.worker.warm_up import WarmUp, warm_up

EACH_ONCE = [rows for rows in (1, 2, 4, 8) for _ in range(1 + STEPS)]
"""Rows of steps: one for kernels and memory, and one image's that are timed."""


def config(**options: object) -> EngineConfig:
    return EngineConfig("m", default_width=96, default_height=64, **options)  # type: ignore[arg-type]


def measured(time: VirtualTime, model: FakeModel, before: Calibration | None = None, **options: object) -> WarmUp:
    return warm_up(model, config(**options), time.clock(), before)


def test_the_curve_of_the_default_size_and_the_other_stages_are_measured(time: VirtualTime, model: FakeModel) -> None:
    warm = measured(time, model)
    assert warm.rows_held is None
    assert warm.calibration.reference == Bucket(4, 6, TEXT_TOKENS)
    assert warm.calibration.step.fixed_seconds == pytest.approx(0.4)
    assert warm.calibration.step.per_row_seconds == pytest.approx(0.1)
    assert warm.calibration.encode_seconds == pytest.approx(0.05)
    assert warm.calibration.decode_seconds == pytest.approx(0.2)
    assert {len(step) for step in model.steps} == {1, 2, 4, 8}


def test_a_pace_is_not_waited_for_but_kept(time: VirtualTime, model: FakeModel) -> None:
    warm = measured(time, model, pace=Pace(100.0, 0.0))
    assert time.seconds < 100
    assert warm.calibration.step_seconds(warm.calibration.reference, 2) == pytest.approx(100.0)


def test_no_more_rows_are_tried_than_may_ever_run(time: VirtualTime, model: FakeModel) -> None:
    measured(time, model, batch_size=2, batch_size_max=3)
    assert {len(step) for step in model.steps} == {1, 2}


def test_rows_that_memory_does_not_hold_are_no_error_but_a_limit(time: VirtualTime, model: FakeModel) -> None:
    model.rows_held = 5
    warm = measured(time, model)
    assert warm.rows_held == 4
    assert warm.calibration.step.per_row_seconds == pytest.approx(0.1)
    assert model.recoveries == 1


def test_memory_for_not_even_one_row_is_an_error(time: VirtualTime, model: FakeModel) -> None:
    model.rows_held = 0
    with pytest.raises(MemoryError):
        measured(time, model)


def test_an_error_that_is_no_want_of_memory_is_an_error(
    time: VirtualTime, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "decode", lambda bucket, trajectory: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        measured(time, model)


@pytest.mark.parametrize(
    ("exact", "most", "together"),
    [
        (range(1, 101), 64, (1, 2, 3, 4, 5, 6, 7, 8)),
        (range(1, 6), 64, (1, 2, 3, 4, 5)),
        ({1, 2, 4, 8}, 64, (1, 2, 4, 8)),
        ({1}, 64, (1,)),
        (range(1, 9), 3, (1, 2, 3)),
    ],
)
def test_prompts_share_a_forward_in_numbers_at_which_each_is_as_it_is_alone(
    time: VirtualTime, model: FakeModel, exact: Container[int], most: int, together: tuple[int, ...]
) -> None:
    model.exact_together = exact
    assert measured(time, model, batch_size=1, batch_size_max=most).prompts_together == together


def test_prompts_that_memory_does_not_hold_together_are_encoded_apart(
    time: VirtualTime, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_encode = model.encode

    def encode(prompts: Sequence[str], text_tokens: int) -> object:
        if len(prompts) > 2:
            raise MemoryError("too many")
        return true_encode(prompts, text_tokens)

    monkeypatch.setattr(model, "encode", encode)
    assert measured(time, model).prompts_together == (1, 2)
    assert model.recoveries == 1


def test_an_error_in_encoding_prompts_together_is_an_error(
    time: VirtualTime, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_encode = model.encode
    monkeypatch.setattr(
        model, "encode", lambda prompts, tokens: true_encode(prompts, tokens) if len(prompts) == 1 else 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        measured(time, model)


def test_the_first_run_of_each_stage_does_not_count(time: VirtualTime, model: FakeModel) -> None:
    true_encode, runs = model.encode, 0

    def encode(prompts: Sequence[str], text_tokens: int) -> object:
        nonlocal runs
        runs += 1
        time.seconds += 60 if runs == 1 else 0  # kernels are compiled, say
        return true_encode(prompts, text_tokens)

    model.encode = encode  # type: ignore[method-assign, assignment]
    assert measured(time, model).calibration.encode_seconds == pytest.approx(0.05)


def test_slow_stages_run_fewer_times(time: VirtualTime, model: FakeModel) -> None:
    model.fixed_seconds = 30.0
    measured(time, model)
    assert [len(step) for step in model.steps] == EACH_ONCE


def test_steps_bear_their_share_of_what_an_image_s_first_step_does_for_the_others(
    time: VirtualTime, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_step = model.step

    def step(bucket: Bucket, images: Sequence[Path]) -> None:
        time.seconds += 2.0 * len(images) if images[0].index == 0 else 0.0
        true_step(bucket, images)

    monkeypatch.setattr(model, "step", step)
    calibration = measured(time, model).calibration
    assert calibration.step.fixed_seconds == pytest.approx(0.4)
    assert calibration.step.per_row_seconds == pytest.approx(0.1 + 2.0 / 4)
    again = measured(time, model, calibration).calibration
    assert again.step.per_row_seconds == pytest.approx(calibration.step.per_row_seconds)


# ---- what an earlier server measured


def test_what_was_measured_before_is_kept_if_one_run_of_each_confirms_it(time: VirtualTime, model: FakeModel) -> None:
    before = measured(time, model).calibration
    model.steps.clear()
    model.fixed_seconds, model.per_row_seconds, model.decode_seconds = 0.46, 0.11, 0.17
    found = measured(time, model, before).calibration
    assert found.step.fixed_seconds == pytest.approx(before.step.fixed_seconds)
    assert found.step.per_row_seconds == pytest.approx(before.step.per_row_seconds)
    assert (found.encode_seconds, found.decode_seconds) == (before.encode_seconds, before.decode_seconds)
    assert [len(step) for step in model.steps] == EACH_ONCE


def test_what_is_not_confirmed_is_measured_anew_and_only_that(time: VirtualTime, model: FakeModel) -> None:
    before = measured(time, model).calibration
    model.steps.clear()
    model.fixed_seconds, model.per_row_seconds = 0.2, 0.02
    found = measured(time, model, before).calibration
    assert (found.step.fixed_seconds, found.step.per_row_seconds) == pytest.approx((0.2, 0.02))
    assert (found.encode_seconds, found.decode_seconds) == (before.encode_seconds, before.decode_seconds)
    assert len(model.steps) > len(EACH_ONCE)


def test_steps_without_cuda_graphs_are_not_taken_for_those_with_that_were_measured_before(
    time: VirtualTime, model: FakeModel
) -> None:
    before = measured(time, model).calibration
    model.fixed_seconds, model.encode_seconds = 0.46, 0.055
    found = measured(time, model, before, cuda_graphs="auto").calibration
    assert found.step.fixed_seconds == pytest.approx(0.46)
    assert found.encode_seconds == before.encode_seconds


@pytest.mark.parametrize("other", ["size", "model"])
def test_what_was_measured_of_another_size_or_model_is_not_kept(
    time: VirtualTime, model: FakeModel, other: str
) -> None:
    before = measured(time, model).calibration
    change = {"reference": Bucket(4, 4, TEXT_TOKENS)} if other == "size" else {"shape": TransformerShape(128, 2)}
    model.encode_seconds = 0.055
    found = measured(time, model, replace(before, **change)).calibration  # type: ignore[arg-type]
    assert found.encode_seconds == pytest.approx(0.055)


def test_rows_that_memory_no_longer_holds_are_a_limit_also_where_costs_are_known(
    time: VirtualTime, model: FakeModel
) -> None:
    before = measured(time, model).calibration
    model.rows_held = 2
    assert measured(time, model, before).rows_held == 2
