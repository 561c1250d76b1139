"""Records figures in `benchmarks/results/`. A result file is made of parts, which different scripts measure.

Recording a part replaces that part alone, so each can be measured again by itself. Every part says on what machine,
with which versions, when and by which command; the file's own `aims` are those of all parts, as quote.py shows them.
"""

import json
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
REPORTED = "reported"
"""In place of an aim, where a figure has none."""
_TO, _AND = " to ", "; "
"""Between the first and the last day of a span, and between commands or machines."""


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
        device: the accelerator that took part, if one did; it is named beside the machine.
        machine: where it was measured; None: here.
        date: when, a day or a `span`; None: today.
    """

    name: str
    command: str
    versions: Mapping[str, str]
    aims: Sequence[Aim]
    figures: Mapping[str, Any] = field(default_factory=dict)
    device: str | None = None
    machine: str | None = None
    date: str | None = None


def record(result: str, part: Part, folder: Path = RESULTS) -> Path:
    """Put a part into `<result>.json`, in place of the one of that name. Returns the file's path.

    Raises ValueError for a figure that is not finite: JSON has no such number, and the file stays as it was.
    """
    path = folder / f"{result}.json"
    parts: dict[str, Any] = json.loads(path.read_text())["parts"] if path.exists() else {}
    where = ", ".join(filter(None, (part.machine or machine(), part.device)))
    parts[part.name] = asdict(part) | {"machine": where, "date": part.date or today()}
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(_file(dict(sorted(parts.items()))), indent=1, allow_nan=False) + "\n")
    return path


def today() -> str:
    """The date, in UTC."""
    return datetime.now(UTC).date().isoformat()


def span(dates: Iterable[str]) -> str:
    """From the first to the last of some days and spans of days; a single day is itself."""
    days = sorted(day for date in dates for day in date.split(_TO))
    return _TO.join(dict.fromkeys((days[0], days[-1])))


def together(texts: Iterable[str]) -> str:
    """Commands or machines, and what this made of some, each once."""
    return _AND.join(dict.fromkeys(one for text in texts for one in text.split(_AND)))


def merged(versions: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Versions by name; where they differ, all of them."""
    found: dict[str, dict[str, None]] = {}
    for each in versions:
        for name, version in each.items():
            found.setdefault(name, {})[version] = None
    return {name: ", ".join(each) for name, each in found.items()}


def replace_file(path: Path, text: str) -> None:
    """Write a file at once: a script that is killed leaves the old one or the new one, and never half of one."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def _file(parts: Mapping[str, Any]) -> dict[str, Any]:
    each = list(parts.values())
    return {
        "machine": together(part["machine"] for part in each),
        "versions": merged(part["versions"] for part in each),
        "date": span(part["date"] for part in each),
        "command": together(part["command"] for part in each),
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
