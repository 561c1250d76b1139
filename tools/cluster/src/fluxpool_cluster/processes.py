"""Processes that outlive the command which starts them: one record and one log file each.

A process is known by its number, its start time and the machine's boot: a number alone may have been given to another
process since. One that has ended but has not been collected by its parent (a zombie) counts as ended.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fluxpool_cluster.console import Console
from fluxpool_cluster.errors import ClusterError, StartError

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Component:
    """A program of the cluster: the name of its record and log, its arguments, and its whole environment."""

    name: str
    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Process:
    """A started component."""

    component: Component
    pid: int
    start_ticks: int
    boot_id: str

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return self.boot_id == boot_id() and start_ticks(self.pid) == self.start_ticks


def boot_id() -> str:
    """The kernel's name for the time since the last boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_ticks(pid: int) -> int | None:
    """Start of a process in clock ticks since boot; None when it has ended, as a zombie too."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def all_pids() -> list[int]:
    """Every process of the machine."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _inherited_descriptors() -> list[int]:
    """Open files, beyond the standard three, that a child would be handed.

    Somebody above us may hold a lock by one, or wait for the end of a pipe: for as long as the last child lives.
    """
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing itself is closed by now
            if int(entry.name) > 2 and os.get_inheritable(int(entry.name)):
                found.append(int(entry.name))
    return found


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it has ended."""
    with contextlib.suppress(OSError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def end(pids: Collection[int], grace_seconds: float) -> list[int]:
    """TERM, then KILL after the grace time; returns when all have ended. Returns those that had to be killed."""
    left = {pid: ticks for pid in pids if (ticks := start_ticks(pid)) is not None}
    _signal_all(left, signal.SIGTERM)
    left = _wait_for_end(left, grace_seconds)
    _signal_all(left, signal.SIGKILL)
    stuck = _wait_for_end(left, seconds=10)
    if stuck:
        raise ClusterError(f"these processes do not end even by KILL: {sorted(stuck)}")
    return sorted(left)


def _signal_all(processes: dict[int, int], number: signal.Signals) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _wait_for_end(processes: dict[int, int], seconds: float) -> dict[int, int]:
    deadline = time.monotonic() + seconds
    while True:
        left = {pid: ticks for pid, ticks in processes.items() if start_ticks(pid) == ticks}
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(_POLL_SECONDS)


class ProcessTable:
    """The supervised processes of one state folder."""

    def __init__(self, records: Path, logs: Path) -> None:
        self._records = records
        self._logs = logs

    def spawn(self, component: Component) -> Process:
        """Start a component in a session of its own, with its log appended to, and record it."""
        for folder in (self._records, self._logs):
            folder.mkdir(parents=True, exist_ok=True)
        log = self.log(component.name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawnp(
            component.argv[0],
            component.argv,
            dict(component.environment),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inherited_descriptors()),
            ],
            setsid=True,
        )
        process = Process(component, pid, start_ticks(pid) or 0, boot_id())
        record = self._records / f"{component.name}.json"
        record.write_text(json.dumps(asdict(process)), encoding="utf-8")
        return process

    def all(self) -> list[Process]:
        """Every recorded process, oldest first."""
        return sorted(self._read(), key=lambda process: process.start_ticks)

    def _read(self) -> Iterator[Process]:
        for path in self._records.glob("*.json"):
            fields = json.loads(path.read_text(encoding="utf-8"))
            component = fields.pop("component")
            environment = tuple((key, value) for key, value in component["environment"])
            yield Process(Component(component["name"], tuple(component["argv"]), environment), **fields)

    def get(self, name: str) -> Process | None:
        """The process of that name, running or not."""
        return next((process for process in self._read() if process.component.name == name), None)

    def alive(self, name: str) -> bool:
        """Whether the process of that name runs."""
        process = self.get(name)
        return process is not None and process.alive()

    def stop(self, names: Collection[str], grace_seconds: float = 15) -> list[str]:
        """End these processes, together; returns the names of those that had to be killed."""
        left = {p.pid: p.component.name for p in self.all() if p.component.name in names and p.alive()}
        return [left[pid] for pid in end(left, grace_seconds)]

    def log(self, name: str) -> Path:
        """The log file of that process."""
        return self._logs / f"{name}.log"

    def tail(self, name: str, lines: int = 15) -> str:
        """The last lines of its log."""
        try:
            text = self.log(name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:]) or "(empty log)"

    def wait(
        self, what: str, name: str, ready: Callable[[], bool], console: Console, timeout_seconds: float = 90
    ) -> None:
        """Wait until `ready`, then say so.

        Connection errors and errors of the API count as not ready yet.

        Raises:
            StartError: the process ended or the time is up; the message ends with the last lines of its log.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            with contextlib.suppress(OSError, ClusterError):
                if ready():
                    console.say(what)
                    return
            reason = "" if self.alive(name) else f"{name} ended"
            if not reason and time.monotonic() > deadline:
                reason = f"{name} is not ready after {timeout_seconds:g} s"
            if reason:
                raise StartError(
                    f"{reason} while waiting for: {what}. Last lines of {self.log(name)}:\n{self.tail(name)}",
                    "`make cluster-down` removes what was started",
                )
            time.sleep(_POLL_SECONDS)
