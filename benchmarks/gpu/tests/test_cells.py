"""Each kind of cell, on the CPU with a tiny model."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks.gpu import models
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.cells import host_copy
from benchmarks.gpu.cells.agreement import Agreement
from benchmarks.gpu.cells.ceiling import Ceiling
from benchmarks.gpu.cells.decode import Decode
from benchmarks.gpu.cells.host_copy import HostCopy, ways
from benchmarks.gpu.cells.mixed_steps import MixedSteps
from benchmarks.gpu.cells.step import Step
from benchmarks.gpu.cells.whole_image import WholeImage
from benchmarks.gpu.forms import Unavailable
from benchmarks.gpu.scale import TINY
from fluxpool_inference.worker import flux, formulas
from fluxpool_inference.worker.flux import FluxModel, NonFiniteError
from fluxpool_inference.worker.modulation import ModulatedTransformer


def test_a_step_has_its_times_its_operations_and_what_was_measured(bench: Bench) -> None:
    figures = Step("dev", 32, 2, "bf16", "eager").measure(bench)
    assert len(figures["seconds"]) == 5
    assert figures["mean_seconds"] == pytest.approx(sum(figures["seconds"][1:]) / 4)
    assert figures["tflop"] == bench.flops.step("dev", 32, 2)
    assert figures["tflop_per_second"] == figures["tflop"] / figures["median_seconds"]
    assert figures["share_of_reference_rate"] == figures["tflop_per_second"] / 790
    assert (figures["attention"], figures["text_tokens"], figures["peak_memory_bytes"]) == ("native", 16, None)


def test_the_steps_that_times_of_images_are_derived_from_compute_modulations_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    steps = 0
    modulations, step = ModulatedTransformer.modulations, FluxModel.step

    def counted_modulations(*arguments: Any) -> torch.Tensor:
        computed.append(steps)
        return modulations(*arguments)

    def counted_step(*arguments: Any) -> None:
        nonlocal steps
        step(*arguments)
        steps += 1

    monkeypatch.setattr(ModulatedTransformer, "modulations", counted_modulations)
    monkeypatch.setattr(FluxModel, "step", counted_step)
    Step("dev", 32, 2, "bf16", "eager").measure(bench)
    assert steps == 8
    assert [index for index in computed if index >= steps - 4] == [4]


def test_compiled_blocks_are_the_engines_steps_too(bench: Bench) -> None:
    figures = Step("schnell", 32, 2, "bf16", "compiled").measure(bench)
    assert (figures["model"], figures["launch"], figures["text_tokens"]) == ("schnell", "compiled", 8)


def test_a_whole_image_counts_all_its_steps_and_its_decoding(bench: Bench) -> None:
    figures = WholeImage("schnell", 32, "bf16", "eager").measure(bench)
    assert (len(figures["seconds"]), figures["steps"]) == (3, 4)
    assert figures["floor_seconds"] == pytest.approx(bench.flops.image("schnell", 32, 4) / 790)
    assert figures["times_the_floor"] == pytest.approx(figures["median_seconds"] / figures["floor_seconds"])


def test_decoding_and_the_devices_own_rate_are_timed(bench: Bench) -> None:
    assert Decode(32).measure(bench)["tflop"] == bench.flops.decode(32)
    product = Ceiling("bf16").measure(bench)
    assert product["tflop_per_second"] == pytest.approx(2 * 64**3 / 1e12 / product["median_seconds"])


def test_both_ways_to_the_host_bring_the_same_bytes_and_are_timed_by_turns(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = torch.randint(0, 256, (8, 8, 3)).to(torch.uint8)
    assert all(torch.equal(copy(), pixels) for copy in ways(pixels).values())
    with pytest.raises(Unavailable, match="pinned memory needs a CUDA device"):
        HostCopy(32).measure(bench)
    monkeypatch.setattr(host_copy, "require_pinned", lambda _: None)
    figures = HostCopy(32).measure(bench)
    assert figures["bytes"] == 32 * 32 * 3
    assert len(figures["pageable_seconds"]) == len(figures["pinned_seconds"]) == 20
    ratio = figures["pageable_median_seconds"] / figures["pinned_median_seconds"]
    assert figures["pageable_over_pinned"] == ratio


def test_images_of_mixed_steps_are_those_of_the_stock_pipeline(bench: Bench) -> None:
    figures = MixedSteps("fp32", "eager").measure(bench)
    assert figures["worst_error_to_stock"] < 1e-5
    assert len(figures["errors_to_stock"]) == len(figures["engine_done_seconds"]) == 8
    done = figures["engine_done_seconds"]
    assert max(done) == done[1]  # the first of those with the most steps is done with the last
    assert figures["stock_done_seconds"] == sorted(figures["stock_done_seconds"])


def test_no_side_compiles_anything_while_its_mixed_steps_are_timed(bench: Bench) -> None:
    assert MixedSteps("bf16", "compiled").measure(bench)["compilations_while_timed"] == 0


def test_an_engine_that_mixes_up_rows_is_seen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_the_first_row(latents: torch.Tensor, velocity: torch.Tensor, d_sigma: torch.Tensor) -> torch.Tensor:
        return euler_step(latents, velocity, d_sigma[:1].expand_as(d_sigma))

    euler_step = formulas.euler_step
    monkeypatch.setattr(flux, "euler_step", of_the_first_row)
    assert MixedSteps("fp32", "eager").measure(bench)["worst_error_to_stock"] > 0.01


def test_bfloat16_agrees_with_float32_up_to_its_rounding(bench: Bench) -> None:
    assert Agreement("fp32", "eager").measure(bench)["error_to_fp32"] < 1e-6
    figures = Agreement("bf16", "eager").measure(bench)
    assert 1e-4 < figures["error_to_fp32"] < 0.02
    assert figures["difference_in_batch"] < 0.02


def test_the_float32_reference_takes_an_attention_that_has_float32(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "reference", None)
    monkeypatch.setattr(bench, "attention", {"eager": "_native_flash"})
    made: list[tuple[str, str]] = []
    subject = bench.subject

    def noted(model: Any, form: Any) -> Any:
        made.append((form.precision, form.attention))
        return subject(model, form)

    monkeypatch.setattr(bench, "subject", noted)
    Agreement("bf16", "eager").measure(bench)
    assert made == [("fp32", "native"), ("bf16", "_native_flash")]


@pytest.mark.parametrize(
    "cell", [Step("dev", 32, 1, "bf16", "eager"), Agreement("bf16", "eager"), MixedSteps("bf16", "eager")]
)
def test_the_time_of_a_computation_that_went_wrong_counts_for_nothing(
    bench: Bench, cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "reference", torch.zeros(1))
    bench.drop()
    subject = bench.subject("dev", bench.form("bf16", "eager"))
    subject.network.proj_out.weight.fill_(torch.nan)
    with pytest.raises(NonFiniteError):
        cell.measure(bench)
    bench.drop()


@pytest.mark.parametrize(
    "cell",
    [
        Ceiling("fp8"),
        Step("dev", 32, 1, "fp8", "compiled"),
        Step("dev", 32, 1, "bf16", "graphs"),
        Step("dev", 32, 1, "bf16", "eager", attention="_flash_3"),
        HostCopy(32),
    ],
    ids=lambda cell: cell.name,
)
def test_what_a_cpu_does_not_have_is_told(bench: Bench, cell: Any) -> None:
    with pytest.raises(Unavailable):
        cell.measure(bench)


def test_the_model_in_hand_is_kept_while_the_form_is_the_same(bench: Bench) -> None:
    form = bench.form("bf16", "eager")
    first = bench.subject("dev", form)
    assert bench.subject("dev", replace(form)) is first
    assert bench.subject("schnell", form) is not first


def test_random_weights_are_the_same_every_time_and_keep_the_size_of_activations() -> None:
    one, other = (models.transformer(TINY, "dev", torch.device("cpu")).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    weight = one["transformer_blocks.0.ff.net.0.proj.weight"].float()
    assert (weight @ torch.randn(weight.shape[1], 1000)).std().item() == pytest.approx(1, rel=0.1)


def test_steps_take_the_fastest_attention_that_was_measured_for_their_launch(bench: Bench) -> None:
    bench.attention = {"eager": "a", "compiled": "b"}
    attention: Callable[[Any], str] = lambda launch: bench.form("bf16", launch).attention  # noqa: E731
    assert [attention(launch) for launch in ("eager", "compiled", "static", "graphs")] == ["a", "b", "b", "b"]
    bench.attention = {}
    assert attention("eager") == "native"
    assert isinstance(bench.subject("dev", bench.form("bf16", "eager")).flux, FluxModel)
