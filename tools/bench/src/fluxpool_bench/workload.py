"""What to ask: a weighted mix of request kinds, drawn reproducibly.

A workload file is TOML, one table per kind:

    [[kind]]
    weight = 3                # default 1
    size = "1024x1024"
    steps = 28                # absent: the server's default
    prompts = ["a lighthouse at dawn", "{seed}: a red bicycle"]   # {seed}: of the request, so no two are equal
    give_up_seconds = 5       # the client hangs up then; absent: it never does

    [[kind]]
    size = "512x512"
    steps = 4
"""

import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from fluxpool_bench.errors import UsageError

DEFAULT_PROMPTS = (
    "a lighthouse on a cliff at dawn, oil painting",
    "a red bicycle leaning on a brick wall, photograph",
    "an astronaut reading in a library, watercolour",
    "a bowl of ramen seen from above, studio light",
)
FIELDS = {"weight", "size", "steps", "n", "guidance", "prompts", "output_format", "give_up_seconds"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request; a field that is None is not sent."""

    size: str | None = None
    steps: int | None = None
    n: int = 1
    guidance: float | None = None
    output_format: str | None = None
    give_up_seconds: float | None = None
    weight: float = 1.0
    prompts: tuple[str, ...] = field(default=DEFAULT_PROMPTS, repr=False)

    @property
    def name(self) -> str:
        """A short name for tables: size, steps and images per request."""
        parts = [self.size or "default size", f"{self.steps} steps" if self.steps else "default steps"]
        parts += [f"n={self.n}"] if self.n > 1 else []
        parts += [f"gives up after {self.give_up_seconds:g} s"] if self.give_up_seconds is not None else []
        return ", ".join(parts)

    def body(self, model: str | None, prompt: str, seed: int) -> dict[str, Any]:
        """The JSON body of one request."""
        body = {
            "model": model,
            "prompt": prompt,
            "n": self.n,
            "size": self.size,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "output_format": self.output_format,
            "response_format": "b64_json",
            "seed": seed,
        }
        return {key: value for key, value in body.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Request:
    """One request to send."""

    index: int
    kind: Kind
    prompt: str
    seed: int


class Workload:
    """Draws requests from kinds by weight. The same seed draws the same requests, whatever their timing."""

    def __init__(self, kinds: Sequence[Kind], seed: int = 0) -> None:
        self.kinds = tuple(kinds)
        self.seed = seed

    def draw(self, count: int) -> list[Request]:
        """The first `count` requests."""
        chance = random.Random(self.seed)  # noqa: S311 - reproducible on purpose
        kinds = chance.choices(self.kinds, [kind.weight for kind in self.kinds], k=count)
        return [_request(i, kind, chance.choice(kind.prompts), self.seed + i) for i, kind in enumerate(kinds)]


def _request(index: int, kind: Kind, prompt: str, seed: int) -> Request:
    return Request(index, kind, prompt.replace("{seed}", str(seed)), seed)


def load(path: Path, seed: int = 0) -> Workload:
    """Read a workload file. Raises UsageError naming the file and the field."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"workload {path}: {error}") from error
    tables = document.get("kind")
    if not isinstance(tables, list) or not tables:
        raise UsageError(f"workload {path}: needs at least one [[kind]] table")
    return Workload([_kind(path, number, table) for number, table in enumerate(tables, 1)], seed)


def _kind(path: Path, number: int, table: object) -> Kind:
    where = f"workload {path}: kind {number}"
    if not isinstance(table, dict):
        raise UsageError(f"{where}: must be a table")
    if unknown := sorted(table.keys() - FIELDS):
        raise UsageError(f"{where}: unknown field {unknown[0]!r}; known are {', '.join(sorted(FIELDS))}")
    prompts = table.get("prompts", DEFAULT_PROMPTS)
    if not _is_text_list(prompts) or not prompts:
        raise UsageError(f"{where}: prompts must be a non-empty list of strings")
    for name in ("steps", "n"):
        if name in table and not (isinstance(table[name], int) and table[name] > 0):
            raise UsageError(f"{where}: {name} must be a whole number above 0")
    for name in ("weight", "give_up_seconds"):
        if name in table and not (isinstance(table[name], int | float) and table[name] > 0):
            raise UsageError(f"{where}: {name} must be a number above 0")
    return Kind(**{**table, "prompts": tuple(prompts)})


def _is_text_list(value: object) -> TypeGuard[Sequence[str]]:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
