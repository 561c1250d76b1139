"""Engines over worker processes with a fake model: real sockets, real shared memory, real deaths, in half a second."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from bed import PYTHONPATH, Bed, Make, alive
from facts import Facts
from leaks import nothing_is_left

from fluxpool_inference.engine import Engine, EngineConfig, process
from fluxpool_inference.engine import supervisor as supervision


@pytest.fixture
def quick_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_BACKOFF_SECONDS", 0.01)


@pytest.fixture
async def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_restarts: None) -> AsyncIterator[Make]:
    """Makes engines that are not started yet; those with options of the fake model as `model`."""
    monkeypatch.setattr(process, "MODULE", "fake_worker")
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    made: list[Bed] = []

    def new(model: dict[str, Any] | None = None, home: Path | None = None, **options: Any) -> Bed:
        home = home or tmp_path / f"model-{len(made)}"
        home.mkdir(exist_ok=True)
        speed = {"encode_seconds": 0.002, "fixed_seconds": 0.01, "per_row_seconds": 0.001, "decode_seconds": 0.002}
        (home / "model.json").write_text(json.dumps(speed | (model or {})))
        usual: dict[str, Any] = {"default_width": 64, "default_height": 64, "max_pixels": 64 * 64, "batch_size": 4}
        facts = Facts()
        bed = Bed(Engine(EngineConfig(str(home), **(usual | options)), facts), facts, home)
        made.append(bed)
        return bed

    yield new
    for bed in made:
        await bed.engine.stop()
    for bed in made:
        for pid in bed.starts:
            assert not alive(pid), "no worker outlives its engine"


@pytest.fixture
async def bed(make: Make) -> Bed:
    """An engine that serves."""
    bed = make()
    await bed.engine.start()
    return bed


@pytest.fixture
def no_leaks() -> Iterator[None]:
    with nothing_is_left():
        yield
