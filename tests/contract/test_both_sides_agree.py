"""Operator, inference and docs/contract.md name the same things."""

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contract.md").read_text()
SIDES = {"operator": "fluxpool_operator.contract", "inference": "fluxpool_inference.contract"}


def constants(module: ModuleType) -> dict[str, object]:
    return {name: value for name, value in vars(module).items() if name.isupper()}


@pytest.fixture(params=list(SIDES.values()), ids=list(SIDES))
def side(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


@pytest.fixture
def operator() -> dict[str, object]:
    return constants(importlib.import_module(SIDES["operator"]))


@pytest.fixture
def inference() -> dict[str, object]:
    return constants(importlib.import_module(SIDES["inference"]))


def test_a_name_that_both_sides_know_means_the_same_on_both(
    operator: dict[str, object], inference: dict[str, object]
) -> None:
    shared = operator.keys() & inference.keys()
    assert {name: operator[name] for name in shared} == {name: inference[name] for name in shared}


@pytest.mark.parametrize("kind", ["METRIC_", "ENV_", "PATH_"])
def test_inference_knows_every_name_that_the_operator_relies_on(
    kind: str, operator: dict[str, object], inference: dict[str, object]
) -> None:
    of_the_operator_alone = {"METRIC_DESIRED_REPLICAS", "METRIC_DESIRED_BATCH_SIZE", "METRIC_CURRENT_REPLICAS"}
    read_by_libraries = {"ENV_HF_HOME"}
    relied_on = {name for name in operator if name.startswith(kind)} - of_the_operator_alone - read_by_libraries
    assert relied_on, f"no {kind} constants: the test looks in the wrong place"
    assert relied_on <= inference.keys()


def test_every_metric_and_variable_of_the_page_is_a_constant_of_each_side(side: ModuleType) -> None:
    values = {value for value in constants(side).values() if isinstance(value, str)}
    own = {
        "fluxpool_operator_",
        "fluxpool_desired_replicas",
        "fluxpool_desired_batch_size",
        "fluxpool_current_replicas",
    }
    modules = {"fluxpool_operator", "fluxpool_inference"}
    on_page = set(re.findall(r"`(fluxpool_[a-z_]+|FLUXPOOL_[A-Z_]+)`?", PAGE)) - own - modules
    of_the_user = {"FLUXPOOL_", "FLUXPOOL_PACE"}
    assert on_page - of_the_user <= values


def test_every_constant_of_each_side_is_on_the_page(side: ModuleType) -> None:
    unnamed = {
        name: value
        for name, value in constants(side).items()
        if name.startswith(("METRIC_", "ENV_", "PATH_", "LABEL_")) and str(value) not in PAGE
    }
    assert not unnamed


def test_a_contract_module_imports_nothing_of_ours_and_nothing_heavy(side: ModuleType) -> None:
    source = Path(str(side.__file__)).read_text()
    imported = set(re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE))
    assert imported <= sys.stdlib_module_names
