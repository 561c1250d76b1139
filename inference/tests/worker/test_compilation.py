"""Compiled blocks: what is refused, what is kept, and that images stay what they are."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bench import TEXT_TOKENS, image
from comparison import Comparison, load
from diffusers import FluxTransformer2DModel
from gguf_file import write
from stock import Stock
from torch._dynamo.utils import counters
from torchao import quantization as torchao

from fluxpool_inference.configuration import EngineConfig, Quantize, QuantizeForm
from fluxpool_inference.outcomes import StartError, StartFailure
from fluxpool_inference.tiny_model import write_tiny_model
from fluxpool_inference.worker import compilation
from fluxpool_inference.worker.modulation import STEPS_AHEAD, ModulatedTransformer, modulated
from fluxpool_inference.worker.quantize import MODULATION
from fluxpool_inference.worker.warm_up import first_steps

CPU = torch.device("cpu")


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)


def refusal(config: EngineConfig, device: torch.device) -> str:
    with pytest.raises(StartError) as raised:
        compilation.check(config, device)
    assert raised.value.reason is StartFailure.INVALID_CONFIGURATION
    return raised.value.message


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_compiling_is_refused_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    config = EngineConfig("m", compile="blocks")
    needs = "compile is blocks, which needs a compiler:"
    assert refusal(config, CPU) == f"{needs} g++ or clang++ is not on the PATH"
    assert refusal(config, torch.device("cuda", 0)) == f"{needs} gcc or clang is not on the PATH"
    monkeypatch.setenv("CXX", "mycc")
    assert refusal(config, CPU) == f"{needs} mycc is not on the PATH"
    compilation.check(EngineConfig("m"), CPU)


class Blocks:
    """A transformer that notes how it is to be compiled."""

    def __init__(self) -> None:
        self.options: dict[str, object] = {}

    def compile_repeated_blocks(self, **options: object) -> None:
        self.options = options


@pytest.fixture
def variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back what the compiler's cache was."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "before")


@pytest.mark.usefixtures("variable")
def test_blocks_are_compiled_whole_for_all_shapes_into_the_configured_cache(tmp_path: Path) -> None:
    transformer, cache = Blocks(), tmp_path / "a" / "cache"
    compilation.blocks(transformer, EngineConfig("m", compile="blocks", compile_cache=str(cache)))
    assert transformer.options == {"fullgraph": True, "dynamic": True}
    assert cache.is_dir()
    assert compilation.os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(cache)


@pytest.mark.usefixtures("variable")
def test_without_a_configured_cache_it_is_the_compiler_s_own() -> None:
    transformer = Blocks()
    compilation.blocks(transformer, EngineConfig("m", compile="blocks"))
    assert transformer.options == {"fullgraph": True, "dynamic": True}
    assert compilation.os.environ["TORCHINDUCTOR_CACHE_DIR"] == "before"


@pytest.mark.usefixtures("variable")
def test_off_compiles_nothing() -> None:
    transformer = Blocks()
    compilation.blocks(transformer, EngineConfig("m", compile_cache="/proc/none"))
    assert transformer.options == {}


@pytest.mark.usefixtures("variable")
@pytest.mark.parametrize("cache", ["/proc/none/cache", "/proc/version"])
def test_a_cache_that_cannot_be_made_is_named(cache: str) -> None:
    with pytest.raises(StartError, match=f"compile_cache: {cache} cannot be made a directory"):
        compilation.blocks(Blocks(), EngineConfig("m", compile="blocks", compile_cache=str(cache)))


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation.os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))  # root may
    with pytest.raises(StartError, match=f"compile_cache: {tmp_path} cannot be written") as raised:
        compilation.blocks(Blocks(), EngineConfig("m", compile="blocks", compile_cache=str(tmp_path)))
    assert raised.value.reason is StartFailure.INVALID_CONFIGURATION


# ---- how often is compiled, by a compiler that runs everything as it is


@pytest.fixture
def fresh_compiler(variable: None) -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


class Counted:
    """A compiler, as torch sees it."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        self.graphs += 1
        return graph.forward


WIDTH = 64


def deep(convert: Callable[[ModulatedTransformer], None] = lambda transformer: None) -> ModulatedTransformer:
    """Two blocks of either kind, with random weights."""
    transformer = FluxTransformer2DModel(
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=32,
        num_attention_heads=WIDTH // 32,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(8, 12, 12),
    )
    transformer = modulated(transformer.eval().requires_grad_(requires_grad=False))
    convert(transformer)
    return transformer


def to_fp8(transformer: ModulatedTransformer) -> None:
    """Modulations alone: the products of all other layers need a GPU."""
    _modulations_to(torchao.Float8WeightOnlyConfig(set_inductor_config=False), transformer)


def to_int8(transformer: ModulatedTransformer) -> None:
    _modulations_to(torchao.Int8WeightOnlyConfig(set_inductor_config=False), transformer)


def _modulations_to(config: Any, transformer: ModulatedTransformer) -> None:
    torchao.quantize_(transformer, config, filter_fn=lambda _, name: MODULATION.fullmatch(f"{name}.weight") is not None)


@torch.inference_mode()
def run(transformer: ModulatedTransformer, rows: int, image_tokens: int, steps: int) -> None:
    """A step of so many rows, with modulations for so many steps of each."""
    ahead = rows * steps
    modulations = transformer.modulations(torch.rand(ahead) * 1000, [3.5] * ahead, torch.randn(ahead, WIDTH))
    rotary = transformer.rotary(torch.zeros(TEXT_TOKENS, 3), torch.zeros(image_tokens, 3))
    latents, text = torch.randn(rows, image_tokens, 64), torch.randn(rows, TEXT_TOKENS, WIDTH)
    transformer(latents, text, modulations[:rows], rotary)


@pytest.mark.usefixtures("fresh_compiler")
def test_all_blocks_of_a_kind_and_all_modulations_of_a_shape_share_two_compilations() -> None:
    """Two for each of two kinds, and two for each of two shapes."""
    counted, transformer = Counted(), deep(to_fp8)
    compilation.prepare(transformer, "fp8", fullgraph=True, dynamic=True, backend=counted)
    for rows in (1, 2):  # as `first_steps`, with as many text tokens as image tokens
        run(transformer, rows, TEXT_TOKENS, steps=1)
    assert counted.graphs == 8
    with torch._dynamo.config.patch(error_on_recompile=True):
        for rows, image_tokens, steps in ((1, 36, 4), (3, TEXT_TOKENS, 4), (8, 4, 1), (1, 16, 1)):
            run(transformer, rows, image_tokens, steps)
    assert counted.graphs == 8


@pytest.mark.parametrize("form", ["none", "int8wo", "int8"])
def test_modulations_whose_weights_one_kernel_converts_are_left_alone(form: QuantizeForm) -> None:
    transformer = deep() if form == "none" else deep(to_int8)
    compilation.prepare(transformer, form, fullgraph=True, dynamic=True, backend=Counted())
    assert [name for name, module in transformer.named_modules() if module._compiled_call_impl is not None] == [
        *(f"transformer_blocks.{number}" for number in range(2)),
        *(f"single_transformer_blocks.{number}" for number in range(2)),
    ]


# ---- the real compiler, which takes a minute on two cores for both kinds of blocks


@pytest.mark.usefixtures("fresh_compiler")
def test_images_of_one_kind_of_blocks_compiled_equal_stock(
    dev_model: Path, dev: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one compilation, of steps of several rows, in half a minute."""
    monkeypatch.setattr(FluxTransformer2DModel, "_repeated_blocks", ["FluxSingleTransformerBlock"])
    model = load(dev_model, compile="blocks", compile_cache=str(tmp_path))
    counters.clear()
    comparison = Comparison(model, dev.stock)
    comparison.assert_equal(comparison.together([image(seed=seed, steps=4) for seed in range(3)]))
    assert counters["stats"]["unique_graphs"] == 1
    assert any(tmp_path.rglob("*.so")), "what was compiled is in the cache"


def compiled(dev_model: Path, dev: Comparison, cache: Path, quantize: Quantize = Quantize("none")) -> Comparison:  # noqa: B008 - frozen
    """Warm as a start leaves it, with 64x64 the default size."""
    model = load(dev_model, compile="blocks", compile_cache=str(cache), quantize=quantize)
    config = EngineConfig("m", default_width=64, default_height=64)
    first_steps(model, config)
    return Comparison(model, dev.stock)


MIXED = [image(seed=seed, steps=2 + seed, width=width) for seed in (1, 2) for width in (64, 96)]


@pytest.mark.soak
@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_images_equal_stock_and_no_size_and_no_number_of_rows_compiles_anew(
    dev_model: Path, dev: Comparison, tmp_path: Path
) -> None:
    comparison = compiled(dev_model, dev, tmp_path)
    with torch._dynamo.config.patch(error_on_recompile=True):
        comparison.assert_equal(comparison.together([image(seed=seed, steps=2 + seed) for seed in range(5)]))
        comparison.assert_equal(comparison.together(MIXED))
    assert any(tmp_path.rglob("*.so")), "what was compiled is in the cache"


@pytest.mark.soak
@pytest.mark.usefixtures("fresh_compiler")
def test_what_is_in_the_cache_is_not_compiled_again(dev_model: Path, dev: Comparison, tmp_path: Path) -> None:
    compiled(dev_model, dev, tmp_path)
    before = sorted(tmp_path.rglob("*.so"))
    torch.compiler.reset()
    compiled(dev_model, dev, tmp_path)
    assert sorted(tmp_path.rglob("*.so")) == before


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """With more than one block of either kind."""
    directory = tmp_path_factory.mktemp("small")
    write_tiny_model(directory / "model", size="small")
    model = load(directory / "model")
    write(directory / "flux-Q4_0.gguf", model._parts.transformer)
    return Comparison(model, Stock(directory / "model", text_tokens=TEXT_TOKENS))


@pytest.mark.soak
@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize(("form", "graphs"), [("int8wo", 2 * 2), ("int8", 2 * 2), ("gguf", 2 * 2 + 2 * 2)])
def test_converted_weights_run_compiled_each_shape_of_them_once(
    small: Comparison, tmp_path: Path, form: QuantizeForm, graphs: int
) -> None:
    directory = Path(small.model.info.name)
    quantize = Quantize(form, str(directory.with_name("flux-Q4_0.gguf")) if form == "gguf" else "")
    counters.clear()
    comparison = compiled(directory, small, tmp_path, quantize)
    assert counters["stats"]["unique_graphs"] == graphs
    with torch._dynamo.config.patch(error_on_recompile=True):
        made = [*comparison.together(MIXED), *comparison.together([image(seed=3, steps=STEPS_AHEAD + 1)])]
    for request, latents in made:
        wanted = small.stock.latents(request)
        assert 1e-5 < float((latents - wanted).norm() / wanted.norm()) < 0.05
