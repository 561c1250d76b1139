"""Whatever happened, the next `up` works and the next `down` leaves nothing."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import ENVIRONMENT, TOOL, kubectl, python_pod, snapshot, supervised, tool, wait_until, what_is_left

from fluxpool_cluster import health, images, layout, machine, netns, paths, processes, teardown
from fluxpool_cluster.layout import Layout

pytestmark = pytest.mark.cluster

WHERE = Layout(layout.state_folder())


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = snapshot()
    yield
    tool("down")
    assert what_is_left(before) == {}


def run_two_pods() -> None:
    for name in ("one", "two"):
        kubectl("apply", "-f", "-", stdin=python_pod(name, images.LINKS, "/bin/sleep", "600"))
    kubectl("wait", "--for=condition=Ready", "pod/one", "pod/two", "--timeout=60s")


def kill_everything_at_once() -> None:
    """What a power cut of all processes leaves: namespace, mounts and cgroups."""
    for pid in {*supervised().values(), *teardown.node_processes(), *netns.processes()}:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not netns.processes())
    assert netns.exists()
    assert machine.mounts_below(WHERE.state)


def test_up_after_everything_was_killed_starts_afresh() -> None:
    tool("up")
    run_two_pods()
    kill_everything_at_once()
    done = tool("up")
    assert "is not running" in done.stderr
    assert "cleaning up" in done.stderr
    assert kubectl("get", "pods", "-o", "name") == ""
    assert health.problems(WHERE) == []


def test_down_after_everything_was_killed_leaves_nothing() -> None:
    tool("up")
    run_two_pods()
    kill_everything_at_once()
    tool("down")
    assert machine.load() is None


def test_down_after_the_container_runtime_died_ends_its_orphans() -> None:
    tool("up")
    run_two_pods()
    os.kill(supervised()["containerd"], signal.SIGKILL)
    tool("down")
    assert machine.load() is None


def test_down_is_idempotent() -> None:
    assert "no cluster is up" in tool("down").stderr
    tool("up", "--layer", "control")
    tool("down")
    assert "no cluster is up" in tool("down").stderr


def test_a_start_that_was_killed_is_cleaned_up_by_the_next_one() -> None:
    with subprocess.Popen([*TOOL, "up", "--layer", "control"], env=ENVIRONMENT, stderr=subprocess.DEVNULL) as up:
        wait_until(lambda: "kube-apiserver" in supervised())
        up.kill()
    orphans = supervised()
    assert "its start did not finish" in tool("up", "--layer", "control").stderr
    assert not set(orphans.values()) & set(supervised().values())
    assert health.problems(WHERE) == []


def test_a_component_that_died_makes_up_start_afresh() -> None:
    tool("up", "--layer", "control")
    os.kill(supervised()["kube-scheduler"], signal.SIGKILL)
    wait_until(lambda: health.problems(WHERE) != [])
    assert tool("status", check=False).returncode == 1
    assert "kube-scheduler is not running" in tool("up", "--layer", "control").stderr
    assert tool("status").returncode == 0


def test_down_ends_what_others_still_run_inside_and_names_it() -> None:
    tool("up", "--layer", "control")
    with subprocess.Popen([*TOOL, "run", "--", "sleep", "600"], env=ENVIRONMENT) as guest:
        wait_until(lambda: guest.pid in netns.processes())
        assert f"{guest.pid} (sleep 600)" in tool("down").stderr
        assert guest.wait() == -signal.SIGTERM


def test_a_state_folder_that_was_moved_away_by_hand_does_not_keep_processes_alive(tmp_path: Path) -> None:
    tool("up", "--layer", "control")
    pids = list(supervised().values())
    WHERE.state.rename(tmp_path / "away")
    tool("down")
    assert [pid for pid in pids if processes.start_ticks(pid) is not None] == []


def test_a_host_folder_that_is_mounted_in_the_state_folder_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    tool("up", "--layer", "control")
    volume = WHERE.kubelet / "pods/uid/volume-subpaths/host"
    volume.mkdir(parents=True)
    subprocess.run(["mount", "--bind", tmp_path, volume], check=True)
    tool("down")
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_failed_start_prints_the_last_lines_of_the_log(tmp_path: Path) -> None:
    binaries = paths.binaries_folder()
    broken = tmp_path / "fluxpool-cluster" / binaries.name
    broken.mkdir(parents=True)
    for program in binaries.iterdir():
        (broken / program.name).symlink_to(program)
    (broken / "etcd").unlink()
    (broken / "etcd").write_text("#!/bin/sh\necho unknown flag: --name\nexit 2\n")
    (broken / "etcd").chmod(0o755)
    (broken / "kube-apiserver").unlink()
    (broken / "kube-apiserver").write_text("#!/bin/sh\necho connection to etcd refused\nexit 1\n")
    (broken / "kube-apiserver").chmod(0o755)
    done = tool("up", check=False, env={**ENVIRONMENT, "XDG_CACHE_HOME": str(tmp_path)})
    assert done.returncode == 1
    assert "kube-apiserver ended while waiting for: etcd and API server answer" in done.stderr
    assert f"{WHERE.logs / 'kube-apiserver.log'}:\nconnection to etcd refused\n" in done.stderr
    assert "remedy: `make cluster-down`" in done.stderr


def test_a_namespace_of_somebody_else_is_neither_used_nor_removed() -> None:
    first = not netns.handle().parent.exists()
    subprocess.run(["ip", "netns", "add", layout.NAMESPACE], check=True)
    try:
        done = tool("up", "--layer", "control", check=False)
        assert done.returncode == 1
        assert "a network namespace fluxpool-lab exists" in done.stderr
        tool("down")
        assert netns.exists()
    finally:
        netns.delete()
        if first:
            netns.remove_empty_folder()


def test_a_taken_port_is_refused_before_anything_is_made() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = tool("up", "--layer", "control", "--port", str(listener.getsockname()[1]), check=False)
    assert done.returncode == 1
    assert "is taken by something else" in done.stderr
    assert machine.load() is None


def test_the_cluster_of_another_state_folder_is_neither_used_nor_stopped(tmp_path: Path) -> None:
    tool("up", "--layer", "control")
    for command in ("up", "down"):
        done = tool(command, check=False, env={**ENVIRONMENT, "XDG_STATE_HOME": str(tmp_path)})
        assert done.returncode == 1
        assert f"a cluster is up on this machine already, with its state in {WHERE.state}" in done.stderr
    assert health.problems(WHERE) == []


def test_without_root_it_is_refused_in_one_sentence() -> None:
    plain_user = "import os, sys; from fluxpool_cluster import cli; os.setuid(65534); sys.exit(cli.main(['up']))"
    command = [sys.executable, "-c", plain_user]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("fluxpool-cluster: the local cluster needs root\nremedy: run the same with sudo")
