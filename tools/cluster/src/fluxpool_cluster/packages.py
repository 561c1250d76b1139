"""What Debian (or Ubuntu) provides: programs, and the packages they are in."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from fluxpool_cluster.console import Console
from fluxpool_cluster.errors import PreconditionError

CNI_PLUGINS = Path("/usr/lib/cni")
_CA_BUNDLES = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))

PACKAGES = {
    "ip": "iproute2",
    "openssl": "openssl",
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "busybox": "busybox-static",
    "mount": "mount",
    "cc": "gcc",
    str(CNI_PLUGINS / "bridge"): "containernetworking-plugins",
    str(CNI_PLUGINS / "portmap"): "containernetworking-plugins",
    "static libc": "libc6-dev",
    "CA certificates": "ca-certificates",
    "Python's venv": "python3-venv",
}
"""Package by program; an absolute path where the program is not on the PATH."""


def present(program: str) -> bool:
    """Whether the machine has it."""
    if program == "static libc":
        return any(Path("/usr/lib").glob("*/libc.a")) or Path("/usr/lib64/libc.a").exists()
    if program == "CA certificates":  # Go's downloads trust these
        return any(bundle.exists() for bundle in _CA_BUNDLES)
    if program == "Python's venv":  # Debian's python3 comes without what `python3 -m venv` needs
        return importlib.util.find_spec("ensurepip") is not None
    return shutil.which(program) is not None


def missing(wanted: tuple[str, ...], has: Callable[[str], bool] = present) -> list[str]:
    """The packages of the wanted programs that are absent, each once."""
    return sorted({PACKAGES[program] for program in wanted if not has(program)})


def install_line(packages: list[str]) -> str:
    """The command that installs them."""
    return f"apt-get update && apt-get install --yes --no-install-recommends {' '.join(packages)}"


def install_missing(console: Console) -> None:
    """Install what is missing of all packages.

    Raises:
        PreconditionError: this is not Debian or not root; the remedy is the command to run.
    """
    packages = missing(tuple(PACKAGES))
    if not packages:
        console.say("all Debian packages are there")
        return
    absent = f"these packages are missing: {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        raise PreconditionError(absent, "this is not Debian: install what corresponds to them")
    if os.geteuid():
        raise PreconditionError(absent, f"as root: {install_line(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    console.say(f"installing {' '.join(packages)}")
    for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", *packages]):
        if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode:
            raise PreconditionError(f"`{' '.join(command)}` failed", "see its messages above")
    console.say("packages installed")
