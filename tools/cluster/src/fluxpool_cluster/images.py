"""Container images without a builder: a tar of one layer, made with the standard library.

`links_image` holds nothing but links into /usr: the pod mounts /usr, a Python and the code read-only from the host, so
that code runs in a real container without a registry, an image build or a copy (see `pods`).
"""

import hashlib
import io
import json
import platform
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fluxpool_cluster import shell

PAUSE = "localhost/pause:lab"
BUSYBOX = "localhost/busybox:lab"
LINKS = "localhost/links:lab"

_PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
_GROUP = b"root:x:0:\nnogroup:x:65534:\n"
# Without it glibc asks DNS before the hosts file, and the cluster's DNS knows no "localhost".
_NSSWITCH = b"passwd: files\ngroup: files\nhosts: files dns\n"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Layer:
    """The content of an image.

    Attributes:
        files: content and mode by name.
        links: target by name.
        directories: names; `tmp` is made writable for everybody.
    """

    files: Mapping[str, tuple[bytes, int]] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    directories: Sequence[str] = ()

    def tar(self) -> bytes:
        """The layer as a tar archive; equal content gives equal bytes."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name in self.directories:
                _add(archive, name, tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755)
            for name, (content, mode) in self.files.items():
                _add(archive, name, tarfile.REGTYPE, mode, content=content)
            for name, target in self.links.items():
                _add(archive, name, tarfile.SYMTYPE, 0o777, target=target)
        return buffer.getvalue()


def _add(
    archive: tarfile.TarFile, name: str, kind: bytes, mode: int, *, content: bytes = b"", target: str = ""
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(content), target
    archive.addfile(entry, io.BytesIO(content))


def write_image(
    path: Path,
    ref: str,
    layer: Layer,
    *,
    entrypoint: Sequence[str] = (),
    cmd: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Path:
    """Write a docker archive of one image with one layer, to be imported by `fluxpool-cluster image`.

    Args:
        path: the tar to write.
        ref: full name, for example localhost/inference:lab.
        layer: its content.
        entrypoint: its program and arguments; a pod's `args` are appended.
        cmd: the default of a pod's `args`.
        env: further environment variables; PATH is set unless given.
    """
    content = layer.tar()
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {
            "Entrypoint": list(entrypoint) or None,
            "Cmd": list(cmd) or None,
            "Env": [f"{name}={value}" for name, value in ({"PATH": _PATH} | dict(env or {})).items()],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [ref], "Layers": ["layer.tar"]}]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        _add(archive, "layer.tar", tarfile.REGTYPE, 0o644, content=content)
        _add(archive, "config.json", tarfile.REGTYPE, 0o644, content=json.dumps(config).encode())
        _add(archive, "manifest.json", tarfile.REGTYPE, 0o644, content=json.dumps(manifest).encode())
    return path


def links_image(path: Path, ref: str, *, entrypoint: Sequence[str] = (), env: Mapping[str, str] | None = None) -> Path:
    """Write an image whose programs are the host's, mounted by the pod at /usr and wherever the entrypoint lies."""
    links = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}
    layer = Layer(_users() | _loader_cache(), links, ("etc", "root", "tmp", "usr"))
    return write_image(path, ref, layer, entrypoint=entrypoint, env=env)


def _users() -> dict[str, tuple[bytes, int]]:
    names = {"etc/passwd": _PASSWD, "etc/group": _GROUP, "etc/nsswitch.conf": _NSSWITCH}
    return {name: (content, 0o644) for name, content in names.items()}


def _loader_cache() -> dict[str, tuple[bytes, int]]:
    """The host's index of libraries: without it the loader finds none in /usr/local/lib."""
    cache = Path("/etc/ld.so.cache")
    return {"etc/ld.so.cache": (cache.read_bytes(), 0o644)} if cache.exists() else {}


def pause_image(path: Path, program: Path) -> Path:
    """Write the image that holds the namespaces of each pod."""
    return write_image(path, PAUSE, Layer({"pause": (program.read_bytes(), 0o755)}), entrypoint=["/pause"])


def busybox_image(path: Path) -> Path:
    """Write an image of the machine's static busybox with all its names."""
    program = Path(shutil.which("busybox") or "/bin/busybox")
    names = [name for name in shell.run(program, "--list").split() if name != "busybox"]
    files = {"bin/busybox": (program.read_bytes(), 0o755), **_users()}
    layer = Layer(files, {f"bin/{name}": "busybox" for name in names}, ("bin", "etc", "root", "tmp"))
    return write_image(path, BUSYBOX, layer, cmd=["/bin/sh"])


def standard_images(folder: Path, binaries: Path) -> list[Path]:
    """Write the images that every node layer has: pause, busybox, and the links alone."""
    return [
        pause_image(folder / "pause.tar", binaries / "pause"),
        busybox_image(folder / "busybox.tar"),
        links_image(folder / "links.tar", LINKS),
    ]
