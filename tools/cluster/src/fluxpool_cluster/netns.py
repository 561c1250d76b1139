"""The network namespace: made, entered, looked into and removed.

Inside it everything that is local to the cluster stays local: service addresses, iptables rules, ports.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fluxpool_cluster import layout, shell
from fluxpool_cluster.errors import ClusterError, PreconditionError
from fluxpool_cluster.processes import all_pids

_CLONE_NEWNET = 0x40000000


def handle() -> Path:
    """The file that stands for the namespace."""
    return Path("/run/netns") / layout.NAMESPACE


def exists() -> bool:
    """Whether there is a namespace of that name, whoever made it."""
    return handle().exists()


def create() -> None:
    """Make the namespace with the cluster's addresses and routes."""
    shell.run("ip", "netns", "add", layout.NAMESPACE)
    inside = ("-n", layout.NAMESPACE)
    shell.run("ip", *inside, "link", "set", "lo", "up")
    for address in (layout.NODE_ADDRESS, layout.DNS_ADDRESS):
        shell.run("ip", *inside, "addr", "add", f"{address}/32", "dev", "lo")
    # Processes of the host side can send to service addresses only if a route says where to.
    shell.run("ip", *inside, "route", "add", layout.SERVICES, "dev", "lo")
    # Every address of the fake pods is local: one server on 0.0.0.0 answers for all of them.
    shell.run("ip", *inside, "route", "add", "local", layout.FAKE_PODS, "dev", "lo")


def delete() -> None:
    """Remove the namespace, if it is there; it ends when the last process in it does."""
    if exists():
        shell.run("ip", "netns", "del", layout.NAMESPACE)


def remove_empty_folder() -> None:
    """Remove the folder of all namespaces, which `ip` makes (and mounts on itself) with the first one."""
    folder = handle().parent
    if folder.exists() and not any(folder.iterdir()):
        with suppress(ClusterError):
            shell.run("umount", folder)
        folder.rmdir()


def _set(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, f"cannot enter the network namespace: {os.strerror(code)}")


def enter() -> None:
    """Move this process into the namespace for good; sockets that it has already stay where they were made."""
    descriptor = os.open(handle(), os.O_RDONLY | os.O_CLOEXEC)
    try:
        _set(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def inside() -> Iterator[None]:
    """Be in the namespace for the length of the block; processes that are started there stay in it."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter()
        yield
    finally:
        _set(home)
        os.close(home)


def prepare_forwarding() -> None:
    """Let the namespace route packets between pods and services; call it inside.

    Raises:
        PreconditionError: the kernel cannot show bridged packets to iptables.
    """
    sysctls = Path("/proc/sys/net")
    bridge = sysctls / "bridge/bridge-nf-call-iptables"
    if not bridge.exists():
        with suppress(ClusterError):
            shell.run("modprobe", "br_netfilter")
    if not bridge.exists():
        raise PreconditionError(
            "the kernel does not pass bridged packets to iptables, so pods could not reach services on their own node",
            "modprobe br_netfilter",
        )
    bridge.write_text("1", encoding="ascii")
    (sysctls / "ipv4/ip_forward").write_text("1", encoding="ascii")


def processes() -> list[int]:
    """Every process inside the namespace, this one and its ancestors left out."""
    if not exists():
        return []
    number = handle().stat().st_ino
    family = set(_ancestors(os.getpid()))
    return [pid for pid in all_pids() if pid not in family and _namespace_of(pid) == number]


def _namespace_of(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None


def _ancestors(pid: int) -> Iterator[int]:
    while pid:
        yield pid
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        pid = int(stat.rpartition(")")[2].split()[1])
