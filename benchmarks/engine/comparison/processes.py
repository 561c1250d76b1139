"""A process and its descendants: where they may run, and whether they run at all. Linux, by /proc."""

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

PROC = Path("/proc")


def tree(pid: int) -> list[int]:
    """`pid` and all that descend from it, parents first."""
    children: dict[int, list[int]] = {}
    for process, parent in _parents():
        children.setdefault(parent, []).append(process)
    found = [pid]
    for process in found:  # grows while it is walked
        found += children.get(process, [])
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            yield int(entry.name), int(stat.rpartition(")")[2].split()[1])


def running(pid: int, module: str) -> list[int]:
    """Those of the tree whose command line names a module."""
    return [one for one in tree(pid) if module.encode() in (PROC / str(one) / "cmdline").read_bytes().split(b"\0")]


def pin(pids: Iterable[int], cpus: Iterable[int]) -> None:
    """Let every thread of these processes run on these CPUs only; threads to come inherit it."""
    allowed = set(cpus)
    for pid in pids:
        for task in (PROC / str(pid) / "task").iterdir():
            os.sched_setaffinity(int(task.name), allowed)


def pause(pid: int) -> None:
    """Stop the tree, so that what only polls costs the others nothing."""
    _signal(tree(pid), signal.SIGSTOP)


def resume(pid: int) -> None:
    """Let it go on."""
    _signal(tree(pid), signal.SIGCONT)


def end(pid: int) -> None:
    """Kill the tree; to ask servers of so many kinds politely would take longer than they are worth."""
    _signal(tree(pid), signal.SIGKILL)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
