"""One command at a time on one machine: the namespace, the kubelet's fixed paths and its cgroup exist only once."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fluxpool_cluster import layout
from fluxpool_cluster.errors import BusyError


@contextmanager
def exclusive(command: str, folder: Path = layout.MACHINE_FOLDER) -> Iterator[None]:
    """Hold the machine's lock; it is released when the process ends, however it ends.

    Leaves neither the lock file nor, when that is empty then, its folder.

    Raises:
        BusyError: another command holds it; the message names it.
    """
    path = folder / "lock"
    descriptor = _acquire(path)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"`{command}`, process {os.getpid()}".encode())
        yield
    finally:
        path.unlink()  # strictly before the release: whoever comes next must not hold a lock on a removed file
        os.close(descriptor)
        with suppress(OSError):
            folder.rmdir()


def _acquire(path: Path) -> int:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            continue  # the holder removed the folder at this moment
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode() or "just starting"
            os.close(descriptor)
            raise BusyError(
                f"another fluxpool-cluster command is at work on this machine ({holder})", "wait until it has ended"
            ) from None
        if _is_current(path, descriptor):
            return descriptor
        os.close(descriptor)


def _is_current(path: Path, descriptor: int) -> bool:
    """Whether the locked file is still the one at that path: its holder removes it at the end."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
