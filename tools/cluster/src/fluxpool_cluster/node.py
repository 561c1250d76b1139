"""The node layer: containerd, kubelet and kube-proxy for one real node, and CoreDNS.

"GPUs" are an extended resource in the node's status, which the kubelet takes as it finds it.
"""

import json
from pathlib import Path
from typing import Any

from fluxpool_cluster import containerd, credentials, dns, images, layout, netns
from fluxpool_cluster.api import JSON_PATCH, ApiClient
from fluxpool_cluster.console import Console
from fluxpool_cluster.containerd import CONTAINERD
from fluxpool_cluster.control_plane import component_environment
from fluxpool_cluster.layout import Layout
from fluxpool_cluster.processes import Component, ProcessTable

KUBELET = "kubelet"
KUBE_PROXY = "kube-proxy"
_NODE_PATH = f"/api/v1/nodes/{layout.NODE}"


def start(where: Layout, binaries: Path, processes: ProcessTable, console: Console) -> None:
    """Start it, inside the namespace, beside a control layer, and wait for the node; about two seconds."""
    netns.prepare_forwarding()
    environment = component_environment(where, binaries)
    containerd.configure(where)
    configure(where)
    processes.spawn(Component(CONTAINERD, containerd.command(where), environment))
    processes.wait("container runtime answers", CONTAINERD, lambda: containerd.answers(where), console)
    for image in images.standard_images(where.state / "images", binaries):
        containerd.import_image(where, image)
    dns.configure(where)
    processes.spawn(Component(dns.COREDNS, dns.command(where, binaries), environment))
    processes.spawn(Component(KUBELET, kubelet(where, binaries), environment))
    processes.spawn(Component(KUBE_PROXY, kube_proxy(where, binaries), environment))
    client = ApiClient.from_kubeconfig(where.inside_kubeconfig)
    processes.wait(f"node {layout.NODE} is ready", KUBELET, lambda: is_ready(client), console)
    processes.wait("cluster DNS answers", dns.COREDNS, dns.answers, console)


def configure(where: Layout) -> None:
    """Write the configurations of kubelet and kube-proxy."""
    where.config.mkdir(exist_ok=True)
    (where.config / "resolv.conf").write_text("nameserver 127.0.0.1\n", encoding="utf-8")
    (where.config / "kubelet.yaml").write_text(json.dumps(kubelet_config(where), indent=2), encoding="utf-8")
    (where.config / "kube-proxy.yaml").write_text(json.dumps(kube_proxy_config(where), indent=2), encoding="utf-8")


def kubelet(where: Layout, binaries: Path) -> tuple[str, ...]:
    """Command line of the kubelet."""
    return (
        str(binaries / KUBELET),
        f"--config={where.config}/kubelet.yaml",
        f"--kubeconfig={credentials.client_kubeconfig(where, 'kubelet')}",
        f"--root-dir={where.kubelet}",
        f"--hostname-override={layout.NODE}",
        f"--node-ip={layout.NODE_ADDRESS}",
    )


def kubelet_config(where: Layout) -> dict[str, Any]:
    """KubeletConfiguration: cgroup v1 is allowed, nothing of the machine is tuned that need not be."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "containerRuntimeEndpoint": f"unix://{where.containerd_socket}",
        "address": layout.NODE_ADDRESS,
        "readOnlyPort": 0,
        "healthzPort": 0,
        "tlsCertFile": f"{where.pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{where.pki}/kubelet.key",
        "authentication": {
            "x509": {"clientCAFile": f"{where.pki}/ca.crt"},
            "webhook": {"enabled": True},
            "anonymous": {"enabled": False},
        },
        "authorization": {"mode": "Webhook"},
        "resolvConf": f"{where.config}/resolv.conf",
        "clusterDomain": "cluster.local",
        "clusterDNS": [layout.DNS_ADDRESS],
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "1s",
        "syncFrequency": "5s",
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        "oomScoreAdj": 0,
        "maxOpenFiles": 20000,
        "podLogsDir": f"{where.state}/podlogs",
        "volumePluginDir": f"{where.kubelet}/volplugins",
    }


def kube_proxy(where: Layout, binaries: Path) -> tuple[str, ...]:
    """Command line of kube-proxy."""
    return (str(binaries / KUBE_PROXY), f"--config={where.config}/kube-proxy.yaml")


def kube_proxy_config(where: Layout) -> dict[str, Any]:
    """KubeProxyConfiguration: changes at once, since at the default first requests to a new Service hang a second."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "bindAddress": layout.NODE_ADDRESS,
        "clusterCIDR": layout.PODS,
        "hostnameOverride": layout.NODE,
        "oomScoreAdj": 0,
        "conntrack": {"maxPerCore": 0, "min": 0},
        "iptables": {"minSyncPeriod": "100ms"},
        "clientConnection": {"kubeconfig": str(credentials.client_kubeconfig(where, "proxy"))},
    }


def is_ready(client: ApiClient) -> bool:
    """Whether the real node is Ready."""
    return _ready_condition(client).get("status") == "True"


def heartbeat(client: ApiClient) -> str:
    """When the kubelet last reported the node's status, to the second."""
    return _ready_condition(client).get("lastHeartbeatTime", "")


def _ready_condition(client: ApiClient) -> dict[str, str]:
    conditions = client.get(_NODE_PATH)["status"].get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == "Ready"), {})


def advertise(client: ApiClient, resource: str, count: int) -> None:
    """Make the node have `count` of an extended resource; the kubelet makes them allocatable within a second."""
    pointer = resource.replace("~", "~0").replace("/", "~1")
    operation = {"op": "add", "path": f"/status/capacity/{pointer}", "value": str(count)}
    client.patch(f"{_NODE_PATH}/status", [operation], JSON_PATCH)


def allocatable(client: ApiClient, resource: str) -> int:
    """How many of an extended resource pods can have on the node."""
    return int(client.get(_NODE_PATH)["status"]["allocatable"].get(resource, "0"))
