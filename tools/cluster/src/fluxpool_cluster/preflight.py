"""May it start? One function per precondition; each raises one clear sentence with a remedy."""

import errno
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fluxpool_cluster import layout, machine, netns, packages, shell
from fluxpool_cluster.errors import ClusterError, PreconditionError
from fluxpool_cluster.layout import Layer

BUILD_PROGRAMS = ("cc", "static libc", "CA certificates")
ENVIRONMENT_PROGRAMS = ("Python's venv",)
"""What `make` needs before there is a Python environment."""
_CONTROL_PROGRAMS = ("ip", "openssl")
_NODE_PROGRAMS = (
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "runc",
    "iptables",
    "busybox",
    "mount",
    str(packages.CNI_PLUGINS / "bridge"),
    str(packages.CNI_PLUGINS / "portmap"),
)
_STATE_BYTES = 2 * 10**9


@dataclass(frozen=True)
class GoToolchain:
    """The Go on the PATH."""

    version: str
    architecture: str


def require_linux(platform: str = sys.platform) -> None:
    """The cluster is made of Linux namespaces and cgroups."""
    if platform != "linux":
        raise PreconditionError(
            f"the local cluster needs Linux, this is {platform}",
            "use a Linux machine, or another cluster: CLUSTER=current with its kubeconfig",
        )


def require_root(user: int | None = None) -> None:
    """Namespaces, mounts and cgroups are root's."""
    if (os.geteuid() if user is None else user) != 0:
        raise PreconditionError(
            "the local cluster needs root", "run the same with sudo, or use another cluster: CLUSTER=current"
        )


def require_programs(wanted: tuple[str, ...], has: Callable[[str], bool] = packages.present) -> None:
    """What Debian provides."""
    if absent := packages.missing(wanted, has):
        raise PreconditionError(
            f"these Debian packages are missing: {' '.join(absent)}",
            f"`make cluster-setup` as root, or: {packages.install_line(absent)}",
        )


def require_layer_programs(layer: Layer) -> None:
    """What the layer needs of Debian."""
    require_programs(_CONTROL_PROGRAMS + (_NODE_PROGRAMS if layer is Layer.NODE else ()))


def require_go(lowest: tuple[int, ...], report: Callable[[], str] | None = None) -> GoToolchain:
    """A Go that is new enough for every module; it is asked outside of any module, where any version answers."""
    wanted = ".".join(str(part) for part in lowest)
    remedy = f"install Go {wanted} or newer from https://go.dev/dl and put it on the PATH"
    try:
        version, system, architecture = (report or _go_report)().splitlines()
    except ClusterError:
        raise PreconditionError("there is no working Go, which builds the cluster's programs", remedy) from None
    found = re.search(r"go(\d+(?:\.\d+)*)", version)
    if found is None or tuple(int(part) for part in found[1].split(".")) < lowest:
        raise PreconditionError(f"Go is too old: {version}, needed is go{wanted}", remedy)
    return GoToolchain(version, f"{system}/{architecture}")


def _go_report() -> str:
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off"}
    return shell.run("go", "env", "GOVERSION", "GOOS", "GOARCH", environment=environment, folder="/")


@dataclass(frozen=True)
class Room:
    """Bytes that something needs on the file system of a folder, which need not exist yet."""

    folder: Path
    needed: int
    purpose: str

    @property
    def place(self) -> Path:
        """The nearest folder that exists."""
        return next(path for path in (self.folder, *self.folder.parents) if path.exists())


def require_rooms(rooms: list[Room], free: Callable[[Path], int] | None = None) -> None:
    """Room for all of them together, on each file system."""
    by_device: dict[int, list[Room]] = {}
    for room in rooms:
        by_device.setdefault(room.place.stat().st_dev, []).append(room)
    for sharing in by_device.values():
        purpose = ", ".join(room.purpose for room in sharing)
        require_room(sharing[0].folder, sum(room.needed for room in sharing), purpose, free)


def require_room(folder: Path, needed: int, purpose: str, free: Callable[[Path], int] | None = None) -> None:
    """Room on the file system of a folder, which need not exist yet."""
    place = Room(folder, needed, purpose).place
    available = (free or _free_bytes)(place)
    if available < needed:
        raise PreconditionError(
            f"too little room on the disk of {place} for {purpose}: "
            f"{available / 1e9:.1f} GB free, {needed / 1e9:.1f} GB needed",
            "free some, or choose another place with XDG_CACHE_HOME, XDG_STATE_HOME or GOCACHE",
        )


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def require_room_for_state(state: Path) -> None:
    """Room for etcd and containers, and above the share at which the kubelet would start to evict pods (1 %)."""
    place = next(path for path in (state, *state.parents) if path.exists())
    require_room(state, max(_STATE_BYTES, shutil.disk_usage(place).total // 50), "the cluster's state")


def require_free_port(port: int) -> None:
    """The host's loopback port that is to lead to the API server."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PreconditionError(
                f"port {port} of this machine is taken by something else",
                f"end what listens there (`ss -ltnp sport = :{port}`), or choose another with --port",
            ) from None


def require_free_namespace(exists: Callable[[], bool] = netns.exists) -> None:
    """A namespace of our name without our record is somebody else's."""
    if exists():
        raise PreconditionError(
            f"a network namespace {layout.NAMESPACE} exists that no fluxpool-cluster on record has made",
            f"if nothing needs it: ip netns del {layout.NAMESPACE}",
        )


def require_no_other_node(processes: list[str]) -> None:
    """Two kubelets on one machine would share fixed paths and the cgroup of all pods."""
    if processes:
        raise PreconditionError(
            f"another Kubernetes node runs on this machine: process {processes[0]}",
            "use that cluster with CLUSTER=current, or stop it",
        )


def require_unused(*, up: bool) -> None:
    """Tests that take the cluster up and down must not do so to one that somebody uses."""
    if up:
        raise PreconditionError("a cluster is up, and the tests would stop it", "`make cluster-down` first")


def require_own_state(record: machine.MachineRecord, state: Path) -> None:
    """The cluster that is up may have been started with another state folder, by another user for example."""
    if record.state != state:
        raise PreconditionError(
            f"a cluster is up on this machine already, with its state in {record.state}",
            f"use that one, or stop it first: XDG_STATE_HOME={record.state.parent} make cluster-down",
        )
