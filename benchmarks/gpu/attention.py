"""Which attention backend is the fastest of those that were measured."""

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.gpu.forms import Launch


def fastest(measured: Iterable[Mapping[str, Any]]) -> dict[Launch, str]:
    """For each launch, the backend with the shortest step among the cells that compare backends."""
    best: dict[Launch, Mapping[str, Any]] = {}
    for step in measured:
        if not step.get("compares_attention", False):
            continue
        launch: Launch = step["launch"]
        if launch not in best or step["median_seconds"] < best[launch]["median_seconds"]:
            best[launch] = step
    return {launch: step["attention"] for launch, step in best.items()}
