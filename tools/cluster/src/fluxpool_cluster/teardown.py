"""Takes everything away again, whatever state it is in: running, half started, or all processes killed at once.

Nothing here needs a component's help. What runs is found three ways: by our records, by being inside the namespace,
and by being in the cgroup of all pods; so it does not matter which of them a crash has left.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fluxpool_cluster import containerd, control_plane, machine, netns, node, shell
from fluxpool_cluster.console import Console
from fluxpool_cluster.errors import ClusterError, TeardownError
from fluxpool_cluster.health import process_table
from fluxpool_cluster.layout import Layout
from fluxpool_cluster.machine import MachineRecord
from fluxpool_cluster.processes import ProcessTable, all_pids, end, start_ticks

_USER_GRACE_SECONDS = 3
_CGROUP_SECONDS = 10


def tear_down(record: MachineRecord, console: Console) -> None:
    """Remove the recorded cluster; the record goes last, so that an interrupted clean-up can be repeated.

    Raises:
        TeardownError: something could not be removed; run it again when the cause is gone.
    """
    where = Layout(record.state)
    where.summary.unlink(missing_ok=True)
    _end_processes(where, console)
    outside = containerd.outside_files(where)
    _unmount(where.state)
    _remove_cgroups()
    netns.delete()
    if "/run/netns" in record.absent:
        netns.remove_empty_folder()
    for file in outside:
        file.unlink(missing_ok=True)
    machine.remove_tree(where.state)
    machine.remove_fixed_paths(record)
    machine.restore_sysctls(record)
    machine.forget()
    console.say("the cluster is down, nothing of it is left")


def _end_processes(where: Layout, console: Console) -> None:
    """End all processes, in an order that lets nothing start again or hang."""
    processes = process_table(where)
    _stop(processes, [node.KUBELET], console)  # first, or it would start the containers again
    _stop(processes, [containerd.CONTAINERD], console)  # or it would log an error for each container that ends
    _kill_until_none(_pod_processes)
    _kill_until_none(lambda: _shims(where))
    names = [process.component.name for process in processes.all()]
    _end_users(processes, console)
    _stop(processes, [name for name in names if name != control_plane.ETCD], console)
    _stop(processes, [control_plane.ETCD], console)  # last: the API server hangs at its end without it
    _kill_until_none(netns.processes)
    console.say("processes ended")


def _end_users(processes: ProcessTable, console: Console) -> None:
    """End what others have started inside the namespace, by `run` for example, while the API server still answers."""
    own = {process.pid for process in processes.all()}
    if users := [pid for pid in netns.processes() if pid not in own]:
        console.say(f"ending what else runs inside the namespace: {', '.join(map(describe, users))}")
        end(users, _USER_GRACE_SECONDS)


def _stop(processes: ProcessTable, names: list[str], console: Console) -> None:
    for name in processes.stop(names):
        console.say(f"{name} did not end by TERM and was killed")


def _kill_until_none(find: Callable[[], list[int]]) -> None:
    while pids := [pid for pid in find() if start_ticks(pid) is not None]:
        end(pids, grace_seconds=0)


def _command_line(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    return [""]


def _shims(where: Layout) -> list[int]:
    """The shims of our containerd: they outlive it, and each has its socket as an argument."""
    lines = {pid: _command_line(pid) for pid in all_pids()}
    name, socket = "containerd-shim-runc-v2", str(where.containerd_socket)
    return [pid for pid, line in lines.items() if Path(line[0]).name == name and socket in line]


def _pod_cgroups() -> list[Path]:
    """The cgroups of all pods: one per controller with cgroup v1, one in all with v2."""
    root = Path("/sys/fs/cgroup")
    return [*sorted(root.glob("kubepods*")), *sorted(root.glob("*/kubepods*"))]


def _pod_processes() -> list[int]:
    """Every process in the cgroups of pods."""
    files = [file for cgroup in _pod_cgroups() for file in cgroup.rglob("cgroup.procs")]
    found: set[int] = set()
    for file in files:
        with suppress(OSError):  # the cgroup may go away at this moment
            found.update(int(line) for line in file.read_text(encoding="ascii").split())
    return sorted(found)


def node_processes() -> list[int]:
    """Every process of a Kubernetes node on this machine, whoever runs it: of its pods, and kubelets themselves."""
    kubelets = [pid for pid in all_pids() if Path(_command_line(pid)[0]).name in {"kubelet", "k3s", "k0s"}]
    return sorted({*_pod_processes(), *kubelets})


def describe(pid: int) -> str:
    """A process in words: its number and the beginning of its command line."""
    return f"{pid} ({' '.join(_command_line(pid))[:60]})"


def _remove_cgroups() -> None:
    """Remove the cgroups of all pods; the kernel may need a moment after the last process has ended."""
    deadline = time.monotonic() + _CGROUP_SECONDS
    while cgroups := _pod_cgroups():
        for cgroup in cgroups:
            for folder, _, _ in os.walk(cgroup, topdown=False):
                with suppress(OSError):
                    Path(folder).rmdir()
        if time.monotonic() > deadline:
            raise TeardownError(f"the cgroup {cgroups[0]} cannot be removed", "`make cluster-down` again")
        time.sleep(0.05)


def _unmount(folder: Path) -> None:
    """Unmount everything below a folder, the newest first; lazily where it is still in use."""
    for point in reversed(machine.mounts_below(folder)):
        with suppress(ClusterError):
            shell.run("umount", point)
            continue
        with suppress(ClusterError):
            shell.run("umount", "--lazy", point)
