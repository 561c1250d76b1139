"""Ends the operator's process as a crash does: by SIGKILL, so that it can say and write nothing more."""

import os
import signal
from pathlib import Path

from fluxpool_demo import command, install
from fluxpool_demo.kube import Object

KILLED = 128 + signal.SIGKILL


async def kill(pod: Object) -> None:
    """End it. The lab's containers are processes of this machine; elsewhere the whole pod is taken away at once."""
    processes = [process for process in _processes_of(pod["metadata"]["uid"]) if _is_operator(process)]
    for process in processes:
        os.kill(int(process.name), signal.SIGKILL)
    if not processes:
        now = ("--grace-period=0", "--force", "--wait=false")
        name, namespace = pod["metadata"]["name"], f"--namespace={install.SYSTEM_NAMESPACE}"
        await command.run("kubectl", "delete", "pod", name, namespace, *now)


def _processes_of(pod_uid: str) -> list[Path]:
    return [folder for folder in Path("/proc").glob("[0-9]*") if f"pod{pod_uid}" in _read(folder / "cgroup")]


def _is_operator(process: Path) -> bool:
    return "fluxpool_operator" in _read(process / "cmdline")


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it has ended meanwhile
        return ""
