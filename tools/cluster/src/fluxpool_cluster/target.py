"""Which cluster tests and the demo use: the lab's, or the current one of the user's kubeconfig.

CLUSTER=lab       (the default) the lab's
CLUSTER=current   that of KUBECONFIG or ~/.kube/config, if its current context is the lab's, or is the one that
                  CLUSTER_CONTEXT names: nobody's cluster is touched by mistake
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxpool_cluster import health, layout, shell
from fluxpool_cluster.errors import ClusterError, TargetError
from fluxpool_cluster.layout import Layout

_PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
_OWN_SOURCE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Target:
    """The chosen cluster.

    Attributes:
        lab: whether it is the lab's, so that its namespace can be entered.
        context: name of its context.
        kubeconfig: value for KUBECONFIG on the host; None leaves kubectl's own default.
    """

    lab: bool
    context: str
    kubeconfig: str | None


def choose(environment: Mapping[str, str] = os.environ, current_context: Callable[[], str] | None = None) -> Target:
    """The cluster that the environment asks for.

    Raises:
        NotUpError: it is the lab's, which is not up.
        TargetError: it is one that may not be touched, or CLUSTER has an unknown value.
    """
    wish = environment.get("CLUSTER") or "lab"
    if wish == "lab":
        where = Layout(layout.state_folder())
        health.require_up(where)
        return Target(True, layout.CONTEXT, str(where.kubeconfig))
    if wish != "current":
        raise TargetError(f"CLUSTER={wish} is not known", "CLUSTER=lab or CLUSTER=current")
    context = (current_context or _current_context)()
    if context not in {layout.CONTEXT, environment.get("CLUSTER_CONTEXT")}:
        raise TargetError(
            f"CLUSTER=current would change the cluster of the context {context!r}, which is not the lab's",
            f"if that is what you want: CLUSTER_CONTEXT={context}",
        )
    return Target(False, context, environment.get("KUBECONFIG"))


def command_environment(chosen: Target, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a command that `run` starts.

    For the lab's cluster: its programs first on the PATH, no proxy (there is no way out of the namespace), and the
    caches of kubectl and Helm in the state folder, so that they end with it.
    """
    result = dict(environment)
    _drop_own_python_path(result)
    if not chosen.lab:
        return result
    for name in [name for name in result if name.lower() in _PROXIES]:
        del result[name]
    where = Layout(layout.state_folder())
    result["PATH"] = layout.search_path(health.require_up(where).binaries)
    result["KUBECONFIG"] = str(where.inside_kubeconfig)
    result["KUBECACHEDIR"] = str(where.scratch / "kube")
    for kind in ("CACHE", "CONFIG", "DATA"):
        result[f"HELM_{kind}_HOME"] = str(where.scratch / "helm" / kind.lower())
    return result


def _drop_own_python_path(environment: dict[str, str]) -> None:
    """Where this tool runs from PYTHONPATH, the command's Python is to be free of that."""
    entries = [entry for entry in environment.pop("PYTHONPATH", "").split(os.pathsep) if entry]
    if kept := [entry for entry in entries if Path(entry).resolve() != _OWN_SOURCE]:
        environment["PYTHONPATH"] = os.pathsep.join(kept)


def _current_context() -> str:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise TargetError("CLUSTER=current needs kubectl on the PATH", "install kubectl, or use CLUSTER=lab")
    try:
        return shell.run(Path(kubectl), "config", "current-context").strip()
    except ClusterError as error:
        raise TargetError(f"there is no current context: {error.message}", "set KUBECONFIG") from None
