"""Compiles the transformer's blocks, each kind once for all blocks of that kind, and for all sizes and numbers of rows.

torch treats one row apart from more, so there are two compilations of each kind: `warm_up.first_steps` asks for both.
It would also take two numbers that happen to be equal when it compiles, such as those of text and image tokens, for
equal forever, and compile anew in the midst of traffic when they are not: that is switched off.

Modulations are computed outside the blocks (see `modulation`). Where their weights are converted back by one kernel
after another, as those of fp8 and of GGUF files are, these layers are compiled too, each shape once: one kernel then
does it. Where one kernel does it anyhow (int8), or the product reads the weights as they are (bitsandbytes), there is
nothing to gain, and torch would only ask more guards.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch.fx.experimental import _config as shapes

from fluxpool_inference.configuration import EngineConfig, QuantizeForm
from fluxpool_inference.outcomes import StartError, StartFailure
from fluxpool_inference.worker import quantize
from fluxpool_inference.worker.modulation import ModulatedTransformer

_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
_BY_MANY_KERNELS: tuple[QuantizeForm, ...] = ("fp8", "gguf")
"""Forms whose weights are converted back by one kernel after another, unless these are compiled into one."""


def check(config: EngineConfig, device: torch.device) -> None:
    """Raises StartError if compiling cannot work here: it runs a C compiler, for launchers of GPU kernels too."""
    if config.compile == "off":
        return
    variable, usual = ("CC", ("gcc", "clang")) if device.type == "cuda" else ("CXX", ("g++", "clang++"))
    wanted = [os.environ[variable]] if variable in os.environ else usual
    if not any(shutil.which(name) for name in wanted):
        raise StartError(
            StartFailure.INVALID_CONFIGURATION,
            f"compile is {config.compile}, which needs a compiler: {' or '.join(wanted)} is not on the PATH",
        )


def blocks(transformer: Any, config: EngineConfig) -> None:
    """Have the blocks compiled when they first run; what an earlier process compiled is taken from the cache.

    Raises StartError if the cache's directory cannot be written.
    """
    if config.compile == "off":
        return
    if config.compile_cache is not None:
        os.environ[_CACHE_VARIABLE] = str(_directory(Path(config.compile_cache)))
    prepare(transformer, config.quantize.form, fullgraph=True, dynamic=True)


def prepare(transformer: Any, form: QuantizeForm, **how: Any) -> None:
    """Have blocks, and modulations where it helps a `form`, compiled when they first run: `how`, as `torch.compile`."""
    shapes.use_duck_shape = False
    transformer.compile_repeated_blocks(**how)
    if form in _BY_MANY_KERNELS and isinstance(transformer, ModulatedTransformer):
        converted = quantize.converted(transformer)
        for name in (name for name in converted if quantize.MODULATION.fullmatch(f"{name}.weight")):
            transformer.get_submodule(name).compile(**how)


def _directory(directory: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"compile_cache: {directory} cannot be made a directory: {error.strerror}"
        raise StartError(StartFailure.INVALID_CONFIGURATION, problem) from error
    if not os.access(directory, os.W_OK):
        raise StartError(StartFailure.INVALID_CONFIGURATION, f"compile_cache: {directory} cannot be written")
    return directory
