"""Whole servers, with real workers on tiny models; each takes seconds to start, so there are only two."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import TEXT_TOKENS
from hub_cache import fill_cache
from served import Served
from server_process import ServerProcess
from stock import Stock

COMMON = {
    "FLUXPOOL_DEVICE": "cpu",
    "FLUXPOOL_DTYPE": "float32",
    "FLUXPOOL_TORCH_THREADS": "1",
    "FLUXPOOL_DEFAULT_SIZE": "64x64",
    "FLUXPOOL_MIN_SIDE": "64",
    "FLUXPOOL_BATCH_SIZE_MAX": "8",
    "FLUXPOOL_MAX_PIXELS": str(128 * 128),
    "FLUXPOOL_MAX_SEQUENCE_LENGTH": str(TEXT_TOKENS),
}


@pytest.fixture(scope="session")
def stock(dev_model: Path) -> Stock:
    return Stock(dev_model, text_tokens=TEXT_TOKENS)


@pytest.fixture(scope="session")
def dev_server(dev_model: Path) -> Iterator[Served]:
    """Of a model in a directory, at full speed."""
    options = {"FLUXPOOL_MODEL": str(dev_model), "FLUXPOOL_MAX_STEPS": "1000", "FLUXPOOL_DRAIN_SECONDS": "3600"}
    with ServerProcess(["-m", "fluxpool_inference", "serve"], COMMON | options) as process:
        served = Served(process.wait_ready())
        yield served
        served.close()


@pytest.fixture
def paced_server(schnell_model: Path, tmp_path: Path) -> Iterator[Served]:
    """Of a model named by its hub id, from the hub's cache; slow, with a short queue."""
    fill_cache(tmp_path / "hub", "acme/tiny", schnell_model)
    options = {
        "HF_HOME": str(tmp_path),
        "FLUXPOOL_MODEL": "acme/tiny",
        "FLUXPOOL_PACE": "0.06,0.02",
        "FLUXPOOL_BATCH_SIZE": "2",
        "FLUXPOOL_MAX_STEPS": "40",
        "FLUXPOOL_MAX_QUEUE_SECONDS": "1.5",
        "FLUXPOOL_DRAIN_SECONDS": "60",
    }
    with ServerProcess(["-m", "fluxpool_inference", "serve"], COMMON | options) as process:
        served = Served(process.wait_ready())
        yield served
        served.close()
