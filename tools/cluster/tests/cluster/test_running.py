"""One cluster, started step by step, then used; at the end nothing of it may be left."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from lab import (
    CHECKOUT,
    ENVIRONMENT,
    TOOL,
    kubectl,
    python_pod,
    snapshot,
    supervised,
    tool,
    wait_until,
    what_is_left,
)

from fluxpool_cluster import health, images, layout, lock, paths, programs
from fluxpool_cluster.layout import Layer, Layout

pytestmark = pytest.mark.cluster

SERVER = [sys.executable, "-m", "http.server", "8000", "--directory", str(CHECKOUT / "tools/cluster/src")]
GPUS = "nvidia.com/gpu"


@pytest.fixture(scope="module", autouse=True)
def control_layer() -> Iterator[None]:
    before = snapshot()
    done = tool("up", "--layer", "control")
    assert done.stdout == f"export KUBECONFIG={paths.kubeconfig()}\n"
    yield
    tool("down")
    assert what_is_left(before) == {}


@pytest.fixture(scope="module")
def node_layer(control_layer: None) -> None:
    tool("up", "--layer", "node", "--gpus", "3")


@pytest.fixture(scope="module")
def web(node_layer: None) -> str:
    """Name of a running pod of the links-only image, behind a Service of the same name."""
    probe = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1}
    kubectl("apply", "-f", "-", stdin=python_pod("web", images.LINKS, *SERVER, readinessProbe=probe))
    kubectl("expose", "pod/web", "--port=80", "--target-port=8000")
    kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    return "web"


def inside(*argv: str) -> str:
    return tool("run", "--", *argv).stdout


# ---- the control layer ------------------------------------------------------------------------------------------


def test_the_printed_kubeconfig_works_on_the_host(control_layer: None) -> None:
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert kubectl("config", "current-context") == "fluxpool-lab\n"


def test_up_leaves_a_healthy_cluster_of_the_same_layer_as_it_is(control_layer: None) -> None:
    before = supervised()
    done = tool("up", "--layer", "control")
    assert supervised() == before
    assert done.stdout == f"export KUBECONFIG={paths.kubeconfig()}\n"
    assert set(before) == set(health.component_names(Layer.CONTROL))


def test_a_command_inside_has_kubeconfig_and_programs_and_its_status_is_handed_on(control_layer: None) -> None:
    assert inside("sh", "-c", "echo $KUBECONFIG; command -v helm").split() == [
        str(paths.inside_kubeconfig()),
        str(paths.binaries_folder() / "helm"),
    ]
    assert inside("kubectl", "get", "--raw", "/readyz") == "ok"
    assert tool("run", "--", "sh", "-c", "exit 7", check=False).returncode == 7


def test_the_programs_say_the_versions_of_their_modules(control_layer: None) -> None:
    kubernetes = programs.module_version("k8s", "k8s.io/kubernetes")
    for name in ("kubelet", "kube-apiserver", "kube-scheduler"):
        assert inside(name, "--version") == f"Kubernetes {kubernetes}\n"
    assert json.loads(kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"] == kubernetes
    assert inside("helm", "version", "--short").startswith(programs.module_version("k8s", "helm.sh/helm/v4"))
    assert "version 3.15.0" in inside("prometheus", "--version")


def test_a_second_command_on_the_machine_is_refused_while_one_is_at_work(control_layer: None) -> None:
    with lock.exclusive("fluxpool-cluster up"):
        for command in (["up", "--layer", "control"], ["down"]):
            done = tool(*command, check=False)
            assert done.returncode == 1
            assert "another fluxpool-cluster command is at work on this machine (`fluxpool-cluster up`" in done.stderr
    assert health.problems(Layout(layout.state_folder())) == []


def test_fake_nodes_take_pods_and_one_server_answers_for_all_of_them(control_layer: None) -> None:
    tool("fake-nodes", "3", "--gpus", "2")
    container = {"name": "c", "image": "localhost/none:x", "resources": {"limits": {GPUS: "1"}}}
    pod = {
        "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
        "nodeSelector": {"type": "kwok"},
        "containers": [container],
    }
    template = {"metadata": {"labels": {"app": "fake"}}, "spec": pod}
    spec = {"replicas": 6, "selector": {"matchLabels": {"app": "fake"}}, "template": template}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "fake"}, "spec": spec}
    kubectl("apply", "-f", "-", stdin=deployment)
    kubectl("rollout", "status", "deployment/fake", "--timeout=60s")
    addresses = kubectl("get", "pods", "-l", "app=fake", "-o", "jsonpath={.items[*].status.podIP}").split()
    assert len(set(addresses)) == 6
    with subprocess.Popen([*TOOL, "run", "--", *SERVER], env=ENVIRONMENT, stderr=subprocess.DEVNULL) as server:
        try:
            for address in addresses:
                assert address.startswith("10.245.")
                assert "fluxpool_cluster/" in inside(
                    "curl", "-s", "--retry-connrefused", "--retry", "9", f"{address}:8000"
                )
        finally:
            server.kill()
    kubectl("delete", "deployment/fake", "--wait=false")
    tool("fake-nodes", "0")
    assert kubectl("get", "nodes", "-l", "type=kwok", "-o", "name") == ""


def test_the_audit_log_counts_what_clients_do_and_not_what_the_components_do(control_layer: None) -> None:
    kubectl("create", "configmap", "counted")
    events = [json.loads(line) for line in paths.audit_log().read_text().splitlines()]
    created = [event for event in events if event.get("objectRef", {}).get("name") == "counted"]
    assert [(event["verb"], event["user"]["username"]) for event in created] == [("create", "admin")]
    users = {event["user"]["username"] for event in events}
    assert not {user for user in users if user.startswith(("system:kube", "system:node", "kwok"))}


# ---- the node layer ---------------------------------------------------------------------------------------------


def test_the_node_layer_is_added_in_place(control_layer: None) -> None:
    before = supervised()
    kubectl("create", "configmap", "kept")
    tool("up", "--layer", "node", "--gpus", "3")
    assert kubectl("get", "configmap/kept", "-o", "name") == "configmap/kept\n"
    after = supervised()
    assert before.items() <= after.items()
    tool("up", "--layer", "control")
    tool("up", "--layer", "node")
    assert supervised() == after


def test_the_node_has_the_gpus_that_were_asked_for(node_layer: None) -> None:
    query = ("get", "node", layout.NODE, "-o", r"jsonpath={.status.allocatable.nvidia\.com/gpu}")
    assert kubectl(*query) == "3"
    tool("up", "--gpus", "2")
    assert kubectl(*query) == "2"
    tool("up")
    assert kubectl(*query) == "2"


def test_a_pod_that_wants_more_gpus_than_there_are_waits(node_layer: None) -> None:
    tool("up", "--gpus", "2")
    for name, count in (("fits", "2"), ("too-many", "1")):
        limits = {"limits": {GPUS: count}}
        kubectl("apply", "-f", "-", stdin=python_pod(name, images.LINKS, "/bin/sleep", "60", resources=limits))
        if name == "fits":
            kubectl("wait", "--for=condition=Ready", "pod/fits", "--timeout=60s")
    kubectl("wait", "--for=condition=PodScheduled=false", "pod/too-many", "--timeout=60s")
    assert "Insufficient nvidia.com/gpu" in kubectl(
        "get", "pod/too-many", "-o", "jsonpath={.status.conditions[0].message}"
    )
    kubectl("delete", "pod/fits", "pod/too-many", "--now")


def test_gpus_and_pods_survive_a_restart_of_the_kubelet(web: str) -> None:
    tool("up", "--gpus", "4")
    before = supervised()
    tool("restart", "kubelet")
    after = supervised()
    assert before["kubelet"] != after["kubelet"]
    assert kubectl("get", "node", layout.NODE, "-o", r"jsonpath={.status.allocatable.nvidia\.com/gpu}") == "4"
    assert kubectl("get", "pod", web, "-o", "jsonpath={.status.containerStatuses[0].restartCount}") == "0"


def test_gpus_that_somebody_took_away_come_back_with_up(node_layer: None) -> None:
    tool("up", "--gpus", "4")
    patch = json.dumps([{"op": "replace", "path": "/status/capacity/nvidia.com~1gpu", "value": "0"}])
    kubectl("patch", "node", layout.NODE, "--subresource=status", "--type=json", "-p", patch)
    query = ("get", "node", layout.NODE, "-o", r"jsonpath={.status.allocatable.nvidia\.com/gpu}")
    wait_until(lambda: kubectl(*query) == "0")
    tool("up")
    assert kubectl(*query) == "4"


def test_the_forwarder_and_the_api_server_can_be_restarted(node_layer: None) -> None:
    for name in ("forwarder", "kube-apiserver"):
        tool("restart", name)
        assert kubectl("get", "--raw", "/readyz") == "ok"


def test_the_hosts_python_runs_in_a_pod_without_rights(web: str) -> None:
    code = "import os, sys, ssl; print(os.getuid(), sys.prefix)"
    assert kubectl("exec", web, "--", sys.executable, "-c", code) == f"65534 {sys.prefix}\n"


def test_logs_of_a_pod_can_be_read(web: str) -> None:
    wait_until(lambda: "GET / HTTP/1.1" in kubectl("logs", web))


def test_a_service_answers_host_processes_and_pods_and_the_pod_behind_it(web: str) -> None:
    address = kubectl("get", "service", web, "-o", "jsonpath={.spec.clusterIP}")
    fetch = f"from urllib.request import urlopen; print(urlopen('http://{address}/', timeout=9).status)"
    assert inside(sys.executable, "-c", fetch) == "200\n"
    assert kubectl("exec", web, "--", sys.executable, "-c", fetch) == "200\n"
    kubectl("apply", "-f", "-", stdin=python_pod("client", images.LINKS, "/bin/sleep", "60"))
    kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")
    assert kubectl("exec", "client", "--", sys.executable, "-c", fetch) == "200\n"
    kubectl("delete", "pod/client", "--now")


def test_a_port_of_a_pod_can_be_forwarded_to_the_host(web: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = Layout(layout.state_folder())
    command = [paths.binaries_folder() / "kubectl", f"--kubeconfig={where.kubeconfig}", "port-forward", f"pod/{web}"]
    with subprocess.Popen([*map(str, command), f"{port}:8000"], stdout=subprocess.PIPE) as forward:
        assert forward.stdout is not None
        assert b"Forwarding from" in forward.stdout.readline()
        with urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert b"fluxpool_cluster/" in answer.read()
        forward.terminate()


def test_names_are_resolved_in_pods_and_unknown_ones_denied_at_once(web: str) -> None:
    def lookup(name: str) -> str:
        code = f"import socket\ntry: print(socket.gethostbyname('{name}'))\nexcept OSError as e: print(e.errno)"
        return kubectl("exec", web, "--", sys.executable, "-c", code).strip()

    assert lookup("web.default") == kubectl("get", "service", web, "-o", "jsonpath={.spec.clusterIP}")
    assert lookup("kubernetes.default.svc.cluster.local") == layout.API_SERVICE_ADDRESS
    assert lookup("no.such.name") == str(socket.EAI_NONAME)
    assert lookup("localhost") == "127.0.0.1"


def test_an_own_image_brings_its_entrypoint_and_environment(node_layer: None, tmp_path: Path) -> None:
    code = "import os; print('own', os.environ['OWN'])"
    tar = images.links_image(
        tmp_path / "own.tar", "localhost/own:lab", entrypoint=[sys.executable, "-c", code], env={"OWN": "image"}
    )
    assert "localhost/own:lab" in tool("image", str(tar)).stdout
    kubectl("apply", "-f", "-", stdin=python_pod("own", "localhost/own:lab"))
    wait_until(lambda: kubectl("logs", "own", "--ignore-errors") == "own image\n")
    kubectl("delete", "pod/own", "--now")


def test_a_memory_limit_is_enforced(node_layer: None) -> None:
    hog = python_pod("hog", images.LINKS, sys.executable, "-c", "x = bytearray(200_000_000); print(sum(x[::4096]))")
    hog["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi"}}
    hog["spec"]["restartPolicy"] = "Never"
    kubectl("apply", "-f", "-", stdin=hog)
    reason = "jsonpath={.status.containerStatuses[0].state.terminated.reason}"
    wait_until(lambda: kubectl("get", "pod/hog", "-o", reason) == "OOMKilled")
    kubectl("delete", "pod/hog", "--now")


def test_status_names_every_component_with_its_log(web: str) -> None:
    done = tool("status")
    assert done.stdout.startswith(f"layer node, 4 {GPUS}, kubeconfig {paths.kubeconfig()}\n")
    for name, pid in supervised().items():
        assert f"{name:24} {pid:>8}  up" in done.stdout
        assert str(paths.state_folder() / "log" / f"{name}.log") in done.stdout
        assert tool("logs", name, "-n", "5").returncode == 0
