"""Records figures in `benchmarks/results/`. A result file is made of parts, which different scripts measure.

Recording a part replaces that part alone, so each can be measured again by itself. Every part says on what machine,
with which versions, when and by which command; the file's own `aims` are those of all parts, as quote.py shows them.
"""

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
REPORTED = "reported"
"""In place of an aim, where a figure has none."""


@dataclass(frozen=True)
class Aim:
    """One figure and what it should be.

    Attributes:
        name: what was measured, with its unit.
        aim: a bound in words, or REPORTED.
        value: what it is.
        met: whether it keeps the bound; None where there is none.
    """

    name: str
    aim: str
    value: float | None
    met: bool | None = None


def at_most(name: str, bound: float, value: float | None) -> Aim:
    """A figure that should not be greater; nothing measured is not met."""
    return Aim(name, f"<= {bound:g}", value, met=value is not None and value <= bound)


def at_least(name: str, bound: float, value: float | None) -> Aim:
    """A figure that should not be smaller; nothing measured is not met."""
    return Aim(name, f">= {bound:g}", value, met=value is not None and value >= bound)


def reported(name: str, value: float | None) -> Aim:
    """A figure without an aim."""
    return Aim(name, REPORTED, value)


@dataclass(frozen=True)
class Part:
    """What one script measured.

    Attributes:
        name: of the part.
        command: what was typed.
        versions: of what took part.
        aims: the figures that count.
        figures: those they were computed from, and whatever else is worth keeping.
    """

    name: str
    command: str
    versions: Mapping[str, str]
    aims: Sequence[Aim]
    figures: Mapping[str, Any] = field(default_factory=dict)


def record(result: str, part: Part, folder: Path = RESULTS) -> Path:
    """Put a part into `<result>.json`, in place of the one of that name. Returns the file's path."""
    path = folder / f"{result}.json"
    parts: dict[str, Any] = json.loads(path.read_text())["parts"] if path.exists() else {}
    date = datetime.now(UTC).date().isoformat()
    parts[part.name] = {"machine": machine(), "date": date} | asdict(part)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_file(dict(sorted(parts.items()))), indent=1) + "\n")
    return path


def _file(parts: Mapping[str, Any]) -> dict[str, Any]:
    each = list(parts.values())
    return {
        "machine": "; ".join(dict.fromkeys(part["machine"] for part in each)),
        "versions": {name: version for part in each for name, version in part["versions"].items()},
        "date": max(part["date"] for part in each),
        "command": "; ".join(dict.fromkeys(part["command"] for part in each)),
        "paced": any(part["figures"].get("paced", False) for part in each),
        "aims": [aim for part in each for aim in part["aims"]],
        "parts": parts,
    }


def machine() -> str:
    """What this machine is, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {platform.system()} {kernel}"


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()
