"""The container runtime: its configuration, the pod network, and images.

Everything that can be moved into the state folder is: the namespaces of pods, runc's state, the sockets.
"""

import json
from pathlib import Path

from fluxpool_cluster import images, layout, shell
from fluxpool_cluster.layout import Layout
from fluxpool_cluster.packages import CNI_PLUGINS

CONTAINERD = "containerd"

_CNI_RESULTS = Path("/var/lib/cni/results")

_CONFIG = """version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without it a container cannot start where root lacks CAP_SYS_RESOURCE ("can't get final child's PID from pipe").
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    Root = "{folder}/runc"
    SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{folder}/cni"
"""


def configure(where: Layout) -> None:
    """Write the configuration of containerd and of the pod network."""
    folder = where.containerd
    (folder / "cni").mkdir(parents=True, exist_ok=True)
    config = _CONFIG.format(folder=folder, socket=where.containerd_socket, pause=images.PAUSE, cni=CNI_PLUGINS)
    (folder / "config.toml").write_text(config, encoding="utf-8")
    network = json.dumps(pod_network(where), indent=2)
    (folder / "cni" / "10-lab.conflist").write_text(network, encoding="utf-8")


def pod_network(where: Layout) -> dict[str, object]:
    """One bridge for all pods of the node; nothing is masqueraded, since nothing leaves the namespace."""
    addresses = {
        "type": "host-local",
        "dataDir": str(where.containerd / "addresses"),
        "ranges": [[{"subnet": layout.NODE_PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": addresses,
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": layout.NAMESPACE, "plugins": [bridge, ports]}


def command(where: Layout) -> tuple[str, ...]:
    """Command line of containerd."""
    return (CONTAINERD, "--config", str(where.containerd / "config.toml"))


def _ctr(where: Layout, *arguments: str | Path) -> str:
    return shell.run("ctr", "--address", where.containerd_socket, "--namespace", "k8s.io", *arguments)


def answers(where: Layout) -> bool:
    """Whether it runs; raises ClusterError while it does not."""
    return bool(_ctr(where, "version"))


def import_image(where: Layout, tar: Path) -> str:
    """Import a docker or OCI archive; returns what was imported, in the runtime's words."""
    return _ctr(where, "images", "import", tar).strip()


def outside_files(where: Layout) -> list[Path]:
    """What running containers have outside the state folder, whatever the configuration says.

    The sockets of the shims, and the pod network's notes on each sandbox.
    """
    tasks = list(where.containerd.glob("state/io.containerd.runtime.v2.task/*/*"))
    addresses = [task / "address" for task in tasks if (task / "address").exists()]
    sockets = [Path(address.read_text(encoding="utf-8").removeprefix("unix://")) for address in addresses]
    return sockets + [note for task in tasks for note in _CNI_RESULTS.glob(f"*-{task.name}-*")]
