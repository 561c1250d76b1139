"""Pods that run the host's own Python: which folders they mount, and at which paths.

A Python and the code in it only work at the paths where they were installed, so every folder is mounted read-only at
its own path. Links on the way (a virtual environment's `python`, uv's folder of the newest patch release) are followed,
and each is given what it points at, under the name by which it is reached.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxpool_cluster import shell

_PREFIXES = "import json, sys; print(json.dumps([sys.prefix, sys.base_prefix, sys.executable]))"


@dataclass(frozen=True)
class HostFolder:
    """One read-only mount of a folder of the host.

    Attributes:
        name: name of the volume in the pod.
        source: the folder on the host, free of links.
        target: where the pod sees it.
    """

    name: str
    source: Path
    target: Path

    def volume(self) -> dict[str, Any]:
        """An entry of a pod's `volumes`."""
        return {"name": self.name, "hostPath": {"path": str(self.source), "type": "Directory"}}

    def volume_mount(self) -> dict[str, Any]:
        """An entry of a container's `volumeMounts`."""
        return {"name": self.name, "mountPath": str(self.target), "readOnly": True}


def python_folders(python: Path | str = sys.executable, *further: Path) -> list[HostFolder]:
    """What a pod of the links-only image mounts to run `python`.

    Args:
        python: the interpreter, usually that of a virtual environment; it is asked where its parts lie.
        further: folders that it needs besides, for example the checkout with the code, or a model.

    Returns:
        /usr, the interpreter's folders and the further ones; none that lies within another at the same place.
    """
    prefix, base, executable = json.loads(shell.run(python, "-I", "-c", _PREFIXES))
    on_the_way = (hop.parent.parent for hop in _hops(Path(executable)))
    return host_folders([Path("/usr"), Path(prefix), Path(base), *on_the_way, *further])


def host_folders(targets: Iterable[Path]) -> list[HostFolder]:
    """Read-only mounts of these folders at their own paths; those that come with another one are left out."""
    chosen: list[tuple[Path, Path]] = []
    for target in sorted(set(targets), key=lambda path: len(path.parts)):
        source = target.resolve(strict=True)
        if not any(_carries(outer, target, source) for outer in chosen):
            chosen.append((source, target))
    return [HostFolder(f"host-{number}", source, target) for number, (source, target) in enumerate(chosen)]


def _carries(outer: tuple[Path, Path], target: Path, source: Path) -> bool:
    """Whether a pod that mounts `outer` finds `source` at `target` already."""
    outer_source, outer_target = outer
    return target.is_relative_to(outer_target) and outer_source / target.relative_to(outer_target) == source


def _hops(path: Path) -> Iterator[Path]:
    """The path, and every path on the way that its last component links to."""
    yield path
    while path.is_symlink():
        path = path.parent / path.readlink()
        yield path
