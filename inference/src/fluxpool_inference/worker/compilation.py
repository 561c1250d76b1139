"""Compiles the transformer's blocks, each kind once for all blocks of that kind, and for all sizes and numbers of rows.

torch treats one row apart from more, so there are two compilations of each kind: `warm_up.first_steps` asks for both.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.outcomes import StartError, StartFailure

_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


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
    transformer.compile_repeated_blocks(fullgraph=True, dynamic=True)


def _directory(directory: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"compile_cache: {directory} cannot be made a directory: {error.strerror}"
        raise StartError(StartFailure.INVALID_CONFIGURATION, problem) from error
    if not os.access(directory, os.W_OK):
        raise StartError(StartFailure.INVALID_CONFIGURATION, f"compile_cache: {directory} cannot be written")
    return directory
