"""What the engine is told by options that depend on each other, or on variables that are not fluxpool's own."""

from pathlib import Path

import pytest

from fluxpool_inference.engine import Quantize
from fluxpool_inference.settings import ServeSettings


@pytest.mark.parametrize(
    ("options", "workers", "device"),
    [
        ({}, 1, "auto"),
        ({"gpu_count": 2}, 2, "cuda"),  # several workers by default are those of several GPUs, never of one CPU
        ({"gpu_count": 2, "workers": 2}, 2, "cuda"),
        ({"gpu_count": 2, "device": "cuda"}, 2, "cuda"),
        ({"gpu_count": 2, "device": "cpu"}, 1, "cpu"),
        ({"workers": 3, "device": "cpu"}, 3, "cpu"),
    ],
)
def test_each_gpu_has_a_worker_and_a_cpu_as_many_as_are_asked_for(
    options: dict[str, object], workers: int, device: str
) -> None:
    config = ServeSettings.model_validate({"model": "m"} | options).engine_config()
    assert (config.workers, config.device) == (workers, device)


def test_what_a_restart_should_know_is_kept_beside_the_models_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HOME", raising=False)
    assert ServeSettings(model="m").engine_config().cache_dir is None
    monkeypatch.setenv("HF_HOME", "/var/cache/fluxpool")
    assert ServeSettings(model="m").engine_config().cache_dir == "/var/cache/fluxpool/fluxpool"
    assert ServeSettings(model="m", cache_dir=Path("/x")).engine_config().cache_dir == "/x"


def test_the_hub_token_is_a_variable_only_and_empty_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert ServeSettings(model="m").engine_config().token == "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "")
    assert ServeSettings(model="m").engine_config().token is None


def test_what_is_compiled_is_kept_on_the_volume_of_the_weights_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HOME", "/var/cache/weights")
    assert ServeSettings(model="m").engine_config().compile_cache == "/var/cache/weights/fluxpool/compile"
    assert ServeSettings(model="m", compile_cache="/mine").engine_config().compile_cache == "/mine"
    monkeypatch.delenv("HF_HOME")
    assert ServeSettings(model="m").engine_config().compile_cache is None


def test_a_gguf_file_is_part_of_the_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXPOOL_QUANTIZE", "gguf:/models/flux:1.gguf")
    quantize = ServeSettings(model="m").engine_config().quantize
    assert quantize == Quantize("gguf", "/models/flux:1.gguf")
    assert str(quantize) == "gguf:/models/flux:1.gguf"
