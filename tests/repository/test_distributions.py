"""The pyproject.toml of each distribution."""

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = sorted(
    path.relative_to(ROOT)
    for pattern in ("*/pyproject.toml", "tools/*/pyproject.toml")
    for path in ROOT.glob(pattern)
    if "project" in tomllib.loads(path.read_text())
)


OF_THE_MODEL = {"torch", "diffusers", "transformers", "accelerate", "safetensors"}
"""What is gigabytes, or of use beside these only."""


@pytest.mark.parametrize("name", ["operator", "autoscaler"])
def test_the_environment_is_free_of_what_runs_models(name: str) -> None:
    lock = tomllib.loads((ROOT / name / "uv.lock").read_text())
    assert not OF_THE_MODEL & {package["name"] for package in lock["package"]}


def test_what_runs_models_is_in_the_environment_of_the_inference_service_under_these_names() -> None:
    lock = tomllib.loads((ROOT / "inference" / "uv.lock").read_text())
    assert {package["name"] for package in lock["package"]} >= OF_THE_MODEL


@pytest.mark.parametrize("path", DISTRIBUTIONS, ids=str)
def test_a_dependency_is_listed_once(path: Path) -> None:
    project = tomllib.loads((ROOT / path).read_text())["project"]
    names = Counter(re.split(r"[\s\[<>=!~;@]", wanted)[0].lower() for wanted in project.get("dependencies", ()))
    assert [name for name, count in names.items() if count > 1] == []
