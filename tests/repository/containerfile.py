"""Reads a Containerfile: its instructions, and what the ignore file leaves of the context."""

import json
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Instruction:
    """One instruction on one line: `COPY --from=a b c` has the flags {from: a} and the text `b c`."""

    name: str
    text: str
    flags: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """The arguments; of the exec form, its strings."""
        if self.text.startswith("["):
            return [str(word) for word in json.loads(self.text)]
        return self.text.split()

    @property
    def assignments(self) -> dict[str, str]:
        """The variables of an ARG, ENV or LABEL."""
        pairs = re.findall(r'([\w.]+)=("(?:[^"]*)"|\S*)', self.text)
        return {name: value.strip('"') for name, value in pairs}


def read(path: Path) -> list[Instruction]:
    """The instructions of a file."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [_parse(line) for line in joined.splitlines()]


def _parse(line: str) -> Instruction:
    name, _, rest = line.strip().partition(" ")
    flags = {}
    rest = rest.strip()
    while found := re.match(r"--([\w-]+)(?:=(\S+))?\s+", rest):
        flags[found[1]] = found[2] or ""
        rest = rest[found.end() :]
    return Instruction(name.upper(), rest, flags)


@dataclass(frozen=True)
class Ignore:
    """A .dockerignore: the last pattern that fits a path, or a folder above it, decides."""

    patterns: tuple[str, ...]

    @classmethod
    def of(cls, path: Path) -> "Ignore":
        """The patterns of a file."""
        lines = (line.strip() for line in path.read_text().splitlines())
        return cls(tuple(line for line in lines if line and not line.startswith("#")))

    def excludes(self, path: str) -> bool:
        """Whether this path, relative to the context, stays outside."""
        parts = PurePosixPath(path)
        candidates = [str(parts), *(str(above) for above in parts.parents if str(above) != ".")]
        excluded = False
        for pattern in self.patterns:
            wanted = pattern.removeprefix("!")
            if any(_fits(candidate, wanted) for candidate in candidates):
                excluded = not pattern.startswith("!")
        return excluded


def _fits(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatchcase(path.rpartition("/")[2], pattern.removeprefix("**/"))
    return path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)
