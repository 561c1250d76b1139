"""The control layer: etcd, API server, controller manager, scheduler, and KWOK for fake nodes.

The client rate limits of controller manager and scheduler are the greatest trap: at their defaults a start takes twice
as long and a thousand pods fifty seconds instead of nine.
"""

import json
from pathlib import Path

from fluxpool_cluster import credentials, layout, programs
from fluxpool_cluster.api import ApiClient
from fluxpool_cluster.console import Console
from fluxpool_cluster.layout import Layout
from fluxpool_cluster.processes import Component, ProcessTable

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
KWOK = "kwok"

_RATE_LIMITS = ("--kube-api-qps=500", "--kube-api-burst=1000")
_ETCD_URL = "http://127.0.0.1:2379"
_ETCD_PEER_URL = "http://127.0.0.1:2380"


def start(where: Layout, binaries: Path, processes: ProcessTable, console: Console) -> None:
    """Start it, inside the namespace, and wait until it hands out service accounts; about four seconds."""
    environment = component_environment(where, binaries)
    write_audit_policy(where)
    processes.spawn(Component(ETCD, etcd(where, binaries), environment))
    processes.spawn(Component(API_SERVER, api_server(where, binaries), environment))
    client = ApiClient.from_kubeconfig(where.inside_kubeconfig)
    processes.wait("etcd and API server answer", API_SERVER, lambda: client.text("/readyz") == "ok", console)
    processes.spawn(Component(CONTROLLER_MANAGER, controller_manager(where, binaries), environment))
    processes.spawn(Component(SCHEDULER, scheduler(where, binaries), environment))
    processes.spawn(Component(KWOK, kwok(where, binaries), environment))
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    processes.wait("controllers work", CONTROLLER_MANAGER, lambda: bool(client.get(account)), console)


def component_environment(where: Layout, binaries: Path) -> tuple[tuple[str, str], ...]:
    """The whole environment of a component: no proxy, and a home that goes away with the cluster."""
    return (("PATH", layout.search_path(binaries)), ("HOME", str(where.state)))


def etcd(where: Layout, binaries: Path) -> tuple[str, ...]:
    """Command line of etcd: nothing here outlives the cluster, so it need not wait for the disk."""
    return (
        str(binaries / ETCD),
        "--name=lab",
        f"--data-dir={where.state / 'etcd'}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--listen-client-urls={_ETCD_URL}",
        f"--advertise-client-urls={_ETCD_URL}",
        f"--listen-peer-urls={_ETCD_PEER_URL}",
        f"--initial-advertise-peer-urls={_ETCD_PEER_URL}",
        f"--initial-cluster=lab={_ETCD_PEER_URL}",
    )


def api_server(where: Layout, binaries: Path) -> tuple[str, ...]:
    """Command line of the API server."""
    pki = where.pki
    return (
        str(binaries / API_SERVER),
        f"--etcd-servers={_ETCD_URL}",
        "--bind-address=0.0.0.0",
        f"--secure-port={layout.API_PORT}",
        f"--advertise-address={layout.NODE_ADDRESS}",
        f"--service-cluster-ip-range={layout.SERVICES}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--token-auth-file={pki}/tokens.csv",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--profiling=false",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/service-account.pub",
        f"--service-account-signing-key-file={pki}/service-account.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/kubelet-client.crt",
        f"--kubelet-client-key={pki}/kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={where.config}/audit-policy.yaml",
        f"--audit-log-path={where.audit_log}",
        *_aggregation(pki),
    )


def _aggregation(pki: Path) -> tuple[str, ...]:
    """What an APIService (custom metrics, for example) needs."""
    return (
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki}/front-proxy.crt",
        f"--proxy-client-key-file={pki}/front-proxy.key",
    )


def write_audit_policy(where: Layout) -> None:
    """Log who asked for what, so that tests can count API calls; the cluster's own components are left out."""
    own = [
        "system:apiserver",
        "system:kube-controller-manager",
        "system:kube-scheduler",
        "system:kube-proxy",
        f"system:node:{layout.NODE}",
        "kwok",
        "coredns",
    ]
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "users": own},
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
            {"level": "Metadata"},
        ],
    }
    where.logs.mkdir(exist_ok=True)
    (where.config / "audit-policy.yaml").write_text(json.dumps(policy, indent=2), encoding="utf-8")


def _kubeconfigs(where: Layout, client: str) -> tuple[str, ...]:
    path = credentials.client_kubeconfig(where, client)
    return (
        f"--kubeconfig={path}",
        f"--authentication-kubeconfig={path}",
        f"--authorization-kubeconfig={path}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        *_RATE_LIMITS,
    )


def controller_manager(where: Layout, binaries: Path) -> tuple[str, ...]:
    """Command line of the controller manager, with short periods so that tests need not wait for them."""
    return (
        str(binaries / CONTROLLER_MANAGER),
        *_kubeconfigs(where, "controller-manager"),
        "--controllers=*",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={where.pki}/service-account.key",
        f"--root-ca-file={where.pki}/ca.crt",
        f"--cluster-signing-cert-file={where.pki}/ca.crt",
        f"--cluster-signing-key-file={where.pki}/ca.key",
        # Its default makes an empty folder below /usr/libexec.
        f"--flex-volume-plugin-dir={where.state}/flexvolume",
        "--node-monitor-period=2s",
        "--node-monitor-grace-period=16s",
        "--horizontal-pod-autoscaler-sync-period=2s",
        "--horizontal-pod-autoscaler-downscale-stabilization=5s",
        "--horizontal-pod-autoscaler-initial-readiness-delay=1s",
    )


def scheduler(where: Layout, binaries: Path) -> tuple[str, ...]:
    """Command line of the scheduler."""
    return (str(binaries / SCHEDULER), *_kubeconfigs(where, "scheduler"))


def kwok(where: Layout, binaries: Path) -> tuple[str, ...]:
    """Command line of KWOK; leases keep its nodes alive, since its heartbeat stage comes every ten minutes."""
    return (
        str(binaries / KWOK),
        f"--kubeconfig={credentials.client_kubeconfig(where, 'kwok')}",
        "--manage-nodes-with-label-selector=type=kwok",
        f"--cidr={layout.FAKE_PODS}",
        f"--node-ip={layout.NODE_ADDRESS}",
        "--node-lease-duration-seconds=40",
        "--server-address=127.0.0.1:10247",
        f"--config={binaries / programs.KWOK_STAGES}",
    )
