"""What to type after `make demo KEEP=1`: in a shell of the host, in the checkout."""

import json
import shlex
import shutil
from pathlib import Path

from fluxpool_cluster import layout
from fluxpool_demo import scenario

_KUBECTL = f"kubectl --namespace {scenario.NAMESPACE}"
_PORT = 8080
_SAVE = (
    'import base64, json, sys; image = json.load(sys.stdin)["data"][0]["b64_json"]; '
    'open("out/demo/fox.png", "wb").write(base64.b64decode(image))'
)


def hints(kubeconfig: Path | None = None) -> list[str]:
    """Lines for a shell, comments among them.

    Args:
        kubeconfig: of the lab for the host; where there is no such file the user's own cluster is meant.
    """
    where = kubeconfig or layout.Layout(layout.state_folder()).kubeconfig
    lines = [*_looking(), *_one_image()]
    return [*_reaching(where), *lines, *_load(), *_holding(), *_ending()] if where.exists() else [*lines, *_holding()]


def _reaching(kubeconfig: Path) -> list[str]:
    kubectl = shutil.which("kubectl")
    path = [f"export PATH={shlex.quote(str(Path(kubectl).parent))}:$PATH"] if kubectl else []
    return ["# the cluster", f"export KUBECONFIG={shlex.quote(str(kubeconfig))}", *path]


def _looking() -> list[str]:
    return [
        "# what the pool does, and why",
        f"{_KUBECTL} get fluxpools --watch",
        f"{_KUBECTL} describe fluxpool {scenario.POOL}",
    ]


def _one_image() -> list[str]:
    body = {"model": scenario.MODEL, "prompt": "a fox", "size": scenario.SIZE, "num_inference_steps": scenario.STEPS}
    return [
        "# an image, in out/demo/fox.png",
        f"{_KUBECTL} port-forward service/{scenario.POOL} {_PORT}:80 >/dev/null &",
        f"curl --silent --retry 5 --retry-connrefused localhost:{_PORT}/v1/images/generations \\",
        f"  --header 'content-type: application/json' --data {shlex.quote(json.dumps(body))} \\",
        f"  | python3 -c {shlex.quote(_SAVE)}",
    ]


def _load() -> list[str]:
    address = f"$({_KUBECTL} get service {scenario.POOL} --output jsonpath={{.spec.clusterIP}})"
    return [
        "# a load of your own, from inside the cluster's network",
        f"address={address}",
        "tools/cluster/run tests/.venv/bin/fluxpool-bench http://$address/v1 \\",
        f"  --model {scenario.MODEL} --size {scenario.SIZE} --steps {scenario.STEPS} --rate 5 --requests 300",
    ]


def _holding() -> list[str]:
    hold = json.dumps({"spec": {"scaling": {"mode": "Hold"}}})
    return [
        "# keep the replicas where they are (Auto lets them go again)",
        f"{_KUBECTL} patch fluxpool {scenario.POOL} --type merge --patch {shlex.quote(hold)}",
    ]


def _ending() -> list[str]:
    return ["# the end", "make cluster-down"]
