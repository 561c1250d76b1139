import sys
import venv
from pathlib import Path

import pytest

from fluxpool_cluster import pods


def pairs(folders: list[pods.HostFolder]) -> list[tuple[Path, Path]]:
    return [(folder.source, folder.target) for folder in folders]


def test_a_folder_within_another_is_not_mounted_again(tmp_path: Path) -> None:
    (tmp_path / "checkout/.venv").mkdir(parents=True)
    folders = pods.host_folders([tmp_path / "checkout/.venv", tmp_path / "checkout", tmp_path / "checkout"])
    assert pairs(folders) == [(tmp_path / "checkout", tmp_path / "checkout")]


def test_a_link_is_mounted_under_its_own_name_with_what_it_points_at(tmp_path: Path) -> None:
    (tmp_path / "python-3.11.9").mkdir()
    (tmp_path / "python-3.11").symlink_to("python-3.11.9")
    folders = pods.host_folders([tmp_path / "python-3.11"])
    assert pairs(folders) == [(tmp_path / "python-3.11.9", tmp_path / "python-3.11")]


def test_a_link_within_a_mounted_folder_that_leads_out_of_it_is_mounted_too(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout/model").symlink_to(tmp_path / "model")
    folders = pods.host_folders([tmp_path / "checkout", tmp_path / "checkout/model"])
    assert pairs(folders) == [
        (tmp_path / "checkout", tmp_path / "checkout"),
        (tmp_path / "model", tmp_path / "checkout/model"),
    ]


def test_an_absent_folder_is_an_error_and_no_empty_mount(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pods.host_folders([tmp_path / "absent"])


def test_a_virtual_environment_brings_its_base_python_and_the_host_programs(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", symlinks=True, with_pip=False)
    targets = [folder.target for folder in pods.python_folders(tmp_path / "env/bin/python", tmp_path)]
    assert Path("/usr") in targets
    assert tmp_path in targets
    base = Path(sys.base_prefix)
    assert any(base.is_relative_to(target) for target in targets)


def test_volumes_are_read_only_and_match_their_mounts(tmp_path: Path) -> None:
    (folder,) = pods.host_folders([tmp_path])
    assert folder.volume() == {"name": "host-0", "hostPath": {"path": str(tmp_path), "type": "Directory"}}
    assert folder.volume_mount() == {"name": "host-0", "mountPath": str(tmp_path), "readOnly": True}
