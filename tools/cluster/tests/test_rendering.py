import base64
import json
import tomllib
from pathlib import Path

import pytest

from fluxpool_cluster import containerd, control_plane, credentials, dns, layout, node, programs
from fluxpool_cluster.layout import Layout

WHERE = Layout(Path("/state"))
BINARIES = Path("/binaries")


def flags(argv: tuple[str, ...]) -> dict[str, str]:
    words = (word.removeprefix("--").partition("=") for word in argv[1:])
    return {name: value for name, _, value in words}


def test_controllers_and_scheduler_have_raised_rate_limits() -> None:
    for command in (control_plane.controller_manager, control_plane.scheduler):
        given = flags(command(WHERE, BINARIES))
        assert (given["kube-api-qps"], given["kube-api-burst"]) == ("500", "1000")


def test_the_api_server_is_reached_at_an_address_that_is_not_loopback() -> None:
    given = flags(control_plane.api_server(WHERE, BINARIES))
    assert given["advertise-address"] == layout.NODE_ADDRESS == "10.96.255.1"
    assert given["service-cluster-ip-range"] == "10.96.0.0/17"


@pytest.mark.parametrize(
    "command",
    [
        control_plane.etcd,
        control_plane.api_server,
        control_plane.controller_manager,
        control_plane.scheduler,
        control_plane.kwok,
        node.kubelet,
        node.kube_proxy,
    ],
)
def test_every_path_of_a_component_lies_in_the_state_folder_or_with_the_binaries(command: object) -> None:
    argv = command(WHERE, BINARIES)  # type: ignore[operator]
    assert argv[0].startswith("/binaries/")
    paths = [value for value in flags(argv).values() if value.startswith("/")]
    assert all(path.startswith(("/state/", "/binaries/")) for path in paths)


def test_fake_nodes_live_by_leases_and_the_stages_that_were_built() -> None:
    given = flags(control_plane.kwok(WHERE, BINARIES))
    assert given["config"] == f"/binaries/{programs.KWOK_STAGES}"
    assert given["node-lease-duration-seconds"] == "40"
    assert given["cidr"] == layout.FAKE_PODS


def test_the_kubelet_runs_on_cgroup_v1_and_v2_and_moves_what_can_be_moved() -> None:
    config = node.kubelet_config(WHERE)
    assert config["failCgroupV1"] is False
    assert config["cgroupDriver"] == "cgroupfs"
    assert config["podLogsDir"] == "/state/podlogs"
    assert config["containerRuntimeEndpoint"] == "unix:///state/containerd/containerd.sock"


def test_kube_proxy_applies_changes_at_once() -> None:
    assert node.kube_proxy_config(WHERE)["iptables"] == {"minSyncPeriod": "100ms"}


def test_containerd_keeps_namespaces_and_runtime_state_in_the_state_folder(tmp_path: Path) -> None:
    where = Layout(tmp_path)
    containerd.configure(where)
    config = tomllib.loads((where.containerd / "config.toml").read_text())
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["netns_mounts_under_state_dir"] is True
    assert cri["restrict_oom_score_adj"] is True
    assert cri["containerd"]["runtimes"]["runc"]["options"]["Root"] == f"{where.containerd}/runc"
    assert config["grpc"]["address"] == str(where.containerd_socket)
    network = json.loads((where.containerd / "cni/10-lab.conflist").read_text())
    assert network["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}]]


def test_unknown_names_are_denied_in_a_server_block_of_their_own() -> None:
    cluster, rest = dns.corefile(WHERE).split(".:53 {")
    assert "template" not in cluster
    assert "rcode NXDOMAIN" in rest
    assert "kubeconfig /state/config/coredns.kubeconfig" in cluster


def test_a_dns_question_is_what_rfc_1035_says() -> None:
    assert dns.query("a.bc") == bytes.fromhex("0001 0100 0001 0000 0000 0000 01 61 02 6263 00 0001 0001")


@pytest.mark.parametrize(
    ("flags_hex", "answers", "expected"), [("8580", 1, True), ("8583", 1, False), ("8580", 0, False)]
)
def test_only_a_reply_with_an_answer_and_no_error_counts(flags_hex: str, answers: int, expected: bool) -> None:
    reply = b"\0\1" + bytes.fromhex(flags_hex) + b"\0\1" + answers.to_bytes(2) + bytes(4)
    assert dns.has_answer(reply) is expected


def test_a_kubeconfig_needs_no_other_file_and_names_the_lab() -> None:
    config = json.loads(credentials.kubeconfig("https://127.0.0.1:16443", b"CERTIFICATE", "secret"))
    assert config["current-context"] == "fluxpool-lab"
    assert config["contexts"] == [
        {"name": "fluxpool-lab", "context": {"cluster": "fluxpool-lab", "user": "fluxpool-lab"}}
    ]
    cluster = config["clusters"][0]["cluster"]
    assert base64.b64decode(cluster["certificate-authority-data"]) == b"CERTIFICATE"
    assert cluster["server"] == "https://127.0.0.1:16443"


def test_credentials_are_made_once_per_start_and_nobody_else_may_read_them(tmp_path: Path) -> None:
    where = Layout(tmp_path)
    credentials.create(where, 16443)
    for path in (where.kubeconfig, where.inside_kubeconfig, credentials.client_kubeconfig(where, "kubelet")):
        assert path.stat().st_mode & 0o777 == 0o600
    host, inside = (json.loads(path.read_text()) for path in (where.kubeconfig, where.inside_kubeconfig))
    assert host["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:16443"
    assert inside["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert host["users"] == inside["users"]
    tokens = (where.pki / "tokens.csv").read_text()
    assert ',system:node:node-1,kubelet,"system:nodes"' in tokens


def test_the_audit_log_leaves_out_the_clusters_own_components(tmp_path: Path) -> None:
    where = Layout(tmp_path)
    where.config.mkdir()
    control_plane.write_audit_policy(where)
    policy = json.loads((where.config / "audit-policy.yaml").read_text())
    silent, controllers, rest = policy["rules"]
    assert {"kwok", "system:node:node-1"} <= set(silent["users"])
    assert controllers["userGroups"] == ["system:serviceaccounts:kube-system"]
    assert rest == {"level": "Metadata"}
