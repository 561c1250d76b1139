import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

from fluxpool_cluster import images


def open_image(path: Path) -> tuple[str, dict[str, object], dict[str, tarfile.TarInfo], bytes]:
    with tarfile.open(path) as archive:
        content = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    (manifest,) = json.loads(content["manifest.json"])
    (layer,) = manifest["Layers"]
    with tarfile.open(fileobj=io.BytesIO(content[layer])) as archive:
        entries = {entry.name: entry for entry in archive}
    return manifest["RepoTags"][0], json.loads(content[manifest["Config"]]), entries, content[layer]


def test_the_links_image_holds_links_into_usr_and_no_program(tmp_path: Path) -> None:
    path = images.links_image(tmp_path / "links.tar", "localhost/app:lab")
    ref, _, entries, _ = open_image(path)
    assert ref == "localhost/app:lab"
    links = {name: entry.linkname for name, entry in entries.items() if entry.issym()}
    assert links == {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}
    assert {name for name, entry in entries.items() if entry.isdir()} == {"etc", "root", "tmp", "usr"}
    files = {name for name, entry in entries.items() if entry.isfile()}
    assert files <= {"etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/ld.so.cache"}
    assert path.stat().st_size < 2**20


def test_tmp_is_writable_for_every_user_of_the_links_image(tmp_path: Path) -> None:
    _, _, entries, _ = open_image(images.links_image(tmp_path / "links.tar", "localhost/app:lab"))
    assert entries["tmp"].mode == 0o1777
    assert entries["usr"].mode == 0o755


def test_localhost_is_looked_up_in_the_hosts_file_before_dns() -> None:
    assert b"hosts: files dns" in images._users()["etc/nsswitch.conf"][0]


def test_entrypoint_and_environment_are_in_the_config(tmp_path: Path) -> None:
    path = images.links_image(
        tmp_path / "links.tar", "localhost/app:lab", entrypoint=["/venv/bin/app", "serve"], env={"APP": "1"}
    )
    _, config, _, _ = open_image(path)
    assert config["config"] == {
        "Entrypoint": ["/venv/bin/app", "serve"],
        "Cmd": None,
        "Env": [f"PATH={images._PATH}", "APP=1"],
    }


def test_a_given_path_replaces_the_default_one(tmp_path: Path) -> None:
    path = images.links_image(tmp_path / "links.tar", "localhost/app:lab", env={"PATH": "/venv/bin"})
    _, config, _, _ = open_image(path)
    assert config["config"] == {"Entrypoint": None, "Cmd": None, "Env": ["PATH=/venv/bin"]}


def test_the_config_names_the_layer_by_its_digest(tmp_path: Path) -> None:
    _, config, _, layer = open_image(images.links_image(tmp_path / "links.tar", "localhost/app:lab"))
    assert config["rootfs"] == {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    one = images.links_image(tmp_path / "one.tar", "localhost/app:lab")
    two = images.links_image(tmp_path / "two.tar", "localhost/app:lab")
    assert one.read_bytes() == two.read_bytes()


def test_busybox_is_there_under_all_its_names(tmp_path: Path, fake_program: Callable[[str, str], Path]) -> None:
    fake_program("busybox", "printf 'busybox\\nls\\nsh\\n'")
    _, config, entries, _ = open_image(images.busybox_image(tmp_path / "busybox.tar"))
    assert {name for name, entry in entries.items() if entry.issym()} == {"bin/ls", "bin/sh"}
    assert entries["bin/busybox"].mode == 0o755
    assert config["config"] == {"Entrypoint": None, "Cmd": ["/bin/sh"], "Env": [f"PATH={images._PATH}"]}


def test_pause_is_one_program(tmp_path: Path) -> None:
    (tmp_path / "pause").write_bytes(b"program")
    ref, config, entries, _ = open_image(images.pause_image(tmp_path / "pause.tar", tmp_path / "pause"))
    assert ref == images.PAUSE
    assert list(entries) == ["pause"]
    assert config["config"]["Entrypoint"] == ["/pause"]  # type: ignore[index]
