"""Everything around a FluxPool but its pods: the CRD, the rights as the chart grants them, Prometheus, the operator.

The operator is a process on this machine. It logs in by a token of its own ServiceAccount, so it has the chart's rights
and no others; its settings are the chart's too, but for addresses and periods.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from chart.helm import TOP, Object, environment, merged, of_kind, only, render
from chart.kube import kubectl
from fluxpool_cluster import paths
from fluxpool_demo.kube import Ref
from integration.api import Api, service_account_kubeconfig, wait_for
from integration.front import FRONT_PORT
from integration.processes import Program, fetch, metric

NAMESPACE: Final = "fluxpool-system"
OPERATOR: Final = "fluxpool-operator"
PROMETHEUS: Final = "fluxpool-prometheus"
CRD: Final = Ref("CustomResourceDefinition", None, "fluxpools.fluxpool.dev")
OPERATOR_PORT: Final = 18080
PROMETHEUS_PORT: Final = 19090
PROMETHEUS_URL: Final = f"http://127.0.0.1:{PROMETHEUS_PORT}"
SCRAPED_TWICE: Final = "scraped-twice"
"""A label of pods that a second job of Prometheus scrapes as well, more rarely."""

SETTINGS: Final = {"scale_interval_seconds": 0.5, "resync_seconds": 300}
"""Of the operator, where a test does not say otherwise: it decides fast, so that tests need not wait."""

GRANTING: Final = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding")


@dataclass(frozen=True)
class Stage:
    """What the chart makes of its values, and a folder for files.

    Attributes:
        api: the administrator's way in.
        folder: for kubeconfigs, logs and Prometheus' data.
        objects: the chart, rendered.
    """

    api: Api
    folder: Path
    objects: list[Object]

    @property
    def operator_role(self) -> Object:
        """The ClusterRole of the operator."""
        return only(self.objects, "ClusterRole", "operator")

    def login(self, account: str) -> Path:
        """A kubeconfig with the rights of one of the chart's ServiceAccounts."""
        token = kubectl("create", "token", account, f"--namespace={NAMESPACE}", "--duration=8h").strip()
        return service_account_kubeconfig(self.api.kubeconfig, token, self.folder / f"{account}.kubeconfig")


@contextmanager
def stage(api: Api, folder: Path) -> Iterator[Stage]:
    """Install the chart without its Deployments into NAMESPACE; all of it is gone afterwards, the CRD too."""
    rendered = render({"prometheus": {"install": True}})
    kubectl("apply", "--server-side", "--force-conflicts", given=of_kind(rendered, "CustomResourceDefinition"))
    kubectl("wait", "--for=condition=Established", "crd/fluxpools.fluxpool.dev", "--timeout=30s")
    grants = [granting for kind in GRANTING for granting in of_kind(rendered, kind)]
    kubectl("apply", given=grants)
    try:
        yield Stage(api, folder, rendered)
    finally:
        kubectl("delete", "--ignore-not-found", given=grants)
        api.delete(CRD)


# ---- Prometheus ------------------------------------------------------------------------------------------------------


def prometheus(on: Stage, scrape_seconds: int = 1) -> Program:
    """Prometheus as the chart configures it with another scrape interval, not started yet."""
    config = yaml.safe_load(only(on.objects, "ConfigMap", "prometheus")["data"]["prometheus.yml"])
    config["global"]["scrape_interval"] = f"{scrape_seconds}s"
    pods, operator = config["scrape_configs"]
    for discovery in pods["kubernetes_sd_configs"]:
        discovery["kubeconfig_file"] = str(on.login(PROMETHEUS))
    operator["static_configs"] = [{"targets": [f"127.0.0.1:{OPERATOR_PORT}"]}]
    config["scrape_configs"].append(_second_job(pods))
    file = on.folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    argv = (
        str(paths.binaries_folder() / "prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={on.folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{PROMETHEUS_PORT}",
        "--log.level=warn",
    )
    return Program(argv, {}, on.folder / "prometheus.log", f"{PROMETHEUS_URL}/-/ready")


def _second_job(pods: Object) -> Object:
    """As when another team's job finds the same pods."""
    label = f"__meta_kubernetes_pod_label_{SCRAPED_TWICE.replace('-', '_')}"
    only_labelled = {"source_labels": [label], "regex": "yes", "action": "keep"}
    relabel = [*pods["relabel_configs"], only_labelled]
    return {**pods, "job_name": "another", "scrape_interval": "3s", "relabel_configs": relabel}


# ---- the operator ----------------------------------------------------------------------------------------------------


class Operator(Program):
    """The operator's process, and its own metrics."""

    def restart(self, **settings: object) -> None:
        """Stop it and start it with these settings changed."""
        self.end()
        self.environment |= {f"FLUXPOOL_OPERATOR_{name.upper()}": str(value) for name, value in settings.items()}
        self.start()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of one of its metrics over the series with these labels."""
        return metric(fetch(f"http://127.0.0.1:{OPERATOR_PORT}/metrics") or "", name, **labels)

    def pools_in(self, name: str) -> set[str]:
        """The pools that one of its metrics has series of."""
        exposition = fetch(f"http://127.0.0.1:{OPERATOR_PORT}/metrics") or ""
        return set(re.findall(rf'^{name}\{{.*pool="([^"]+)"', exposition, re.MULTILINE))

    def wait_for_ticks(self, count: int) -> None:
        """Return when its autoscaler has looked so many times more."""
        name = "fluxpool_operator_scale_tick_seconds_count"
        until = self.metric(name) + count
        wait_for(f"{count} looks of the autoscaler", lambda: self.metric(name) >= until, 60)


def operator(on: Stage, **settings: object) -> Operator:
    """The operator as the chart configures it with these settings changed, not started yet."""
    given = environment(only(on.objects, "Deployment", "operator"))
    ours = {"prometheus_url": f"http://127.0.0.1:{FRONT_PORT}", "http_port": OPERATOR_PORT, "log_format": "text"}
    changed = {f"FLUXPOOL_OPERATOR_{name.upper()}": str(value) for name, value in {**ours, **settings}.items()}
    variables = merged(given, changed, {"KUBECONFIG": str(on.login(OPERATOR)), "PATH": "/usr/bin:/bin"})
    python = TOP / "operator" / ".venv" / "bin" / "python"
    argv = (str(python), "-m", "fluxpool_operator", "run")
    return Operator(argv, variables, on.folder / "operator.log", f"http://127.0.0.1:{OPERATOR_PORT}/readyz")
