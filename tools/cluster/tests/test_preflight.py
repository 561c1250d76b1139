import socket
from pathlib import Path

import pytest

from fluxpool_cluster import packages, preflight
from fluxpool_cluster.errors import ClusterError, PreconditionError
from fluxpool_cluster.machine import MachineRecord
from fluxpool_cluster.preflight import Room


def refusal(error: pytest.ExceptionInfo[PreconditionError]) -> tuple[str, str]:
    return error.value.message, error.value.remedy


def test_another_system_is_refused() -> None:
    with pytest.raises(PreconditionError) as error:
        preflight.require_linux("darwin")
    message, remedy = refusal(error)
    assert message == "the local cluster needs Linux, this is darwin"
    assert "CLUSTER=current" in remedy


def test_a_plain_user_is_told_to_use_sudo() -> None:
    with pytest.raises(PreconditionError) as error:
        preflight.require_root(1000)
    assert refusal(error)[0] == "the local cluster needs root"
    assert "sudo" in refusal(error)[1]


def test_missing_packages_come_with_the_line_that_installs_them() -> None:
    with pytest.raises(PreconditionError) as error:
        preflight.require_programs(("runc", "ctr", "containerd", "ip"), has=lambda program: program == "ip")
    message, remedy = refusal(error)
    assert message == "these Debian packages are missing: containerd runc"
    assert "apt-get install --yes --no-install-recommends containerd runc" in remedy


def test_the_control_layer_needs_no_container_runtime() -> None:
    preflight.require_programs(preflight._CONTROL_PROGRAMS, has=lambda program: program in {"ip", "openssl"})
    of_make = preflight.BUILD_PROGRAMS + preflight.ENVIRONMENT_PROGRAMS
    assert set(preflight._CONTROL_PROGRAMS + preflight._NODE_PROGRAMS + of_make) == set(packages.PACKAGES)


def test_a_missing_go_is_named() -> None:
    def none() -> str:
        raise ClusterError("the program go is not installed")

    with pytest.raises(PreconditionError) as error:
        preflight.require_go((1, 26, 0), none)
    assert refusal(error) == (
        "there is no working Go, which builds the cluster's programs",
        "install Go 1.26.0 or newer from https://go.dev/dl and put it on the PATH",
    )


@pytest.mark.parametrize("version", ["go1.19.8", "go1.25", "go1.25.9", "devel go1.25-abcdef"])
def test_an_old_go_is_refused_with_both_versions(version: str) -> None:
    with pytest.raises(PreconditionError) as error:
        preflight.require_go((1, 26, 0), lambda: f"{version}\nlinux\namd64\n")
    assert refusal(error)[0] == f"Go is too old: {version}, needed is go1.26.0"


@pytest.mark.parametrize("version", ["go1.26.0", "go1.26.8", "go1.30", "go2.0", "devel go1.27-abcdef Mon"])
def test_a_new_enough_go_is_taken_with_its_architecture(version: str) -> None:
    toolchain = preflight.require_go((1, 26, 0), lambda: f"{version}\nlinux\narm64\n")
    assert toolchain == preflight.GoToolchain(version, "linux/arm64")


def test_a_full_disk_is_refused_with_numbers(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError) as error:
        preflight.require_room(tmp_path / "not" / "there", 2 * 10**9, "etcd", free=lambda folder: 10**8)
    message, remedy = refusal(error)
    assert message == f"too little room on the disk of {tmp_path} for etcd: 0.1 GB free, 2.0 GB needed"
    assert "XDG_STATE_HOME" in remedy


def test_a_taken_port_is_refused_and_a_free_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PreconditionError) as error:
            preflight.require_free_port(port)
    message, remedy = refusal(error)
    assert message == f"port {port} of this machine is taken by something else"
    assert "--port" in remedy
    preflight.require_free_port(port)


def test_a_namespace_that_nobody_has_on_record_is_left_alone() -> None:
    with pytest.raises(PreconditionError) as error:
        preflight.require_free_namespace(lambda: True)
    message, remedy = refusal(error)
    assert "a network namespace fluxpool-lab exists" in message
    assert "ip netns del fluxpool-lab" in remedy
    preflight.require_free_namespace(lambda: False)


def test_another_kubernetes_node_on_the_machine_is_left_alone() -> None:
    with pytest.raises(PreconditionError) as error:
        preflight.require_no_other_node(["812 (/usr/local/bin/k3s server)"])
    assert refusal(error)[0] == "another Kubernetes node runs on this machine: process 812 (/usr/local/bin/k3s server)"
    preflight.require_no_other_node([])


def test_a_cluster_of_another_state_folder_is_refused_with_the_way_to_stop_it() -> None:
    record = MachineRecord(Path("/home/a/.local/state/fluxpool-cluster"), {}, ())
    with pytest.raises(PreconditionError) as error:
        preflight.require_own_state(record, Path("/root/.local/state/fluxpool-cluster"))
    assert "XDG_STATE_HOME=/home/a/.local/state make cluster-down" in refusal(error)[1]
    preflight.require_own_state(record, record.state)


def test_what_shares_a_disk_must_fit_on_it_together(tmp_path: Path) -> None:
    rooms = [Room(tmp_path / "a/b", 5 * 10**9, "Go's caches"), Room(tmp_path, 4 * 10**9, "Python environments")]
    preflight.require_rooms(rooms, lambda folder: 9 * 10**9)
    with pytest.raises(PreconditionError) as error:
        preflight.require_rooms(rooms, lambda folder: 8 * 10**9)
    assert refusal(error)[0] == (
        f"too little room on the disk of {tmp_path} for Go's caches, Python environments: 8.0 GB free, 9.0 GB needed"
    )


def test_a_cluster_in_use_is_not_taken_for_tests() -> None:
    preflight.require_unused(up=False)
    with pytest.raises(PreconditionError) as error:
        preflight.require_unused(up=True)
    assert refusal(error) == ("a cluster is up, and the tests would stop it", "`make cluster-down` first")


def test_a_python_without_ensurepip_needs_debians_venv(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packages.missing(("Python's venv",), has=lambda program: False) == ["python3-venv"]
    assert packages.present("Python's venv")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not packages.present("Python's venv")
