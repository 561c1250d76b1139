import os
import subprocess
import sys
from pathlib import Path

import pytest

from fluxpool_cluster import lock
from fluxpool_cluster.errors import BusyError

HOLDER = """
import pathlib, sys
from fluxpool_cluster import lock
with lock.exclusive("fluxpool-cluster up", pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[bytes]:
    source = Path(lock.__file__).parents[1]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        env={**os.environ, "PYTHONPATH": str(source)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    return holder


def test_a_second_command_is_refused_and_told_who_is_at_work(tmp_path: Path) -> None:
    with hold(tmp_path / "machine") as holder:
        with pytest.raises(BusyError) as error, lock.exclusive("fluxpool-cluster down", tmp_path / "machine"):
            pass
        holder.kill()
    assert error.value.message == (
        f"another fluxpool-cluster command is at work on this machine (`fluxpool-cluster up`, process {holder.pid})"
    )


def test_a_killed_holder_leaves_no_lock_but_its_file_which_is_taken_over(tmp_path: Path) -> None:
    with hold(tmp_path / "machine") as holder:
        holder.kill()
    assert (tmp_path / "machine" / "lock").exists()
    with lock.exclusive("fluxpool-cluster down", tmp_path / "machine"):
        assert str(os.getpid()) in (tmp_path / "machine" / "lock").read_text()


def test_nothing_is_left_afterwards_not_even_the_folder(tmp_path: Path) -> None:
    with lock.exclusive("fluxpool-cluster up", tmp_path / "machine"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_failing_command_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock.exclusive("fluxpool-cluster up", tmp_path):
        raise ZeroDivisionError
    with lock.exclusive("fluxpool-cluster up", tmp_path):
        pass


def test_what_else_lies_in_the_folder_stays(tmp_path: Path) -> None:
    with lock.exclusive("fluxpool-cluster up", tmp_path):
        (tmp_path / "record.json").write_text("{}")
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_lock_on_a_file_that_its_holder_has_removed_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with path.open() as stale:
        path.unlink()
        assert not lock._is_current(path, stale.fileno())
        path.touch()
        assert not lock._is_current(path, stale.fileno())
