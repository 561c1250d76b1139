"""From a configuration to a warm model, and what says that there is none."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bench import TEXT_TOKENS, image
from comparison import Comparison
from diffusers import FluxTransformer2DModel

from fluxpool_inference.configuration import EngineConfig, Quantize
from fluxpool_inference.cost_file import cost_file
from fluxpool_inference.outcomes import StartError, StartFailure
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import Calibration, Known
from fluxpool_inference.worker import checkpoint, device, loading, start
from fluxpool_inference.worker.flux import FluxModel
from fluxpool_inference.worker.stages import Stages
from fluxpool_inference.worker.warm_up import WarmUp


@pytest.fixture
def config(dev_model: Path) -> EngineConfig:
    return EngineConfig(
        str(dev_model),
        dtype="float32",
        device="cpu",
        threads=1,
        default_width=96,
        default_height=64,
        max_sequence_length=TEXT_TOKENS,
    )


def test_a_model_starts_warm_with_a_curve_and_its_stages(config: EngineConfig) -> None:
    stages = Stages()
    started = start.start(config, stages)
    assert started.warm.calibration.step_seconds(started.warm.calibration.reference, 8) > 0
    assert started.warm.calibration.shape.inner_dim == 64
    assert started.warm.calibration.shape.blocks == 2
    assert started.device_uuid is None
    assert {stage for stage, seconds in stages.seconds.items() if seconds > 0} == {
        "fetch",
        "load_text_encoders",
        "load_transformer",
        "load_vae",
        "warm_up",
    }


def test_a_start_takes_over_what_was_measured_before_on_such_a_device(
    config: EngineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = replace(config, cache_dir=str(tmp_path))
    before = start.start(kept, Stages())
    assert before.known is None
    known = Known(before.warm.calibration, encode=1.5)
    file = cost_file(before.hardware, kept)
    assert file is not None
    file.write(known)
    asked: list[Calibration | None] = []

    def warm_up(*arguments: Any) -> WarmUp:
        asked.append(arguments[-1])
        return before.warm

    monkeypatch.setattr(start, "warm_up", warm_up)
    assert start.start(kept, Stages()).known == known
    assert asked == [known.calibration]


@pytest.mark.parametrize(
    ("raised", "reason", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), StartFailure.DEVICE_UNAVAILABLE, "no memory for one image"),
        (MemoryError(), StartFailure.DEVICE_UNAVAILABLE, "no memory for one image"),
        (RuntimeError("no kernel\nlong advice"), StartFailure.MODEL_LOAD_FAILED, "cannot be made: no kernel"),
        (IndexError("index 7 is out of range"), StartFailure.MODEL_LOAD_FAILED, "cannot be made: index 7"),
    ],
)
def test_a_model_that_makes_no_image_does_not_start_and_says_of_which_size(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch, raised: Exception, reason: StartFailure, message: str
) -> None:
    def step(*_: Any) -> None:
        raise raised

    monkeypatch.setattr(FluxModel, "step", step)
    with pytest.raises(StartError, match="96x64") as caught:
        start.start(config, Stages())
    assert caught.value.reason is reason
    assert message in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("raised", "reason", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), StartFailure.DEVICE_UNAVAILABLE, "no memory for the weights of"),
        (RuntimeError("CUDA error: busy\nlong advice"), StartFailure.MODEL_LOAD_FAILED, "cannot be loaded: CUDA error"),
    ],
)
def test_weights_that_the_device_does_not_take_say_so(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch, raised: Exception, reason: StartFailure, message: str
) -> None:
    def to(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr(FluxTransformer2DModel, "to", to)
    with pytest.raises(StartError) as caught:
        start.start(config, Stages())
    assert caught.value.reason is reason
    assert config.model in caught.value.message
    assert message in caught.value.message
    assert "\n" not in caught.value.message


# ---- the hardware


@pytest.fixture
def settings_of_torch() -> Iterator[None]:
    """Are those of the whole process: whatever a test makes of them, they are as before afterwards."""
    threads, convolutions = torch.get_num_threads(), torch.backends.cudnn
    precision, allowed = torch.get_float32_matmul_precision(), convolutions.allow_tf32
    products = torch.backends.cuda.matmul
    partial_sums = products.allow_bf16_reduced_precision_reduction
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)
    convolutions.allow_tf32 = allowed
    products.allow_bf16_reduced_precision_reduction = partial_sums


@pytest.mark.usefixtures("settings_of_torch")
@pytest.mark.parametrize("tf32", [False, True])
def test_float32_is_exact_unless_asked_otherwise_in_layers_and_convolutions(tf32: bool) -> None:
    device.set_precision(EngineConfig("m", tf32=tf32))
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (tf32, tf32)


@pytest.mark.usefixtures("settings_of_torch")
def test_partial_sums_of_large_products_may_be_in_bfloat16_whatever_they_were_before() -> None:
    """As torch has it unless told otherwise, so the stock pipeline too."""
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    device.set_precision(EngineConfig("m"))
    assert torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction is True


def test_weights_and_latents_are_in_bfloat16_unless_asked_otherwise_on_a_cpu_too(dev_model: Path) -> None:
    config = EngineConfig(str(dev_model), device="cpu", max_sequence_length=TEXT_TOKENS)
    model = loading.load(config, checkpoint.find(config), device.pick(config))
    parts, bucket = model._parts, Bucket(4, 4, TEXT_TOKENS)
    modules = (parts.transformer, parts.vae, parts.clip, parts.t5)
    assert {weight.dtype for module in modules for weight in module.parameters()} == {torch.bfloat16}
    (text,) = model.encode(["a cat"], TEXT_TOKENS)
    assert model.begin(image(), bucket, text).latents.dtype is torch.bfloat16


@pytest.mark.usefixtures("settings_of_torch")
@pytest.mark.parametrize(("threads", "workers", "expected"), [(3, 2, 3), (None, 1, 6), (None, 2, 3), (None, 8, 1)])
def test_a_start_sets_precision_and_threads_which_workers_share_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, threads: int | None, workers: int, expected: int
) -> None:
    monkeypatch.setattr(device, "cpu_threads", lambda: 6)
    torch.backends.cudnn.allow_tf32 = True
    with pytest.raises(StartError, match="is no directory"):
        start.start(EngineConfig("/nowhere", device="cpu", threads=threads, workers=workers), Stages())
    assert torch.get_num_threads() == expected
    assert not torch.backends.cudnn.allow_tf32


def test_options_that_the_device_cannot_run_are_refused_before_anything_is_loaded(dev_model: Path) -> None:
    with pytest.raises(StartError, match="quantize is fp8, which a CPU cannot run"):
        start.start(EngineConfig("/nowhere", device="cpu", threads=1, quantize=Quantize("fp8")), Stages())
    with pytest.raises(StartError, match="offload is text, which needs a GPU"):
        start.start(EngineConfig("/nowhere", device="cpu", threads=1, offload="text"), Stages())


def test_compiling_is_done_before_costs_are_measured(config: EngineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    true_step = FluxModel.step

    def step(model: FluxModel, bucket: Any, images: Any) -> None:
        rows.append(len(images))
        true_step(model, bucket, images)

    monkeypatch.setattr(FluxModel, "step", step)
    monkeypatch.setattr(start.loading.compilation, "blocks", lambda *_: None)
    stages = Stages()
    start.start(replace(config, compile="blocks"), stages)
    assert rows[:4] == [1, 1, 2, 1]
    assert stages.seconds["compile"] > 0


@pytest.mark.parametrize(
    ("quota", "threads"), [("max 100000", 64), ("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1)]
)
def test_threads_are_the_cores_of_the_cgroup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, threads: int
) -> None:
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert device.cpu_threads(tmp_path) == threads


@pytest.mark.parametrize(("quota", "threads"), [("-1", 64), ("300000", 3)])
def test_threads_are_the_cores_of_a_cgroup_of_version_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, threads: int
) -> None:
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert device.cpu_threads(tmp_path) == threads


def test_without_a_cgroup_threads_are_those_of_the_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: {0, 5, 6})
    assert device.cpu_threads(tmp_path) == 3


def test_want_of_memory_is_known_on_every_device() -> None:
    assert device.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert device.is_out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert device.is_out_of_memory(raised.value)
    assert not device.is_out_of_memory(RuntimeError("shapes do not match"))
    assert not device.is_out_of_memory(ValueError())


def test_a_processor_has_a_name_also_where_it_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch(r".+ x \d+", device.name(torch.device("cpu")))

    def unreadable(path: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", unreadable)
    assert re.fullmatch(r".+ x \d+", device.name(torch.device("cpu")))


def test_a_gpu_has_its_products_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
    assert device.name(torch.device("cuda:0")) == "NVIDIA H200"


@pytest.mark.parametrize(("wanted", "found"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cpu", "cpu")])
def test_a_gpu_is_taken_where_there_is_one_unless_a_cpu_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, wanted: Any, found: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert str(device.pick(EngineConfig("m", device=wanted))) == found


def test_a_copy_in_the_host_s_memory_is_a_copy() -> None:
    there = torch.arange(6).view(2, 3)
    assert torch.equal(device.to_host(there), there)


def test_a_gpu_copies_into_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnCuda(torch.Tensor):
        is_cuda = True

    asked: list[dict[str, Any]] = []
    true_empty_like = torch.empty_like

    def empty_like(tensor: torch.Tensor, **how: Any) -> torch.Tensor:
        asked.append(how)
        return true_empty_like(torch.Tensor(tensor))

    monkeypatch.setattr(torch, "empty_like", empty_like)
    there = torch.arange(6.0).view(2, 3)
    assert torch.equal(device.to_host(there.as_subclass(OnCuda)), there)
    assert asked == [{"device": "cpu", "pin_memory": True}]


def test_a_cpu_is_never_lost() -> None:
    assert device.recover(torch.device("cpu"))
    assert device.uuid(torch.device("cpu")) is None


class Cuda:
    type = "cuda"


def test_a_gpu_whose_synchronization_fails_is_lost_and_else_gives_its_cache_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    def fail(_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("empty_cache"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: done.append("synchronize"))
    assert device.recover(Cuda())  # type: ignore[arg-type]
    assert done == ["synchronize", "empty_cache"]
    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    assert not device.recover(Cuda())  # type: ignore[arg-type]


def test_a_gpu_is_waited_for_and_a_cpu_has_done_all_that_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(device.type))
    device.synchronize(torch.device("cpu"))
    device.synchronize(Cuda())  # type: ignore[arg-type]
    assert waited == ["cuda"]


def test_a_stage_returns_when_the_device_is_done(dev: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[object] = []
    monkeypatch.setattr(device, "synchronize", log.append)
    parts, bucket = dev.model._parts, Bucket(4, 4, TEXT_TOKENS)
    modules = {"T5": parts.t5, "CLIP": parts.clip, "transformer": parts.transformer}
    with ExitStack() as hooks:
        for name, module in modules.items():
            hook = module.register_forward_hook(lambda *_, name=name: log.append(name))
            hooks.callback(hook.remove)
        (text,) = dev.model.encode(["a cat"], TEXT_TOKENS)
        dev.model.step(bucket, [dev.model.begin(image(), bucket, text)])
    assert log == ["T5", "CLIP", dev.model.device, "transformer", dev.model.device]
