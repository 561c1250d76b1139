"""A loop over a fake model in virtual time; and tiny models as the worker loads them, beside the stock pipeline."""

from pathlib import Path

import pytest
from bench import TEXT_TOKENS, Bench, VirtualTime
from comparison import Comparison, load
from fake_model import FakeModel
from stock import Stock


@pytest.fixture
def time() -> VirtualTime:
    return VirtualTime()


@pytest.fixture
def model(time: VirtualTime) -> FakeModel:
    return FakeModel(time.clock())


@pytest.fixture
def bench(model: FakeModel, time: VirtualTime) -> Bench:
    return Bench(model, clock=time.clock())


@pytest.fixture(scope="session")
def dev(dev_model: Path) -> Comparison:
    """Of a model with guidance embedding, in float32."""
    return Comparison(load(dev_model), Stock(dev_model, text_tokens=TEXT_TOKENS))


@pytest.fixture(scope="session")
def schnell(schnell_model: Path) -> Comparison:
    """Of a model without, in float32."""
    return Comparison(load(schnell_model), Stock(schnell_model, text_tokens=TEXT_TOKENS))


@pytest.fixture(params=["dev", "schnell"])
def either(request: pytest.FixtureRequest) -> Comparison:
    comparison: Comparison = request.getfixturevalue(request.param)
    return comparison
