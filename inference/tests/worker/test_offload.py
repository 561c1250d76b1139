"""Weights kept elsewhere change no image. Here both places are the CPU's memory; the hooks are those of a GPU."""

from pathlib import Path

import pytest
import torch
from bench import image
from comparison import Comparison, load

from fluxpool_inference.configuration import EngineConfig, OffloadMode
from fluxpool_inference.outcomes import StartError, StartFailure
from fluxpool_inference.worker import offload


@pytest.mark.parametrize("mode", ["text", "group"])
def test_images_equal_stock_whatever_is_offloaded(dev_model: Path, dev: Comparison, mode: OffloadMode) -> None:
    offloaded = Comparison(load(dev_model, offload=mode), dev.stock)
    made = offloaded.together([image("a cat", seed=1, steps=2), image("a dog", seed=2, steps=4)])
    offloaded.assert_equal(made)
    assert offloaded.model.info.runtime.offload == mode


@pytest.mark.parametrize(("mode", "hooked"), [("none", []), ("text", ["clip", "t5"]), ("group", ["clip", "t5", "it"])])
def test_what_is_offloaded_is_what_the_option_says(dev_model: Path, mode: OffloadMode, hooked: list[str]) -> None:
    parts = load(dev_model, offload=mode)._parts
    modules = {"clip": parts.clip, "t5": parts.t5, "it": parts.transformer, "vae": parts.vae}

    def has_hooks(module: torch.nn.Module) -> bool:
        return any(hasattr(part, "_diffusers_hook") for part in module.modules())

    assert [name for name, module in modules.items() if has_hooks(module)] == hooked


@pytest.mark.parametrize("mode", ["text", "group"])
def test_a_cpu_has_nothing_to_offload_from(mode: OffloadMode) -> None:
    with pytest.raises(StartError, match=f"offload is {mode}, which needs a GPU") as raised:
        offload.check(EngineConfig("m", offload=mode), torch.device("cpu"))
    assert raised.value.reason is StartFailure.INVALID_CONFIGURATION
    offload.check(EngineConfig("m"), torch.device("cpu"))
