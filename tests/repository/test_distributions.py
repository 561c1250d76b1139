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


@pytest.mark.parametrize("path", DISTRIBUTIONS, ids=str)
def test_a_dependency_is_listed_once(path: Path) -> None:
    project = tomllib.loads((ROOT / path).read_text())["project"]
    names = Counter(re.split(r"[\s\[<>=!~;@]", wanted)[0].lower() for wanted in project.get("dependencies", ()))
    assert [name for name, count in names.items() if count > 1] == []
