"""The size of an image as users write it: `WIDTHxHEIGHT` in pixels."""

import re
from dataclasses import dataclass
from typing import Self

from fluxpool_inference.engine import LATENT_MULTIPLE

_PATTERN = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `WIDTHxHEIGHT`. Raises ValueError for anything else; bounds are the caller's."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise ValueError("must be WIDTHxHEIGHT in pixels, such as 1024x768")
        return cls(int(match[1]), int(match[2]))

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height

    def problem(self, min_side: int, max_pixels: int) -> str | None:
        """Why no image of this size can be made, to complete a sentence that begins with its name; None if one can."""
        if self.width % LATENT_MULTIPLE or self.height % LATENT_MULTIPLE:
            return f"must have a width and height divisible by {LATENT_MULTIPLE}, and is {self}"
        if min(self.width, self.height) < min_side:
            return f"must have a width and height of at least {min_side} pixels, and is {self}"
        if self.pixels > max_pixels:
            return f"must have at most {max_pixels} pixels (width x height), and is {self} with {self.pixels}"
        return None

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"
