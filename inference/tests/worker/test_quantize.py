"""Weights in fewer bits: which layers, how many bytes, how far from whole weights, and what a device refuses.

Distances here are numerics on random weights: they say that the form is the form it claims to be, and nothing of what
a picture looks like.
"""

import importlib.metadata
import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from bench import TEXT_TOKENS, Bench, image
from comparison import Comparison, Recorder, load
from diffusers import FluxTransformer2DModel
from diffusers.quantizers.bitsandbytes import BnB4BitDiffusersQuantizer
from diffusers.quantizers.bitsandbytes import utils as bnb_utils
from gguf_file import write
from stock import Stock

from fluxpool_inference.configuration import EngineConfig, Quantize, QuantizeForm
from fluxpool_inference.ipc.messages import Finished
from fluxpool_inference.outcomes import StartError, StartFailure
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.worker import quantize
from fluxpool_inference.worker.flux import FluxModel
from fluxpool_inference.worker.quantize import CONVERTED, MODULATION

Q4_0_BYTES = 18 / 32
"""Of a weight: blocks of 32 share a scale of 16 bits."""


@pytest.fixture(scope="module")
def gguf_file(dev_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "flux-Q4_0.gguf"
    write(path, load(dev_model)._parts.transformer)
    return path


@dataclass(frozen=True)
class Card:
    """A GPU, as far as these options look at it."""

    type: str = "cuda"


Loaded = Callable[[QuantizeForm], FluxModel]


@pytest.fixture(scope="module")
def loaded(dev_model: Path, gguf_file: Path) -> Loaded:
    """Models by form, each loaded once."""
    models: dict[QuantizeForm, FluxModel] = {}

    def of(form: QuantizeForm) -> FluxModel:
        if form not in models:
            models[form] = load(dev_model, quantize=Quantize(form, str(gguf_file) if form == "gguf" else ""))
        return models[form]

    return of


def linear_layers(model: FluxModel) -> dict[str, torch.nn.Linear]:
    modules = model._parts.transformer.named_modules()
    return {name: layer for name, layer in modules if isinstance(layer, torch.nn.Linear)}


def velocity(model: FluxModel, *neighbours: float) -> torch.Tensor:
    """The first row's, of noise beside rows of noise so many times as large."""
    bucket = Bucket(4, 4, TEXT_TOKENS)
    (text,) = model.encode(["a cat"], TEXT_TOKENS)
    rows = [model.begin(image(seed=seed), bucket, text) for seed in range(1 + len(neighbours))]
    for row, factor in zip(rows[1:], neighbours, strict=True):
        row.latents = row.latents * factor
    with torch.inference_mode():
        return model._velocity(bucket, rows, torch.cat([row.latents for row in rows]))[:1]


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Relative, in the Euclidean norm."""
    return float((found - wanted).norm() / wanted.norm())


FORMS: list[QuantizeForm] = ["int8wo", "int8", "gguf"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_converts_the_linear_layers_of_the_blocks_and_no_other(loaded: Loaded, form: QuantizeForm) -> None:
    wanted = quantize.to_convert(loaded("none")._parts.transformer)
    assert len(wanted) == 20
    assert sorted(quantize.converted(loaded(form)._parts.transformer)) == sorted(wanted)
    assert quantize.converted(loaded("none")._parts.transformer) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_converted_model_is_near_the_whole_one_and_not_it(loaded: Loaded, form: QuantizeForm) -> None:
    found = distance(velocity(loaded(form)), velocity(loaded("none")))
    assert 1e-5 < found < {"int8wo": 0.002, "int8": 0.005, "gguf": 0.02}[form]


@pytest.mark.parametrize("form", FORMS)
def test_resident_bytes_are_those_of_the_form(loaded: Loaded, form: QuantizeForm) -> None:
    layers = linear_layers(loaded("none"))
    names = quantize.converted(loaded(form)._parts.transformer)
    weights = sum(layers[name].weight.numel() for name in names)
    channels = sum(layers[name].weight.shape[0] for name in names)
    whole = quantize.resident_bytes(loaded("none")._parts.transformer)
    saved = whole - quantize.resident_bytes(loaded(form)._parts.transformer)
    if form == "gguf":
        assert saved == 4 * weights - Q4_0_BYTES * weights
    else:  # and a scale for each channel
        assert saved == pytest.approx(4 * weights - weights - 4 * channels, abs=8 * channels)


@pytest.mark.parametrize("form", FORMS)
def test_the_number_of_parameters_is_that_of_the_whole_model(loaded: Loaded, form: QuantizeForm) -> None:
    assert loaded(form).info.parameters == loaded("none").info.parameters


@pytest.mark.parametrize("form", FORMS)
def test_modulations_are_as_large_whatever_their_weights_are(loaded: Loaded, form: QuantizeForm) -> None:
    assert loaded(form).modulation_bytes == loaded("none").modulation_bytes > 0


@pytest.mark.parametrize("form", FORMS)
def test_a_neighbour_a_thousand_times_as_large_changes_no_row(loaded: Loaded, form: QuantizeForm) -> None:
    """A scale for all rows at once would leave the small ones without bits."""
    model = loaded(form)
    assert distance(velocity(model, 1000.0), velocity(model, 1.0)) < 1e-3


def test_scales_of_a_whole_tensor_are_seen_by_that(loaded: Loaded, dev_model: Path) -> None:
    from diffusers import TorchAoConfig
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, PerTensor

    model = loaded("none")
    coupled = FluxTransformer2DModel.from_pretrained(
        dev_model,
        subfolder="transformer",
        dtype=torch.float32,
        quantization_config=TorchAoConfig(
            Int8DynamicActivationInt8WeightConfig(granularity=PerTensor(), set_inductor_config=False)
        ),
    )
    planted = FluxModel(replace(model._parts, transformer=coupled.eval(), modulator=None), model.info, model.device)
    assert distance(velocity(planted, 1000.0), velocity(planted, 1.0)) > 1e-2


def test_modulation_keeps_its_activations_whole_where_others_do_not(loaded: Loaded) -> None:
    dynamic = {
        name: layer.weight.act_quant_kwargs is not None
        for name, layer in linear_layers(loaded("int8")).items()
        if CONVERTED.fullmatch(name)
    }
    assert {name for name, is_dynamic in dynamic.items() if not is_dynamic} == {
        name for name in dynamic if MODULATION.fullmatch(f"{name}.weight")
    }
    assert sum(not is_dynamic for is_dynamic in dynamic.values()) == 3


@pytest.mark.parametrize("form", FORMS)
def test_images_of_a_batch_are_made_of_converted_weights(dev_model: Path, loaded: Loaded, form: QuantizeForm) -> None:
    recorder = Recorder(loaded(form))
    bench = Bench(recorder)
    numbers = [bench.submit(image("a cat", seed=seed, steps=1 + seed)) for seed in range(3)]
    bench.finish()
    assert all(isinstance(bench.outcome(number), Finished) for number in numbers)
    comparison = Comparison(loaded(form), Stock(dev_model, text_tokens=TEXT_TOKENS))
    for request, latents in recorder.made:
        assert distance(latents, comparison.stock.latents(request)) < 0.05


# ---- bitsandbytes, which runs on a GPU only


@pytest.mark.parametrize(("form", "kind"), [("bnb-nf4", "nf4"), ("bnb-fp4", "fp4")])
def test_bitsandbytes_is_told_to_convert_the_blocks_and_nothing_else(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, form: QuantizeForm, kind: str
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.49.0")  # as if it were installed
    how = quantize.arguments(EngineConfig("m", dtype="bfloat16", quantize=Quantize(form)), Card())
    told = how["quantization_config"]
    assert (told.load_in_4bit, told.bnb_4bit_quant_type, told.bnb_4bit_compute_dtype) == (True, kind, torch.bfloat16)
    transformer = loaded("none")._parts.transformer
    last_parts = {name.rpartition(".")[2] for name in quantize.to_convert(transformer)}
    assert last_parts.isdisjoint(told.llm_int8_skip_modules), "it takes them for names of layers, wherever these are"
    assert how["device_map"] == {"": Card()}


class Params4bit(torch.nn.Parameter):
    """As that of bitsandbytes, which converts when it is moved: to whole numbers, so that it can be told."""

    def __new__(cls, data: torch.Tensor | None = None, requires_grad: bool = False, **_: Any) -> "Params4bit":
        made: Params4bit = torch.Tensor._make_subclass(cls, torch.empty(0) if data is None else data, requires_grad)
        return made

    def to(self, *where: Any, **how: Any) -> "Params4bit":
        return Params4bit(self.data.round().to(*where, **how))


class Linear4bit(torch.nn.Linear):
    """As that of bitsandbytes."""

    def __init__(self, inputs: int, outputs: int, bias: bool, *_: Any, **__: Any) -> None:
        super().__init__(inputs, outputs, bias)
        self.weight = Params4bit(self.weight.data)


@pytest.fixture
def bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its place is what diffusers uses of it, and a CPU is taken for its GPU."""
    library = ModuleType("bitsandbytes")
    library.__spec__ = ModuleSpec("bitsandbytes", None)
    library.nn = SimpleNamespace(Linear4bit=Linear4bit, Linear8bitLt=Linear4bit, Params4bit=Params4bit)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bitsandbytes", library)
    monkeypatch.setattr(bnb_utils, "bnb", library, raising=False)
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.49" if name == "bitsandbytes" else version(name))
    monkeypatch.setattr(BnB4BitDiffusersQuantizer, "validate_environment", lambda *_, **__: None)
    monkeypatch.setattr(BnB4BitDiffusersQuantizer, "update_device_map", lambda *_: {"": torch.device("cpu")})


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize("form", ["bnb-nf4", "bnb-fp4"])
@pytest.mark.parametrize("files", ["one file", "several files"])
def test_diffusers_converts_by_bitsandbytes_what_every_form_does_and_the_rest_is_as_in_the_files(
    dev_model: Path, loaded: Loaded, tmp_path: Path, form: QuantizeForm, files: str
) -> None:
    directory = dev_model
    if files == "several files":
        directory = shutil.copytree(dev_model, tmp_path / "model")
        (directory / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
        whole = FluxTransformer2DModel.from_pretrained(dev_model / "transformer")
        whole.save_pretrained(directory / "transformer", max_shard_size="300KB")
    found = load(directory, quantize=Quantize(form))._parts.transformer
    wanted = loaded("none")._parts.transformer
    names = quantize.to_convert(wanted)
    assert quantize.converted(found) == names
    assert "single_transformer_blocks.0.proj_out" in names
    for name, weight in found.state_dict().items():
        is_converted = name.removesuffix(".weight") in names
        assert torch.equal(weight, wanted.state_dict()[name]) is not is_converted, name
    assert not any(weight.requires_grad for weight in found.parameters())


@pytest.mark.usefixtures("bitsandbytes")
def test_a_library_that_leaves_layers_of_the_list_as_they_were_is_an_error(
    dev_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "_NOT_CONVERTED", (*quantize._NOT_CONVERTED, "proj_out"))
    with pytest.raises(StartError) as raised:
        load(dev_model, quantize=Quantize("bnb-nf4"))
    assert raised.value.reason is StartFailure.MODEL_LOAD_FAILED
    assert raised.value.message == (
        "quantize is bnb-nf4, but bitsandbytes has left 1 layers as they were, "
        "such as single_transformer_blocks.0.proj_out"
    )


def test_weights_of_bitsandbytes_count_as_what_they_were_and_take_their_scales_along() -> None:
    weight = torch.nn.Parameter(torch.zeros(32, 1, dtype=torch.uint8), requires_grad=False)  # two of 4 bits in a byte
    scales = {"absmax": torch.zeros(1), "quant_map": torch.zeros(16)}
    weight.quant_state = SimpleNamespace(shape=torch.Size((8, 8)), as_dict=lambda packed: scales if packed else {})  # type: ignore[attr-defined]
    module = torch.nn.Module()
    module.weight = weight
    assert quantize.parameters(module) == 64
    assert quantize.resident_bytes(module) == 32 + 4 + 16 * 4


# ---- GGUF files


def test_a_layer_that_a_file_converts_beyond_the_list_is_made_whole_again(dev_model: Path, tmp_path: Path) -> None:
    write(tmp_path / "more.gguf", load(dev_model)._parts.transformer, also="proj_out.weight")
    model = load(dev_model, quantize=Quantize("gguf", str(tmp_path / "more.gguf")))
    layer = model._parts.transformer.proj_out
    assert type(layer.weight) is torch.nn.Parameter
    assert len(quantize.converted(model._parts.transformer)) == 20
    whole = load(dev_model)._parts.transformer.proj_out
    assert 0.01 < distance(layer.weight, whole.weight) < 0.2
    assert torch.equal(layer.bias, whole.bias)
    assert torch.isfinite(velocity(model)).all()


def refusal(dev_model: Path, file: Path) -> StartError:
    with pytest.raises(StartError) as raised:
        load(dev_model, quantize=Quantize("gguf", str(file)))
    assert "\n" not in raised.value.message
    assert str(file) in raised.value.message
    return raised.value


def test_a_file_that_is_not_there_is_named(dev_model: Path, tmp_path: Path) -> None:
    assert refusal(dev_model, tmp_path / "no.gguf").reason is StartFailure.INVALID_CONFIGURATION


def test_a_file_that_is_no_gguf_is_named(dev_model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"this is no GGUF file at all")
    assert refusal(dev_model, tmp_path / "a.gguf").reason is StartFailure.MODEL_LOAD_FAILED


def test_a_file_without_all_weights_is_no_transformer(dev_model: Path, tmp_path: Path) -> None:
    write(tmp_path / "a.gguf", load(dev_model)._parts.transformer, without="transformer_blocks.0.attn.to_q.weight")
    assert "not the weights of a FLUX transformer" in refusal(dev_model, tmp_path / "a.gguf").message


def test_weights_that_diffusers_passes_over_are_named(
    dev_model: Path, gguf_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does with the guidance embedding, where the file is of schnell and the model is not."""
    true_from_gguf = quantize.from_gguf

    def without_guidance(*arguments: Any) -> Any:
        module = true_from_gguf(*arguments)
        module.time_text_embed.guidance_embedder.to("meta")
        return module

    monkeypatch.setattr(quantize, "from_gguf", without_guidance)
    message = refusal(dev_model, gguf_file).message
    assert "4 weights are not in the file: time_text_embed.guidance_embedder.linear_1.bias" in message


# ---- what a device can run


def checked(form: QuantizeForm, device: Any) -> str:
    """The refusal; empty if there is none."""
    try:
        quantize.check(EngineConfig("m", quantize=Quantize(form, "f" if form == "gguf" else "")), device)
    except StartError as error:
        return f"{error.reason}: {error.message}"
    return ""


@pytest.mark.parametrize("form", ["fp8", "bnb-nf4", "bnb-fp4"])
def test_a_form_that_a_cpu_cannot_run_is_refused_with_those_it_can(form: QuantizeForm) -> None:
    assert checked(form, torch.device("cpu")) == (
        f"DeviceUnavailable: quantize is {form}, which a CPU cannot run; it can: none, int8wo, int8, gguf:FILE"
    )


@pytest.mark.parametrize("form", ["none", *FORMS])
def test_the_other_forms_run_on_a_cpu(form: QuantizeForm) -> None:
    assert checked(form, torch.device("cpu")) == ""


def test_a_gpu_that_is_too_old_for_fp8_says_what_it_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100")
    assert checked("fp8", Card()) == (
        "DeviceUnavailable: quantize is fp8, which NVIDIA A100 cannot run; "
        "it can: none, int8wo, int8, bnb-nf4, bnb-fp4, gguf:FILE"
    )
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert checked("fp8", Card()) == ""


@pytest.mark.parametrize(
    ("form", "library"), [("int8wo", "torchao"), ("gguf", "gguf"), ("fp8", "torchao"), ("bnb-nf4", "bitsandbytes")]
)
def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, form: QuantizeForm, library: str) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == library else object())
    assert checked(form, Card()) == (
        f"InvalidConfiguration: quantize is {form}, which needs the package {library}: "
        "install fluxpool-inference[quantize]"
    )
