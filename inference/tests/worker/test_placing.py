"""Parts on their way to a device: `meta` stands for one."""

import logging
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.worker import loading, placing
from fluxpool_inference.worker.stages import TOLD_PERCENT, Stages

THERE = torch.device("meta")


class Part(torch.nn.Module):
    """Layers of 100 and 300 numbers, one of them deeper, and a scale of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.small = torch.nn.Linear(100, 1, bias=False)
        self.deeper = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(300, 1, bias=False))
        self.scale = torch.nn.Parameter(torch.ones(100))
        self.register_buffer("table", torch.zeros(500))


def test_shares_rise_layer_by_layer_and_then_all_is_there() -> None:
    part, shares = Part(), list[float]()
    assert placing.onto(THERE, part, shares.append) is part
    assert shares == [0.1, 0.4]
    assert {tensor.device for tensor in (*part.parameters(), *part.buffers())} == {THERE}


def test_of_what_is_there_already_nothing_is_told() -> None:
    part, shares = Part(), list[float]()
    part.small.to(THERE)
    placing.onto(THERE, part, shares.append)
    placing.onto(THERE, part, shares.append)
    assert shares == [pytest.approx(1 / 3)]


def test_a_start_tells_how_far_the_loading_of_a_part_is(dev_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stages = Stages()
    loader = loading._Loader(EngineConfig(str(dev_model), dtype="float32"), dev_model, THERE, stages)
    stages.total_bytes = loader._size("transformer")
    loader.transformer()
    told = [record.fields["percent"] for record in caplog.records if record.message == "loading"]  # type: ignore[attr-defined]
    assert told == sorted(told)
    assert len(told) > 10, "of many layers"
    assert all(later - earlier >= TOLD_PERCENT for earlier, later in pairwise(told[:-1]))
    assert told[-1] == 100
