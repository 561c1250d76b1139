"""Where everything lies: names, addresses, ports and folders. Nothing here touches the machine.

The whole cluster lives in one network namespace. Node and API server share an address on its loopback device that is
neither a loopback address (Kubernetes refuses those for nodes and endpoints) nor routed anywhere else.
"""

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

NAMESPACE = "fluxpool-lab"
"""Name of the network namespace."""
CONTEXT = "fluxpool-lab"
"""Name of the context, cluster and user in the kubeconfigs."""
NODE = "node-1"
"""Name of the real node."""
NODE_ADDRESS = "10.96.255.1"
SERVICES = "10.96.0.0/17"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
PODS = "10.244.0.0/16"
NODE_PODS = "10.244.1.0/24"
FAKE_PODS = "10.245.0.0/16"
API_PORT = 6443
"""Port of the API server inside the namespace."""
DEFAULT_HOST_PORT = 16443
"""Loopback port on the host that leads to the API server."""

MACHINE_FOLDER = Path("/var/lib/fluxpool-cluster")
"""Holds the lock and the record of what to put back; one per machine, gone after `down`."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are if the PATH does not say: sudo's leaves out the folder in which Go's own instructions put Go."""


class Layer(Enum):
    """How much of a cluster there is; NODE includes CONTROL."""

    CONTROL = "control"
    NODE = "node"


def _xdg(variable: str, fallback: str) -> Path:
    """The XDG base folder; the specification says that a relative path is to be ignored."""
    value = Path(os.environ.get(variable, ""))
    return value if value.is_absolute() else Path.home() / fallback


def state_folder() -> Path:
    """Folder of the running cluster's state: never inside a checkout, removed by `down`."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "fluxpool-cluster"


def cache_folder() -> Path:
    """Folder of the built programs, shared by all checkouts of a user."""
    return _xdg("XDG_CACHE_HOME", ".cache") / "fluxpool-cluster"


def search_path(*first: Path) -> str:
    """A PATH with `first` in front and SYSTEM_PATH at the end (a plain `su` leaves the sbin folders out)."""
    return os.pathsep.join([*(str(folder) for folder in first), os.environ.get("PATH", ""), SYSTEM_PATH])


@dataclass(frozen=True)
class Layout:
    """The files below one state folder."""

    state: Path

    @property
    def kubeconfig(self) -> Path:
        """Administrator's kubeconfig for the host: through the forwarder."""
        return self.state / "kubeconfig"

    @property
    def inside_kubeconfig(self) -> Path:
        """Administrator's kubeconfig for processes inside the namespace."""
        return self.state / "kubeconfig.inside"

    @property
    def summary(self) -> Path:
        """What runs (health.Summary); it exists only while a start or an upgrade is complete."""
        return self.state / "cluster.json"

    @property
    def pki(self) -> Path:
        """Certificates, keys and the token file."""
        return self.state / "pki"

    @property
    def config(self) -> Path:
        """Configuration files of the components."""
        return self.state / "config"

    @property
    def logs(self) -> Path:
        """One log file per supervised process."""
        return self.state / "log"

    @property
    def audit_log(self) -> Path:
        """API requests of everybody but the cluster's own components, one JSON object per line."""
        return self.logs / "audit.log"

    @property
    def processes(self) -> Path:
        """One record per supervised process."""
        return self.state / "processes"

    @property
    def containerd(self) -> Path:
        """Everything of containerd."""
        return self.state / "containerd"

    @property
    def containerd_socket(self) -> Path:
        """The runtime's socket."""
        return self.containerd / "containerd.sock"

    @property
    def kubelet(self) -> Path:
        """The kubelet's root."""
        return self.state / "kubelet"

    @property
    def scratch(self) -> Path:
        """Caches of kubectl and Helm under `run`."""
        return self.state / "scratch"
