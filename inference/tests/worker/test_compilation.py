"""Compiled blocks: what is refused, what is kept, and that images stay what they are."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from bench import image
from comparison import Comparison, load

from fluxpool_inference.configuration import EngineConfig, Quantize
from fluxpool_inference.outcomes import StartError, StartFailure
from fluxpool_inference.worker import compilation
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


# ---- the real compiler, which takes a minute on two cores


@pytest.fixture
def fresh_compiler(variable: None) -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled(dev_model: Path, dev: Comparison, cache: Path, quantize: str = "none") -> Comparison:
    """Warm as a start leaves it, with 64x64 the default size."""
    model = load(dev_model, compile="blocks", compile_cache=str(cache), quantize=Quantize(quantize))  # type: ignore[arg-type]
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


@pytest.mark.soak
@pytest.mark.usefixtures("fresh_compiler")
def test_int8_of_rows_runs_compiled(dev_model: Path, dev: Comparison, tmp_path: Path) -> None:
    comparison = compiled(dev_model, dev, tmp_path, quantize="int8")
    made = comparison.together(MIXED)
    assert 1e-5 < comparison.worst(made) < 0.1
