"""What is measured of memory at warm-up, and what the loop makes of it."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bench import NO_KNEE, TEXT_TOKENS, Bench, VirtualTime, image
from capturing import Rerun
from comparison import load
from fake_model import FakeModel

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.cost_file import cost_file
from fluxpool_inference.ipc.messages import Encoded, RowsLowered, StepDone
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import Calibration, Known
from fluxpool_inference.scheduling.limits import RowLimits
from fluxpool_inference.scheduling.memory import Memory, PeakLine, Space
from fluxpool_inference.worker import loading, memory, start
from fluxpool_inference.worker.memory import CudaGauge, gauge
from fluxpool_inference.worker.stages import Stages
from fluxpool_inference.worker.trial import Trial
from fluxpool_inference.worker.warm_up import WarmUp

BUCKET = Bucket(4, 6, TEXT_TOKENS)
"""56 tokens."""


class Scale:
    """A gauge for a fake model: a step of r rows has 100 r bytes and 50, decoding 700, encoding 30 for each prompt."""

    def __init__(self, model: FakeModel) -> None:
        self._model = model

    def peak(self, work: Callable[[], object]) -> int:
        steps, encodings = len(self._model.steps), len(self._model.encodings)
        work()
        if len(self._model.steps) > steps:
            return 100 * len(self._model.steps[-1]) + 50
        return 30 * self._model.encodings[-1] if len(self._model.encodings) > encodings else 700

    def space(self) -> Space:
        return Space(10_000, 20_000)


def config(**options: Any) -> EngineConfig:
    return EngineConfig("m", default_width=96, default_height=64, **options)


def measured(model: FakeModel, config: EngineConfig, rows_held: int | None = None) -> Memory:
    warm = WarmUp(NO_KNEE, rows_held, prompts_together=(1, 2, 4))
    facts = SimpleNamespace(modulation_bytes=64, tile_pixels=4096)
    return memory.measure(Trial(model, config), config, Scale(model), warm, facts)


def test_steps_of_1_2_4_and_8_rows_are_measured_and_a_decoding_and_the_encoding_of_prompts_together(
    model: FakeModel,
) -> None:
    found = measured(model, config())
    assert [len(step) for step in model.steps] == [1, 2, 4, 8]
    assert found.reference == BUCKET
    assert found.step.fixed_bytes == pytest.approx(50)
    assert found.step.token_bytes == pytest.approx(100 / 56)
    assert (found.encode_bytes, found.decode_bytes, found.tile_pixels, found.row_bytes) == (120, 700, 4096, 64)
    assert found.latent_bytes == pytest.approx(48 / 24)
    assert found.text_bytes == pytest.approx(100 / TEXT_TOKENS)


def test_no_more_rows_are_measured_than_memory_held_or_than_may_ever_run(model: FakeModel) -> None:
    measured(model, config(), rows_held=2)
    assert [len(step) for step in model.steps] == [1, 2]
    model.steps.clear()
    measured(model, config(batch_size=1, batch_size_max=5))
    assert [len(step) for step in model.steps] == [1, 2, 4]


def test_what_fits_is_told_and_sizes_that_will_be_refused(model: FakeModel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    memory.tell(measured(model, config()).within(Space(2_000, 10_000), cache_bytes=100), max_pixels=64 * 96)
    assert [record.message for record in caplog.records] == ["memory"]
    fields = caplog.records[0].fields  # type: ignore[attr-defined]
    assert fields["rows"] == 13
    memory.tell(measured(model, config()).within(Space(2_000, 10_000), cache_bytes=100), max_pixels=2**21)
    assert "max_pixels is 2097152" in caplog.records[-1].message


# ---- the gauge of a GPU


def test_a_cpu_has_no_gauge() -> None:
    assert gauge(torch.device("cpu")) is None
    assert isinstance(gauge(torch.device("cuda", 0)), CudaGauge)


def test_a_peak_is_what_comes_beyond_what_rests_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    held = SimpleNamespace(now=1000, peak=9999)

    def forget(_: object) -> None:
        held.peak = held.now

    def work() -> None:
        held.peak = max(held.peak, held.now + 500)
        held.now += 20

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", forget)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: held.now)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: held.peak)
    assert CudaGauge(torch.device("cuda", 0)).peak(work) == 500
    assert CudaGauge(torch.device("cuda", 0)).peak(lambda: None) == 0


def test_what_the_allocator_merely_keeps_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [300]
    monkeypatch.setattr(torch.cuda, "empty_cache", kept.clear)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (700 - sum(kept), 1000))
    assert CudaGauge(torch.device("cuda", 0)).space() == Space(700, 1000)


# ---- at start, with a real model


class Constant:
    """A gauge that says the same of everything."""

    def __init__(self) -> None:
        self.works = 0

    def peak(self, work: Callable[[], object]) -> int:
        work()
        self.works += 1
        return 10**6

    def space(self) -> Space:
        return Space(10**9, 2 * 10**9)


def graphed(model: Path) -> EngineConfig:
    return EngineConfig(
        str(model),
        dtype="float32",
        device="cpu",
        threads=1,
        default_width=64,
        default_height=64,
        batch_size=2,
        batch_size_max=2,
        max_sequence_length=TEXT_TOKENS,
        prompt_cache_bytes=10**6,
        cuda_graphs="auto",
    )


def test_a_start_measures_memory_and_chooses_graphs(dev_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constant, rerun = Constant(), Rerun()
    monkeypatch.setattr(memory, "gauge", lambda _: constant)
    monkeypatch.setattr(start.graphs, "check", lambda *_: None)
    monkeypatch.setattr(start.loading, "load", partial(loading.load, capture=lambda: rerun))
    warm = start.start(graphed(dev_model), Stages()).warm
    assert constant.works == 4, "steps of one and two rows, a decoding, an encoding"
    assert warm.memory is not None
    assert warm.memory.room_bytes == 10**9 - 10**8 - 10**6
    assert warm.memory.latent_bytes == 64 * 4
    assert rerun.captures >= 1
    assert {timing.rows for timing in warm.graphs} <= {1, 2}
    assert all(timing.problem is None for timing in warm.graphs)


def test_a_start_that_chooses_graphs_knows_what_steps_with_them_took_before(
    dev_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start.graphs, "check", lambda *_: None)
    monkeypatch.setattr(start.loading, "load", partial(loading.load, capture=Rerun))
    config = replace(graphed(dev_model), cache_dir=str(tmp_path))
    asked: list[Calibration | None] = []

    def with_graphs(warm: WarmUp, *arguments: Any) -> WarmUp:
        asked.append(arguments[-1])
        return warm

    monkeypatch.setattr(start, "with_graphs", with_graphs)
    first = start.start(config, Stages())
    file = cost_file(first.hardware, config)
    assert file is not None
    file.write(Known(first.warm.calibration))
    start.start(config, Stages())
    assert asked == [None, first.warm.calibration]


def test_where_nothing_can_be_captured_a_start_says_so_and_goes_on(
    dev_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start.graphs, "check", lambda *_: None)
    warm = start.start(graphed(dev_model), Stages()).warm  # by CUDA's own capture, on a machine without CUDA
    assert warm.graphs
    assert all(timing.problem and not timing.kept for timing in warm.graphs)
    assert warm.memory is None


def test_a_model_says_how_large_a_tile_is(dev_model: Path) -> None:
    assert load(dev_model).tile_pixels is None
    tiled = load(dev_model, vae_tiling=True)
    assert tiled.tile_pixels == tiled._parts.vae.tile_sample_min_size**2


# ---- in the loop


def with_memory(model: FakeModel, time: VirtualTime, room_bytes: int) -> Bench:
    """10 bytes per token of a step, 1 per token of an image in flight; images of the bench have 48 tokens."""
    bench = Bench(model, clock=time.clock())
    bucket = Bucket(4, 4, TEXT_TOKENS)
    holds = Memory(bucket, PeakLine(0.0, 10.0), 0, 0, 1.0, 1.0, room_bytes=room_bytes)
    bench.limits = bench.loop._limits = RowLimits(NO_KNEE, 8, memory=holds)
    return bench


def test_steps_have_the_rows_that_are_predicted_to_fit_so_that_none_runs_out_of_memory() -> None:
    time = VirtualTime()
    model = FakeModel(time.clock(), rows_held=3)
    bench = with_memory(model, time, room_bytes=3 * 480 + 6 * 48)
    for seed in range(1, 7):
        bench.submit(image(seed=seed, steps=2))
    bench.finish()
    assert max(len(step) for step in model.steps) == 3
    assert bench.all(RowsLowered) == []
    assert bench.limits.in_flight_bytes == 0


def test_images_count_as_in_flight_from_their_encoding_to_their_end_or_cancellation() -> None:
    time = VirtualTime()
    bench = with_memory(FakeModel(time.clock()), time, room_bytes=100_000)
    first, second = bench.submit(image(seed=1, steps=3)), bench.submit(image(seed=2, steps=3))
    assert bench.limits.in_flight_bytes == 0
    bench.until(Encoded, first)
    assert bench.limits.in_flight_bytes == 48
    bench.until(StepDone, second)
    assert bench.limits.in_flight_bytes == 96
    bench.cancel(first)
    bench.turn()
    assert bench.limits.in_flight_bytes == 48
    bench.finish()
    assert bench.limits.in_flight_bytes == 0
