"""`fluxpool-inference tiny-model`: complete, small, of the real classes, and the same each time."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline

from fluxpool_inference import cli
from fluxpool_inference.tiny_model import write_tiny_model


def size_bytes(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def same(one: Path, other: Path) -> bool:
    file = Path("transformer/diffusion_pytorch_model.safetensors")
    return (one / file).read_bytes() == (other / file).read_bytes()


@pytest.mark.parametrize("kind", ["dev_model", "schnell_model"])
def test_stock_loads_it_offline_and_makes_an_image(request: pytest.FixtureRequest, kind: str) -> None:
    pipeline = FluxPipeline.from_pretrained(request.getfixturevalue(kind), local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a cat", height=64, width=64, num_inference_steps=1, max_sequence_length=16).images[0]
    assert image.size == (64, 64)
    assert len(image.getcolors(maxcolors=64 * 64)) > 100, "no flat colour"


@pytest.mark.parametrize("kind", ["dev_model", "schnell_model"])
def test_it_is_a_few_megabytes(request: pytest.FixtureRequest, kind: str) -> None:
    assert 1e6 < size_bytes(request.getfixturevalue(kind)) < 3e6


def test_dev_has_guidance_embedding_and_shifts_by_size_and_schnell_has_neither(
    dev_model: Path, schnell_model: Path
) -> None:
    for model, kind in ((dev_model, True), (schnell_model, False)):
        assert json.loads((model / "transformer/config.json").read_text())["guidance_embeds"] is kind
        assert json.loads((model / "scheduler/scheduler_config.json").read_text())["use_dynamic_shifting"] is kind


def test_the_small_size_has_36_million_parameters(tmp_path: Path) -> None:
    write_tiny_model(tmp_path, size="small")
    file = tmp_path / "transformer" / "diffusion_pytorch_model.safetensors"
    assert file.stat().st_size / 4e6 == pytest.approx(36, rel=0.05)


def test_widths_are_multiples_of_64(dev_model: Path) -> None:
    pipeline = FluxPipeline.from_pretrained(dev_model, local_files_only=True)
    linear = [module for module in pipeline.transformer.modules() if isinstance(module, torch.nn.Linear)]
    assert len(linear) > 10
    assert all(layer.in_features % 64 == 0 and layer.out_features % 64 == 0 for layer in linear)


def test_a_prompt_matters_to_both_text_encoders(dev_model: Path) -> None:
    pipeline = FluxPipeline.from_pretrained(dev_model, local_files_only=True)
    cat, dog = (pipeline.encode_prompt(text, text, max_sequence_length=16)[:2] for text in ("a cat", "a dog"))
    assert not torch.allclose(cat[0], dog[0])
    assert not torch.allclose(cat[1], dog[1])


def test_the_command_writes_what_its_options_say(tmp_path: Path, schnell_model: Path) -> None:
    directory = tmp_path / "new" / "folder"
    assert cli.main(["tiny-model", str(directory), "--schnell"]) == 0
    assert same(directory, schnell_model)


def test_the_same_seed_writes_the_same_weights_and_leaves_torch_s_generator_alone(
    tmp_path: Path, dev_model: Path
) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    write_tiny_model(tmp_path / "same")
    assert torch.equal(torch.random.get_rng_state(), before)
    write_tiny_model(tmp_path / "other", seed=1)
    assert same(tmp_path / "same", dev_model)
    assert not same(tmp_path / "other", dev_model)
