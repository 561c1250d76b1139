"""By what attention is computed: named, tried, and refused where it does not work."""

from pathlib import Path
from typing import Any

import pytest
import torch
from comparison import load
from diffusers.models import attention_dispatch

from fluxpool_inference.configuration import AttentionBackend, EngineConfig
from fluxpool_inference.outcomes import StartError, StartFailure
from fluxpool_inference.worker import attention


class Transformer:
    """What a model says of itself, and which of diffusers' backends `work`."""

    dtype = torch.float32

    class config:  # noqa: N801 - diffusers' name
        num_attention_heads = 2
        attention_head_dim = 32

    def __init__(self, *work: str) -> None:
        self.work = work
        self.backend = ""

    def set_attention_backend(self, backend: str) -> None:
        if backend not in self.work:
            raise RuntimeError(f"{backend} is not installed\nlong advice")
        self.backend = backend


class Gpu:
    """A device that is the CPU to torch, and a GPU to those who ask."""

    type = "cuda"


@pytest.fixture(autouse=True)
def _diffusers_own_choice_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers remembers the backend that was set last, for every pipeline of the process."""
    registry = attention_dispatch._AttentionBackendRegistry
    monkeypatch.setattr(registry, "_active_backend", registry._active_backend)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every backend computes what torch's own does."""
    native = attention.dispatch_attention_fn
    true_to = torch.Tensor.to
    monkeypatch.setattr(
        torch.Tensor, "to", lambda tensor, device, *rest: true_to(tensor, "cpu" if device is gpu else device, *rest)
    )
    monkeypatch.setattr(attention, "dispatch_attention_fn", lambda *qkv, backend: native(*qkv, backend="native"))
    gpu = Gpu()
    return gpu


def test_a_cpu_uses_torch_s_own_and_says_so(dev_model: Path) -> None:
    assert load(dev_model).info.runtime.attention == "native"
    assert load(dev_model, attention="native").info.runtime.attention == "native"


@pytest.mark.parametrize(
    ("work", "best"),
    [
        (["native"], "native"),
        (["native", "flash"], "flash2"),
        (["native", "flash", "_native_cudnn"], "cudnn"),
        (["native", "flash", "_native_cudnn", "_flash_3"], "flash3"),
        (["native", "sage"], "native"),
    ],
)
def test_auto_is_the_best_that_works_but_never_one_of_8_bits(gpu: Any, work: list[str], best: AttentionBackend) -> None:
    transformer = Transformer(*work)
    assert attention.use(transformer, EngineConfig("m"), gpu) == best
    assert transformer.backend == attention._NAMES[best]


def test_what_is_asked_for_is_used(gpu: Any) -> None:
    transformer = Transformer("native", "sage", "_flash_3")
    assert attention.use(transformer, EngineConfig("m", attention="sage"), gpu) == "sage"
    assert transformer.backend == "sage"


def refusal(transformer: Any, name: AttentionBackend, device: Any) -> str:
    with pytest.raises(StartError) as raised:
        attention.use(transformer, EngineConfig("m", attention=name), device)
    assert raised.value.reason is StartFailure.DEVICE_UNAVAILABLE
    return raised.value.message


def test_what_does_not_work_is_refused_with_those_that_do(gpu: Any) -> None:
    assert refusal(Transformer("native", "_native_cudnn"), "flash3", gpu) == (
        "attention is flash3, which does not work here (_flash_3 is not installed); can be: native, cudnn"
    )


def test_a_backend_that_computes_something_else_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    native = attention.dispatch_attention_fn
    monkeypatch.setattr(
        attention,
        "dispatch_attention_fn",
        lambda *qkv, backend: native(*qkv, backend="native") * (1 if backend == "native" else 1.2),
    )
    message = refusal(Transformer("native", "_flash_3"), "flash3", torch.device("cpu"))
    assert message == "attention is flash3, which does not work here (its result differs by 0.2); can be: native"


def test_a_real_backend_that_is_not_installed_is_refused(dev_model: Path) -> None:
    with pytest.raises(StartError, match=r"attention is flash3, which does not work here .*; can be: native$"):
        load(dev_model, attention="flash3")
