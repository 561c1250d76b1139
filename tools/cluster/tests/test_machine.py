from pathlib import Path

import pytest

from fluxpool_cluster import containerd, layout, machine
from fluxpool_cluster.errors import TeardownError
from fluxpool_cluster.layout import Layout
from fluxpool_cluster.machine import MachineRecord


@pytest.fixture
def machine_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(layout, "MACHINE_FOLDER", tmp_path / "machine")
    return tmp_path / "machine"


def test_the_record_survives_from_one_command_to_the_next(machine_folder: Path) -> None:
    record = MachineRecord(Path("/state"), {"kernel/panic": "1"}, ("/var/lib/cni",))
    machine.save(record)
    assert machine.load() == record
    machine.forget()
    assert machine.load() is None


def test_a_record_notes_which_fixed_paths_were_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    paths = (str(tmp_path / "there"), str(tmp_path / "there/inner"), str(tmp_path / "absent"))
    monkeypatch.setattr(machine, "_FIXED_PATHS", paths)
    assert machine.capture(tmp_path).absent == paths[1:]


def test_only_changed_sysctls_are_written_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_PROC_SYS", tmp_path)
    for name, value in {"panic": "10\n", "other": "7\n"}.items():
        (tmp_path / name).write_text(value)
    (tmp_path / "other").chmod(0o444)
    machine.restore_sysctls(MachineRecord(tmp_path, {"panic": "1", "other": "7"}, ()))
    assert (tmp_path / "panic").read_text() == "1"
    assert (tmp_path / "other").read_text() == "7\n"


def test_mount_points_are_read_with_their_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [Path("/state"), Path("/state/a b"), Path("/state/ü\\x"), Path("/state-2"), Path("/")]
    monkeypatch.setattr(machine, "_mount_points", lambda: iter(points))
    assert machine.mounts_below(Path("/state")) == points[:3]


def test_the_kernels_escapes_in_mount_points_are_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = r"36 35 98:0 / /state/a\040b\134c rw,noatime - ext4 /dev/root rw" + "\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: line)
    assert list(machine._mount_points()) == [Path("/state/a b\\c")]


def test_a_folder_with_something_mounted_in_it_is_never_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume is a bind mount of a host folder: deleting through it would delete the host's files."""
    mounted = tmp_path / "state/volumes/host"
    mounted.mkdir(parents=True)
    (mounted / "precious").write_text("kept")
    monkeypatch.setattr(machine, "_mount_points", lambda: iter([Path("/"), mounted]))
    with pytest.raises(TeardownError, match="still mounted"):
        machine.remove_tree(tmp_path / "state")
    assert (mounted / "precious").read_text() == "kept"


def test_removing_a_folder_that_is_gone_is_fine(tmp_path: Path) -> None:
    machine.remove_tree(tmp_path / "gone")


def test_paths_that_were_absent_go_and_those_of_a_runtime_that_was_started_meanwhile_stay(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    (ours / "inner").mkdir(parents=True)
    theirs.mkdir()
    (theirs / "containerd.sock").touch()
    machine.remove_fixed_paths(MachineRecord(tmp_path / "state", {}, (str(ours), str(theirs))))
    assert not ours.exists()
    assert theirs.exists()


def test_of_a_folder_that_was_there_only_the_links_into_the_state_folder_go(tmp_path: Path) -> None:
    logs = tmp_path / "containers"
    logs.mkdir()
    (logs / "ours.log").symlink_to(tmp_path / "state/podlogs/x/0.log")
    (logs / "theirs.log").symlink_to("/var/log/pods/y/0.log")
    machine._remove_links(logs, tmp_path / "state")
    assert [path.name for path in logs.iterdir()] == ["theirs.log"]


def test_what_containers_have_outside_the_state_folder_is_known_by_their_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, results = Layout(tmp_path / "state"), tmp_path / "results"
    task = where.containerd / "state/io.containerd.runtime.v2.task/k8s.io/abc"
    task.mkdir(parents=True)
    (task / "address").write_text("unix:///run/containerd/s/123")
    results.mkdir()
    for name in ("fluxpool-lab-abc-eth0", "cni-loopback-abc-lo", "cni-loopback-other-lo"):
        (results / name).touch()
    monkeypatch.setattr(containerd, "_CNI_RESULTS", results)
    found = {path.name for path in containerd.outside_files(where)}
    assert found == {"123", "fluxpool-lab-abc-eth0", "cni-loopback-abc-lo"}
