"""What the tests on the real cluster share: the tool, kubectl, a pod, and a picture of the machine."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import fluxpool_cluster
from fluxpool_cluster import health, layout, machine, pods
from fluxpool_cluster.layout import Layout

TOOL = [sys.executable, "-m", "fluxpool_cluster"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(fluxpool_cluster.__file__).parents[1])}
CHECKOUT = Path(__file__).resolve().parents[4]

# These change by themselves.
VOLATILE_SYSCTLS = re.compile(
    r"fs/(dentry|inode|file|aio)-|fs/quota|kernel/(random|ns_last_pid|pty/nr|keys/gc|sched_domain)|conntrack_count"
    r"|net/ipv4/tcp_mem|vm/stat"
)
SHARED_FOLDERS = ("/etc", "/opt", "/run", "/usr/libexec", "/var/lib", "/var/log")


def tool(*arguments: str, env: Mapping[str, str] = ENVIRONMENT, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run fluxpool-cluster to its end."""
    done = subprocess.run([*TOOL, *arguments], env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0 or not check, f"fluxpool-cluster {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done


def kubectl(*arguments: str, stdin: Any = None) -> str:
    """Run kubectl on the host, through the forwarder; `stdin` is an object to apply."""
    where = Layout(layout.state_folder())
    summary = health.require_up(where)
    command = [str(summary.binaries / "kubectl"), f"--kubeconfig={where.kubeconfig}", f"--cache-dir={where.scratch}"]
    text = None if stdin is None else json.dumps(stdin)
    done = subprocess.run([*command, *arguments], input=text, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def wait_until(ready: Callable[[], bool]) -> None:
    """Wait without a clock of its own: pytest's caller limits how long a test may take."""
    for _ in range(600):
        if ready():
            return
        subprocess.run(["sleep", "0.1"], check=True)
    pytest.fail("it did not happen within a minute")


def supervised() -> dict[str, int]:
    """Process number by component."""
    table = health.process_table(Layout(layout.state_folder()))
    return {process.component.name: process.pid for process in table.all()}


def python_pod(name: str, image: str, *argv: str, **fields: Any) -> dict[str, Any]:
    """A pod of a links-only image that runs this Python, as a user without rights."""
    folders = pods.python_folders(sys.executable, CHECKOUT)
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "volumeMounts": [folder.volume_mount() for folder in folders],
        "securityContext": {"runAsUser": 65534, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False},
        **({"command": list(argv)} if argv else {}),
        **fields,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "containers": [container],
            "volumes": [folder.volume() for folder in folders],
            "terminationGracePeriodSeconds": 1,
        },
    }


def snapshot() -> dict[str, set[str]]:
    """The machine, as far as the cluster could leave something on it."""
    mounts = [point for point in map(str, machine.mounts_below(Path("/"))) if _ours(point)]
    return {
        "processes": set(_processes()),
        "mounts": set(mounts),
        "cgroups": {str(path) for path in _topmost_cgroups()},
        "paths": {str(path) for folder in SHARED_FOLDERS for path in _two_levels(Path(folder)) if _ours(str(path))},
        "state": {str(path) for path in (layout.state_folder(), layout.MACHINE_FOLDER) if path.exists()},
        "rules": _lines("iptables-save") | _lines("ip6tables-save"),
        "network": _lines("ip", "-o", "addr") | _lines("ip", "route") | _lines("ip", "-o", "link"),
        "sysctls": set(_sysctls()),
    }


def _ours(path: str) -> bool:
    """Leaves out the namespaces of others, which may come and go meanwhile."""
    name = path.removeprefix("/run/netns").lstrip("/")
    return not path.startswith("/run/netns/") or name == layout.NAMESPACE or name.startswith("cni-")


def _topmost_cgroups() -> Iterator[Path]:
    """Where those of pods would be. Deeper ones are of sessions and services, which come and go meanwhile."""
    root = Path("/sys/fs/cgroup")
    hierarchies = (
        [root] if (root / "cgroup.controllers").exists() else [each for each in root.iterdir() if each.is_dir()]
    )
    for hierarchy in hierarchies:
        yield from (path for path in hierarchy.iterdir() if path.is_dir())


def _processes() -> Iterator[str]:
    marks = (str(layout.state_folder()), str(layout.cache_folder()), "containerd-shim", "fluxpool_cluster.forwarder")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if any(mark in line for mark in marks):
                yield f"{entry.name} {line}"


def _two_levels(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from folder.glob("*")
        yield from folder.glob("*/*")


def _lines(*command: str) -> set[str]:
    if shutil.which(command[0]) is None:
        return set()
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {re.sub(r"\[\d+:\d+\]", "", line) for line in text.splitlines() if not line.startswith("#")}


def _sysctls() -> Iterator[str]:
    for path in Path("/proc/sys").glob("**/*"):
        name = str(path.relative_to("/proc/sys"))
        if path.is_file() and not VOLATILE_SYSCTLS.search(name):
            try:
                yield f"{name} = {path.read_text().strip()}"
            except (OSError, UnicodeDecodeError):
                continue


def what_is_left(before: dict[str, set[str]]) -> dict[str, set[str]]:
    """What is different now, by kind; empty when nothing is."""
    after = snapshot()
    return {kind: after[kind] ^ before[kind] for kind in before if after[kind] != before[kind]}
