"""A model that lacks something, or has something else, is refused by name; nothing is ever filled in at random."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from bench import TEXT_TOKENS
from diffusers import DiffusionPipeline, FluxPipeline, FluxTransformer2DModel
from hub_cache import fill_cache
from safetensors.torch import load_file, save_file
from transformers import T5EncoderModel

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.outcomes import StartError, StartFailure
from fluxpool_inference.worker import checkpoint, device, loading
from fluxpool_inference.worker.flux import FluxModel

WEIGHTS = {
    "transformer": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
    "text_encoder_2": "model.safetensors",
}
CONFIGS = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    *(f"{folder}/config.json" for folder in WEIGHTS),
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer_2/tokenizer.json",
    "tokenizer_2/tokenizer_config.json",
]
A_WEIGHT = {
    "transformer": "single_transformer_blocks.0.proj_mlp.weight",
    "vae": "decoder.conv_in.weight",
    "text_encoder": "encoder.layers.0.mlp.fc1.weight",
    "text_encoder_2": "encoder.block.0.layer.0.SelfAttention.q.weight",
}


@pytest.fixture
def model(dev_model: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(dev_model, tmp_path / "model")


def load(model: str | Path, **options: Any) -> FluxModel:
    usual = {"dtype": "float32", "device": "cpu", "max_sequence_length": TEXT_TOKENS}
    config = EngineConfig(str(model), **(usual | options))
    return loading.load(config, checkpoint.find(config), torch.device("cpu"))


def refusal(model: str | Path) -> str:
    with pytest.raises(StartError) as raised:
        load(model)
    assert raised.value.reason is StartFailure.MODEL_LOAD_FAILED
    assert "\n" not in raised.value.message
    return raised.value.message


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def respell(file: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


# ---- what loads


def test_both_kinds_of_model_are_known_by_their_guidance_embedding(dev_model: Path, schnell_model: Path) -> None:
    dev, schnell = load(dev_model).info, load(schnell_model).info
    assert (dev.family, dev.guidance_embeds, dev.default_guidance, dev.default_steps) == ("flux-dev", True, 3.5, 28)
    assert (schnell.family, schnell.guidance_embeds, schnell.default_guidance) == ("flux-schnell", False, None)
    assert schnell.default_steps == 4
    assert dev.name == str(dev_model)
    assert dev.parameters == sum(weight.numel() for weight in load(dev_model)._parts.transformer.parameters())


def test_the_text_length_is_the_model_s_unless_configured(dev_model: Path, schnell_model: Path) -> None:
    lengths = [load(model, max_sequence_length=None).info.max_sequence_length for model in (dev_model, schnell_model)]
    assert lengths == [512, 256]
    assert load(dev_model).info.max_sequence_length == TEXT_TOKENS


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_weight_is_as_stock_has_it_in_every_precision(dev_model: Path, dtype: Any) -> None:
    parts = load(dev_model, dtype=dtype)._parts
    stock = FluxPipeline.from_pretrained(dev_model, dtype=getattr(torch, dtype), local_files_only=True)
    for ours, theirs in (
        (parts.transformer, stock.transformer),
        (parts.vae, stock.vae),
        (parts.clip, stock.text_encoder),
        (parts.t5, stock.text_encoder_2),
    ):
        wanted = theirs.state_dict()
        found = ours.state_dict()
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) and found[name].dtype == wanted[name].dtype for name in found)
        assert not ours.training
        assert not any(weight.requires_grad for weight in ours.parameters())


def test_weights_in_several_files_load(model: Path) -> None:
    _reshard(model)
    assert len(list((model / "transformer").glob("*.safetensors"))) > 1
    whole = load(model)
    assert whole.info.family == "flux-dev"


def test_clip_weights_load_under_the_names_that_flux_1_s_own_files_have(dev_model: Path, model: Path) -> None:
    def rename(weights: dict[str, torch.Tensor]) -> None:
        for name in list(weights):
            weights["text_model." + name] = weights.pop(name)

    respell(model / "text_encoder" / WEIGHTS["text_encoder"], rename)
    found, wanted = (load(source)._parts.clip.state_dict() for source in (model, dev_model))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def _reshard(model: Path) -> None:
    transformer = FluxTransformer2DModel.from_pretrained(model / "transformer")
    t5 = T5EncoderModel.from_pretrained(model / "text_encoder_2")
    for folder in ("transformer", "text_encoder_2"):
        (model / folder / WEIGHTS[folder]).unlink()
    transformer.save_pretrained(model / "transformer", max_shard_size="300KB")
    t5.save_pretrained(model / "text_encoder_2", max_shard_size="60KB")


# ---- files


@pytest.mark.parametrize("name", [*CONFIGS, *(f"{folder}/{file}" for folder, file in WEIGHTS.items())])
def test_a_missing_file_is_named(model: Path, name: str) -> None:
    (model / name).unlink()
    message = refusal(model)
    assert Path(name).name in message
    assert Path(name).parent.name in message


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("content", ["", "{}", None], ids=["empty", "an empty object", "cut off"])
def test_a_broken_description_is_named(model: Path, name: str, content: str | None) -> None:
    file = model / name
    file.write_text(file.read_text()[:-12] if content is None else content)
    assert (Path(name).parent.name or "model") in refusal(model)


@pytest.mark.parametrize("folder", WEIGHTS)
@pytest.mark.parametrize("spoil", [lambda data: b"", lambda data: data[:-500], lambda data: b"x" * 5000])
def test_a_broken_file_of_weights_is_named(model: Path, folder: str, spoil: Callable[[bytes], bytes]) -> None:
    file = model / folder / WEIGHTS[folder]
    file.write_bytes(spoil(file.read_bytes()))
    assert folder in refusal(model)


@pytest.mark.parametrize("folder", ["transformer", "text_encoder_2"])
def test_a_missing_file_of_several_is_named(model: Path, folder: str) -> None:
    _reshard(model)
    shard = min((model / folder).glob("*-00002-of-*.safetensors"))
    shard.unlink()
    message = refusal(model)
    assert folder in message
    assert shard.name in message


# ---- weights


@pytest.mark.parametrize("folder", WEIGHTS)
def test_a_missing_weight_is_named(model: Path, folder: str) -> None:
    name = A_WEIGHT[folder]
    respell(model / folder / WEIGHTS[folder], lambda weights: weights.__delitem__(name))
    message = refusal(model)
    assert folder in message
    assert name in message


@pytest.mark.parametrize("folder", WEIGHTS)
def test_a_weight_of_another_shape_is_named(model: Path, folder: str) -> None:
    name = A_WEIGHT[folder]

    def halve(weights: dict[str, torch.Tensor]) -> None:
        weights[name] = weights[name][::2].clone()

    respell(model / folder / WEIGHTS[folder], halve)
    message = refusal(model)
    assert folder in message
    assert name in message
    assert "pass both" not in message, "no advice about calls that the reader does not make"


@pytest.mark.parametrize("folder", ["transformer", "vae"])
def test_a_weight_that_the_description_has_no_place_for_is_named(model: Path, folder: str) -> None:
    respell(model / folder / WEIGHTS[folder], lambda weights: weights.update({"one_block_more": torch.zeros(2)}))
    assert (
        refusal(model) == f"{folder}: 1 weights have no place in the model that config.json describes: one_block_more"
    )


def test_many_missing_weights_are_counted_and_the_first_ones_named(model: Path) -> None:
    respell(model / "text_encoder" / WEIGHTS["text_encoder"], lambda weights: weights.clear())
    message = refusal(model)
    assert "weights are not in the files" in message
    assert message.count(",") == 4
    assert "more" in message


# ---- kinds


@pytest.mark.parametrize("kind", ["FluxFillPipeline", "FluxKontextPipeline", "StableDiffusion3Pipeline"])
def test_another_pipeline_is_refused_by_name(model: Path, kind: str) -> None:
    edit(model / "model_index.json", _class_name=kind)
    message = refusal(model)
    assert kind in message
    assert "FluxPipeline" in message


@pytest.mark.parametrize("kind", ["FlowMatchHeunDiscreteScheduler", "EulerDiscreteScheduler"])
def test_another_scheduler_is_refused_by_name_wherever_it_is_named(model: Path, kind: str) -> None:
    edit(model / "scheduler" / "scheduler_config.json", _class_name=kind)
    assert kind in refusal(model)
    edit(model / "scheduler" / "scheduler_config.json", _class_name="FlowMatchEulerDiscreteScheduler")
    edit(model / "model_index.json", scheduler=["diffusers", kind])
    assert kind in refusal(model)


def test_stochastic_sampling_is_refused_by_name(model: Path) -> None:
    edit(model / "scheduler" / "scheduler_config.json", stochastic_sampling=True)
    assert "stochastic_sampling" in refusal(model)


def test_a_fill_or_control_transformer_is_refused_by_its_channels(model: Path) -> None:
    edit(model / "transformer" / "config.json", in_channels=384)
    assert "384 channels" in refusal(model)


def test_a_tokenizer_of_another_text_encoder_is_refused(model: Path) -> None:
    tokens = json.loads((model / "tokenizer_2" / "tokenizer.json").read_text())
    tokens["model"]["vocab"] += [[f"word{number}", -4.0] for number in range(50)]
    (model / "tokenizer_2" / "tokenizer.json").write_text(json.dumps(tokens))
    assert re.fullmatch(r"tokenizer_2 has \d+ tokens, and its text encoder knows \d+", refusal(model))


def test_a_tokenizer_of_another_kind_is_refused(model: Path) -> None:
    shutil.rmtree(model / "tokenizer_2")
    shutil.copytree(model / "tokenizer", model / "tokenizer_2")
    assert "tokenizer_2" in refusal(model)


def test_a_tokenizer_that_pads_to_another_length_is_refused(model: Path) -> None:
    edit(model / "tokenizer" / "tokenizer_config.json", model_max_length=64)
    assert refusal(model) == "tokenizer has a model_max_length of 64, and its text encoder has 77 positions"


# ---- places

of_the_hub = pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks` argument:UserWarning")
"""How diffusers calls it."""


@pytest.mark.parametrize("model", ["/nowhere/flux", "./flux", "flux", "a/b/c", "~/flux"])
def test_a_path_that_is_no_directory_is_named(model: str) -> None:
    assert refusal(model) == f"model {model!r} is no directory"


@of_the_hub
def test_a_hub_id_that_is_not_in_the_cache_is_named_when_offline() -> None:
    assert "acme/flux" in refusal("acme/flux")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, with nothing in it."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@of_the_hub
def test_a_model_of_the_hub_s_cache_is_the_one_of_its_files(hub: Path, dev_model: Path) -> None:
    fill_cache(hub, "acme/flux", dev_model)
    found = load("acme/flux")
    assert found.info == replace(load(dev_model).info, name="acme/flux")


@of_the_hub
def test_what_the_hub_s_cache_lacks_of_a_model_is_named(hub: Path, model: Path) -> None:
    (model / "vae" / WEIGHTS["vae"]).unlink()
    fill_cache(hub, "acme/flux", model)
    assert refusal("acme/flux").startswith("vae: ")


@of_the_hub
def test_a_download_that_breaks_off_says_of_what(hub: Path, dev_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise ConnectionError("the hub went away\nlong advice")

    fill_cache(hub, "acme/flux", dev_model)
    monkeypatch.setattr(DiffusionPipeline, "download", download)
    assert refusal("acme/flux") == "download of 'acme/flux': the hub went away"


def test_a_gpu_that_is_not_there_is_no_model_failure() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, so its absence cannot be shown")
    with pytest.raises(StartError, match="GPU") as raised:
        device.pick(EngineConfig("m", device="cuda"))
    assert raised.value.reason is StartFailure.DEVICE_UNAVAILABLE
    assert device.pick(EngineConfig("m")).type == "cpu"
