"""The Prometheus of `prometheus.install`: what it scrapes, and when its pod is replaced."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from chart.helm import (
    CHART,
    INSTALL_PROMETHEUS,
    NAMESPACE,
    OWN_PROMETHEUS,
    Object,
    Values,
    container,
    environment,
    merged,
    only,
    render,
)


def prometheus_config(values: Values) -> Object:
    text = only(render(values), "ConfigMap", "prometheus")["data"]["prometheus.yml"]
    return dict(yaml.safe_load(text))


def test_the_operator_asks_the_prometheus_of_the_chart() -> None:
    objects = render(INSTALL_PROMETHEUS)
    service = only(objects, "Service", "prometheus")
    url = environment(only(objects, "Deployment", "operator"))["FLUXPOOL_OPERATOR_PROMETHEUS_URL"]
    assert url == f"http://{service['metadata']['name']}.{NAMESPACE}.svc:{service['spec']['ports'][0]['port']}"


def test_nothing_of_prometheus_is_installed_beside_ones_own() -> None:
    assert not [o for o in render(OWN_PROMETHEUS) if "prometheus" in o["metadata"]["name"]]


def test_prometheus_scrapes_the_http_port_of_inference_pods_every_two_seconds() -> None:
    config = prometheus_config(INSTALL_PROMETHEUS)
    assert config["global"] == {"scrape_interval": "2s"}
    job = config["scrape_configs"][0]
    (discovery,) = job["kubernetes_sd_configs"]
    labels = "app.kubernetes.io/name=fluxpool,app.kubernetes.io/component=inference"
    assert discovery == {"role": "pod", "selectors": [{"role": "pod", "label": labels}]}
    keep = {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": "http", "action": "keep"}
    assert keep in job["relabel_configs"]


def test_prometheus_scrapes_the_operator_at_its_service() -> None:
    service = only(render(INSTALL_PROMETHEUS), "Service", "operator")
    job = prometheus_config(INSTALL_PROMETHEUS)["scrape_configs"][1]
    target = f"{service['metadata']['name']}.{NAMESPACE}.svc:{service['spec']['ports'][0]['port']}"
    assert job["static_configs"] == [{"targets": [target]}]
    assert job["honor_labels"] is True


def test_prometheus_looks_for_pods_only_where_it_may() -> None:
    config = prometheus_config(merged(INSTALL_PROMETHEUS, {"watch": {"namespaces": ["a", "b"]}}))
    assert config["scrape_configs"][0]["kubernetes_sd_configs"][0]["namespaces"] == {"names": ["a", "b"]}


def test_scrape_interval_retention_and_storage_are_values() -> None:
    server = {"scrapeInterval": "30s", "retention": "6h", "storageLimit": "2Gi"}
    objects = render({"prometheus": {"install": True, "server": server}})
    deployment = only(objects, "Deployment", "prometheus")
    assert "--storage.tsdb.retention.time=6h" in container(deployment)["args"]
    volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    assert volumes["data"]["emptyDir"] == {"sizeLimit": "2Gi"}
    assert "scrape_interval: 30s" in only(objects, "ConfigMap", "prometheus")["data"]["prometheus.yml"]


def test_another_configuration_is_another_prometheus_pod() -> None:
    def template(interval: str) -> Any:
        values = {"prometheus": {"install": True, "server": {"scrapeInterval": interval}}}
        return only(render(values), "Deployment", "prometheus")["spec"]["template"]

    assert template("2s") != template("5s")
    assert template("2s") == template("2s")


def test_a_new_chart_version_alone_replaces_no_prometheus_pod(tmp_path: Path) -> None:
    newer = tmp_path / "fluxpool"
    shutil.copytree(CHART, newer)
    about = (newer / "Chart.yaml").read_text()
    (newer / "Chart.yaml").write_text(about.replace("0.1.0", "0.2.0"))
    before, after = render(INSTALL_PROMETHEUS), render(INSTALL_PROMETHEUS, chart=newer)

    def template(objects: list[Object], component: str) -> Any:
        return only(objects, "Deployment", component)["spec"]["template"]

    assert template(before, "prometheus") == template(after, "prometheus")
    assert template(before, "operator") != template(after, "operator")  # it brings another image
