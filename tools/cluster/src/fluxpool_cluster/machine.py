"""What the cluster changes on the machine outside its own folders, noted before the start and put back at the end.

The record lies in one fixed place (not in the state folder), so that it also says whose cluster is up, and so that the
clean-up still works when a state folder was deleted by hand.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fluxpool_cluster import layout
from fluxpool_cluster.errors import TeardownError

# The kubelet sets these for the whole machine.
_SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
# Paths that no setting of kubelet, CNI or the container runtime moves elsewhere; parents before children.
_FIXED_PATHS = (
    "/var/log/containers",
    "/var/lib/kubelet",
    "/var/lib/kubelet/device-plugins",
    "/var/lib/cni",
    "/var/lib/cni/results",
    "/run/containerd",
    "/run/containerd/s",
    "/run/netns",
)
_PROC_SYS = Path("/proc/sys")


@dataclass(frozen=True)
class MachineRecord:
    """The state folder of the cluster that is up, and how the machine was before it.

    Attributes:
        state: the state folder in use.
        sysctls: values before the start, by name (slashes, not dots).
        absent: those of the fixed paths that did not exist.
    """

    state: Path
    sysctls: dict[str, str]
    absent: tuple[str, ...]


def _file() -> Path:
    return layout.MACHINE_FOLDER / "record.json"


def capture(state: Path) -> MachineRecord:
    """Note how the machine is now; nothing is written."""
    sysctls = {name: _PROC_SYS.joinpath(name).read_text(encoding="ascii").strip() for name in _SYSCTLS}
    return MachineRecord(state, sysctls, tuple(path for path in _FIXED_PATHS if not Path(path).exists()))


def save(record: MachineRecord) -> None:
    """Write the record; strictly before anything of the cluster is made."""
    layout.MACHINE_FOLDER.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"state": str(record.state), "sysctls": record.sysctls, "absent": record.absent})
    temporary = _file().with_suffix(".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.rename(_file())


def load() -> MachineRecord | None:
    """The record of the cluster that is up, or whose remains lie about; None when there is none."""
    try:
        fields = json.loads(_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return MachineRecord(Path(fields["state"]), fields["sysctls"], tuple(fields["absent"]))


def forget() -> None:
    """Remove the record; strictly after everything else is gone."""
    _file().unlink(missing_ok=True)


def restore_sysctls(record: MachineRecord) -> None:
    """Put back the values that changed."""
    for name, value in record.sysctls.items():
        path = _PROC_SYS / name
        if path.read_text(encoding="ascii").strip() != value:
            path.write_text(value, encoding="ascii")


def mounts_below(folder: Path) -> list[Path]:
    """Mount points at or below a folder, in the order they were made."""
    return [point for point in _mount_points() if point == folder or folder in point.parents]


def _mount_points() -> Iterator[Path]:
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        # The kernel writes blanks and backslashes as octal escapes.
        yield Path(re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), line.split(" ")[4]))


def remove_tree(folder: Path) -> None:
    """Delete a folder, if it is there, unless something is mounted in it: that would delete what is mounted.

    Raises:
        TeardownError: something is mounted below it.
    """
    if mounted := mounts_below(folder):
        raise TeardownError(
            f"{folder} is not deleted, since {mounted[-1]} is still mounted in it",
            f"umount {mounted[-1]}, then `make cluster-down` again",
        )
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def remove_fixed_paths(record: MachineRecord) -> None:
    """Delete the fixed paths that were not there before, and of the others what leads into the state folder."""
    for path in map(Path, record.absent):
        in_use = (path / "containerd.sock").exists()  # the machine's own containerd was started meanwhile
        if not in_use and path != Path("/run/netns"):
            remove_tree(path)
    _remove_links(Path("/var/log/containers"), record.state)


def _remove_links(folder: Path, target: Path) -> None:
    for entry in folder.glob("*"):
        if entry.is_symlink() and target in entry.readlink().parents:
            entry.unlink()
