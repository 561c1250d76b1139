"""Kinds of measurements. Each cell is a frozen value with a name of its own that measures itself on a bench."""

from typing import ClassVar, Protocol

from benchmarks.gpu.bench import Bench, Figures


class Cell(Protocol):
    """One measurement. Its `KIND` is the same for all of its class."""

    KIND: ClassVar[str]

    @property
    def name(self) -> str:
        """Says what is measured; no two cells of a plan have the same."""

    def measure(self, bench: Bench) -> Figures:
        """Measure. Raises Unavailable where the device or what is installed does not have it."""
