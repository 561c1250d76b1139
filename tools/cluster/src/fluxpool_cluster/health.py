"""What runs, and whether it is well."""

import json
from dataclasses import dataclass
from pathlib import Path

from fluxpool_cluster import containerd, control_plane, dns, node
from fluxpool_cluster.api import ApiClient
from fluxpool_cluster.errors import ClusterError, NotUpError
from fluxpool_cluster.layout import Layer, Layout
from fluxpool_cluster.processes import ProcessTable

FORWARDER = "forwarder"

_CONTROL = (
    FORWARDER,
    control_plane.ETCD,
    control_plane.API_SERVER,
    control_plane.CONTROLLER_MANAGER,
    control_plane.SCHEDULER,
    control_plane.KWOK,
)
_NODE = (containerd.CONTAINERD, node.KUBELET, node.KUBE_PROXY, dns.COREDNS)


@dataclass(frozen=True)
class Summary:
    """The cluster that was started; its file exists only while a start or an upgrade is complete.

    Attributes:
        layer: how much of it there is.
        binaries: folder of the programs it runs.
        host_port: loopback port on the host.
        resource: name of the node's extended resource.
        count: how many of it the node has.
    """

    layer: Layer
    binaries: Path
    host_port: int
    resource: str
    count: int


def save(where: Layout, summary: Summary) -> None:
    """Declare the start complete."""
    fields = {**vars(summary), "layer": summary.layer.value, "binaries": str(summary.binaries)}
    temporary = where.summary.with_suffix(".new")
    temporary.write_text(json.dumps(fields), encoding="utf-8")
    temporary.rename(where.summary)


def load(where: Layout) -> Summary | None:
    """The running cluster's summary; None when there is no cluster, or when its start was never completed."""
    try:
        fields = json.loads(where.summary.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Summary(**{**fields, "layer": Layer(fields["layer"]), "binaries": Path(fields["binaries"])})


def require_up(where: Layout) -> Summary:
    """The running cluster's summary.

    Raises:
        NotUpError: there is none.
    """
    summary = load(where)
    if summary is None:
        raise NotUpError("no cluster is up", "make cluster-up")
    return summary


def component_names(layer: Layer) -> tuple[str, ...]:
    """The supervised processes of a layer."""
    return _CONTROL + (_NODE if layer is Layer.NODE else ())


def process_table(where: Layout) -> ProcessTable:
    """The supervised processes of a state folder."""
    return ProcessTable(where.processes, where.logs)


def problems(where: Layout) -> list[str]:
    """What is wrong, in words; empty when the cluster is well. Asks from the host, so the way in is checked too."""
    summary = load(where)
    if summary is None:
        return ["its start did not finish"]
    processes = process_table(where)
    dead = [name for name in component_names(summary.layer) if not processes.alive(name)]
    if dead:
        return [f"{name} is not running (log: {processes.log(name)})" for name in dead]
    try:
        return _api_problems(ApiClient.from_kubeconfig(where.kubeconfig), summary.layer)
    except (OSError, ClusterError) as error:
        return [f"the API server does not answer: {error}"]


def _api_problems(client: ApiClient, layer: Layer) -> list[str]:
    if (answer := client.text("/readyz")) != "ok":
        return [f"the API server is not ready: {answer}"]
    if layer is Layer.NODE and not node.is_ready(client):
        return ["the node is not ready"]
    return []
