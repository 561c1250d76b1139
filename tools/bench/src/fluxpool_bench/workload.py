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

import math
import random
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

from fluxpool_bench.errors import UsageError, reason

DEFAULT_PROMPTS = (
    "a lighthouse on a cliff at dawn, oil painting",
    "a red bicycle leaning on a brick wall, photograph",
    "an astronaut reading in a library, watercolour",
    "a bowl of ramen seen from above, studio light",
)
FORMATS = ("png", "jpeg", "webp")
FIELDS = {"weight", "size", "steps", "n", "guidance", "prompts", "output_format", "give_up_seconds"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request; a field that is None is not sent, and `number` never is."""

    size: str | None = None
    steps: int | None = None
    n: int = 1
    guidance: float | None = None
    output_format: str | None = None
    give_up_seconds: float | None = None
    weight: float = 1.0
    prompts: tuple[str, ...] = field(default=DEFAULT_PROMPTS, repr=False)
    number: int | None = None

    @property
    def name(self) -> str:
        """A short name for tables: size, steps, and what else is not the default; the number where there is one."""
        parts = [self.size or "default size", f"{self.steps} steps" if self.steps else "default steps"]
        parts += [f"n={self.n}"] if self.n > 1 else []
        parts += [f"guidance {self.guidance:g}"] if self.guidance is not None else []
        parts += [self.output_format] if self.output_format else []
        parts += [f"gives up after {self.give_up_seconds:g} s"] if self.give_up_seconds is not None else []
        parts += [f"kind {self.number}"] if self.number is not None else []
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
    """Draws requests from kinds by weight. The same seed draws the same requests, whatever their timing.

    Kinds and prompts are the same in every run; what differs are the requests' seeds, so that no request is made twice.
    """

    def __init__(self, kinds: Sequence[Kind], seed: int = 0) -> None:
        self.kinds = tuple(kinds)
        self.seed = seed

    def draw(self, count: int, first: int = 0) -> list[Request]:
        """`count` requests, after so many others in earlier runs."""
        chance = random.Random(self.seed)  # noqa: S311 - reproducible on purpose
        kinds = chance.choices(self.kinds, [kind.weight for kind in self.kinds], k=count)
        seeds = range(self.seed + first, self.seed + first + count)
        return [
            _request(index, kind, chance.choice(kind.prompts), seed)
            for index, (kind, seed) in enumerate(zip(kinds, seeds, strict=True))
        ]


def _request(index: int, kind: Kind, prompt: str, seed: int) -> Request:
    return Request(index, kind, prompt.replace("{seed}", str(seed)), seed)


def load(path: Path, seed: int = 0) -> Workload:
    """Read a workload file. Raises UsageError naming the file and the field."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"workload {path}: {reason(error)}") from error
    tables = document.get("kind")
    if not isinstance(tables, list) or not tables:
        raise UsageError(f"workload {path}: needs at least one [[kind]] table")
    return Workload(_told_apart([_kind(path, number, table) for number, table in enumerate(tables, 1)]), seed)


def _told_apart(kinds: Sequence[Kind]) -> list[Kind]:
    """Kinds that would share a name, for they differ in prompts, say, get the number of their table into it."""
    count = Counter(kind.name for kind in kinds)
    return [replace(kind, number=number) if count[kind.name] > 1 else kind for number, kind in enumerate(kinds, 1)]


def _kind(path: Path, number: int, table: object) -> Kind:
    where = f"workload {path}: kind {number}"
    if not isinstance(table, dict):
        raise UsageError(f"{where}: must be a table")
    if unknown := sorted(table.keys() - FIELDS):
        raise UsageError(f"{where}: unknown field {unknown[0]!r}; known are {', '.join(sorted(FIELDS))}")
    prompts = table.get("prompts", DEFAULT_PROMPTS)
    if not _is_text_list(prompts) or not prompts:
        raise UsageError(f"{where}: prompts must be a non-empty list of strings")
    for name, what, right in CHECKS:
        if name in table and not right(table[name]):
            raise UsageError(f"{where}: {name} must be {what}")
    return Kind(**{**table, "prompts": tuple(prompts)})


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0  # not isinstance: a bool is an int


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: object) -> bool:
    return _is_number(value) and value > 0  # type: ignore[operator]  # it is a number


def _is_size(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[1-9]\d*x[1-9]\d*|auto", value) is not None


CHECKS: tuple[tuple[str, str, Callable[[object], bool]], ...] = (
    ("steps", "a whole number above 0", _is_count),
    ("n", "a whole number above 0", _is_count),
    ("weight", "a number above 0", _is_positive),
    ("give_up_seconds", "a number above 0", _is_positive),
    ("guidance", "a number", _is_number),
    ("size", 'such as "1024x1024"', _is_size),
    ("output_format", "one of " + ", ".join(FORMATS), lambda value: value in FORMATS),
)


def _is_text_list(value: object) -> TypeGuard[Sequence[str]]:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
