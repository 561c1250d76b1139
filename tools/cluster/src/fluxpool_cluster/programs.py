"""The programs of the cluster, as Go modules name them, and the key under which their binaries are kept.

Kubernetes, Helm and KWOK share one module: they share client-go, which makes the later two a matter of seconds. etcd,
Prometheus and CoreDNS have their own, since in one module they would move sixty of Kubernetes' dependencies.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).resolve().parents[2] / "go"
"""The Go modules, in the checkout: this tool is run from there, it is not published."""

BUILD_ENVIRONMENT = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
_BUILD_FLAGS = ("-mod=readonly", "-trimpath", "-buildvcs=false")

KWOK_STAGES = "kwok-stages.yaml"
"""What fake nodes and pods do; the program has none built in, its module carries them as files."""
KWOK_STAGE_FILES = (
    "node/fast/node-initialize",
    "node/heartbeat-with-lease/node-heartbeat-with-lease",
    "pod/fast/pod-ready",
    "pod/fast/pod-complete",
    "pod/fast/pod-delete",
)

PAUSE = "pause"
PAUSE_SOURCE = r"""
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int s) { (void)s; _exit(0); }
static void reap(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) { signal(SIGINT, end); signal(SIGTERM, end); signal(SIGCHLD, reap); for (;;) pause(); }
"""
"""Holds the namespaces of a pod: the one program of the cluster that is not Go, so that it is small."""


@dataclass(frozen=True)
class Program:
    """One binary.

    Attributes:
        name: file name of the binary.
        module: folder below MODULES.
        package: import path of its main package.
        variables: string variables that the linker sets, `package.name` to value.
        tags: build tags, comma separated.
    """

    name: str
    module: str
    package: str
    variables: tuple[tuple[str, str], ...] = ()
    tags: str = ""

    def build_command(self, output: Path) -> list[str]:
        """The `go build` that writes it to `output`; to be run in its module's folder."""
        linker = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in self.variables)])
        tags = [f"-tags={self.tags}"] if self.tags else []
        return ["go", "build", "-v", *_BUILD_FLAGS, *tags, f"-ldflags={linker}", "-o", str(output), self.package]


def module_version(module: str, path: str) -> str:
    """The version of a dependency in a module's go.mod, for example v1.37.1."""
    text = (MODULES / module / "go.mod").read_text(encoding="utf-8")
    found = re.search(rf"^(?:require)?\s+{re.escape(path)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise LookupError(f"go/{module}/go.mod does not require {path}")
    return found[1]


def required_go() -> tuple[int, ...]:
    """The lowest Go version that every module accepts, for example (1, 26, 0)."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(MODULES.glob("*/go.mod"))]
    found = [re.search(r"^go ([\d.]+)$", text, re.MULTILINE) for text in texts]
    return max(tuple(int(part) for part in match[1].split(".")) for match in found if match)


def all_programs() -> tuple[Program, ...]:
    """Every Go program, in the order of building: the first one compiles most of what the next ones share."""
    kubernetes = module_version("k8s", "k8s.io/kubernetes")
    helm = module_version("k8s", "helm.sh/helm/v4")
    version = _kubernetes_version_variables(kubernetes)
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
    prometheus = _prometheus_release(module_version("prom", "github.com/prometheus/prometheus"))
    return (
        *(Program(name, "k8s", f"k8s.io/kubernetes/cmd/{name}", version) for name in names),
        Program("kwok", "k8s", "sigs.k8s.io/kwok/cmd/kwok"),
        Program("helm", "k8s", "helm.sh/helm/v4/cmd/helm", (("helm.sh/helm/v4/internal/version.version", helm),)),
        Program("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
        Program("coredns", "coredns", "github.com/coredns/coredns"),
        Program(
            "prometheus",
            "prom",
            "github.com/prometheus/prometheus/cmd/prometheus",
            (("github.com/prometheus/common/version.Version", prometheus),),
            tags="remove_all_sd,enable_kubernetes_sd",
        ),
    )


def _kubernetes_version_variables(version: str) -> tuple[tuple[str, str], ...]:
    """Without these every component calls itself v0.0.0-master."""
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return tuple((f"{package}.{name}", value) for package in packages for name, value in values.items())


def _prometheus_release(module: str) -> str:
    """Release 3.15.0 has the module version v0.315.0."""
    _, number, patch = module.split(".")
    return f"{number[:-2]}.{int(number[-2:])}.{patch}"


def build_key(go_version: str, architecture: str, read: Callable[[Path], bytes] = Path.read_bytes) -> str:
    """Name of the folder of binaries: a hash of all that decides what they contain."""
    digest = hashlib.sha256()
    parts: list[bytes] = [repr(item).encode() for item in (go_version, architecture, BUILD_ENVIRONMENT)]
    parts += [repr(program.build_command(Path(program.name))).encode() for program in all_programs()]
    parts += [repr(KWOK_STAGE_FILES).encode(), PAUSE_SOURCE.encode()]
    for path in sorted([*MODULES.glob("*/go.mod"), *MODULES.glob("*/go.sum")]):
        parts += [str(path.relative_to(MODULES)).encode(), read(path)]
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]
