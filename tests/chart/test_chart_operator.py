"""What the chart makes of its values: the operator, names and labels, refusals."""

import re

import pytest
import yaml

from chart.helm import (
    CHART,
    INSTALL_PROMETHEUS,
    NAMESPACE,
    OWN_PROMETHEUS,
    HelmError,
    Object,
    Values,
    container,
    environment,
    helm,
    merged,
    of_kind,
    only,
    render,
)
from chart.operator_code import load_settings

DIGEST = "sha256:" + "0" * 64
NAME_LABEL = "app.kubernetes.io/name"


def operator_of(*values: Values) -> Object:
    return only(render(merged(OWN_PROMETHEUS, *values)), "Deployment", "operator")


def test_helm_lint_has_no_complaint() -> None:
    helm("lint", "--strict", str(CHART), values=INSTALL_PROMETHEUS)
    helm("lint", "--strict", str(CHART), values=OWN_PROMETHEUS)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "set prometheus.url to yours, or prometheus.install=true"),
        (merged(OWN_PROMETHEUS, INSTALL_PROMETHEUS), "prometheus.install and prometheus.url are both set"),
        (
            merged(INSTALL_PROMETHEUS, {"prometheus": {"matchers": 'a="b"'}}),
            "prometheus.matchers is for the Prometheus",
        ),
        (merged(INSTALL_PROMETHEUS, {"prometheus": {"headers": {"A": "b"}}}), "prometheus.headers is for the Prom"),
        (merged(INSTALL_PROMETHEUS, {"prometheus": {"tokenSecret": {"name": "t"}}}), "prometheus.tokenSecret.name is"),
        (merged(INSTALL_PROMETHEUS, {"prometheus": {"caSecret": {"name": "t"}}}), "prometheus.caSecret.name is"),
        (merged(INSTALL_PROMETHEUS, {"prometheus": {"caConfigMap": {"name": "t"}}}), "prometheus.caConfigMap.name is"),
        (
            merged(OWN_PROMETHEUS, {"prometheus": {"caConfigMap": {"name": "a"}, "caSecret": {"name": "b"}}}),
            "prometheus.caSecret.name and prometheus.caConfigMap.name are both set",
        ),
        (merged(OWN_PROMETHEUS, {"serviceAccount": {"create": False}}), "name the ServiceAccount to use"),
        (merged(OWN_PROMETHEUS, {"commonLabels": {NAME_LABEL: "x"}}), f"commonLabels sets {NAME_LABEL}, by which"),
        (merged(OWN_PROMETHEUS, {"operator": {"podLabels": {NAME_LABEL: "x"}}}), "operator.podLabels sets app."),
        (
            merged(INSTALL_PROMETHEUS, {"prometheus": {"server": {"podLabels": {NAME_LABEL: "x"}}}}),
            "prometheus.server.podLabels sets app.",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(values: Values, sentence: str) -> None:
    with pytest.raises(HelmError, match=re.escape(sentence)):
        render(values)


def test_the_operator_understands_every_setting_of_the_chart() -> None:
    values: Values = {
        "watch": {"namespaces": ["a", "b"]},
        "operator": {
            "scaleIntervalSeconds": 1.5,
            "resyncSeconds": 60,
            "workers": 3,
            "log": {"format": "text", "level": "DEBUG"},
        },
        "inference": {"image": {"repository": "example.org/i", "tag": "2", "pullPolicy": "Never"}},
        "prometheus": {
            "tokenSecret": {"name": "t"},
            "caConfigMap": {"name": "c"},
            "headers": {"X-Scope-OrgID": "a<b"},
            "matchers": 'cluster="eu-1",env=~"a|b"',
        },
        "serviceMonitor": {"enabled": True, "labels": {"release": "prom"}, "interval": "15s"},
    }

    variables = environment(operator_of(values))
    settings = load_settings(variables)

    assert settings == {
        "namespaces": ["a", "b"],
        "prometheus_url": "https://prometheus.example:9090/p",
        "prometheus_token_file": "/var/run/fluxpool/prometheus-token/token",
        "prometheus_ca_file": "/var/run/fluxpool/prometheus-ca/ca.crt",
        "prometheus_headers": {"X-Scope-OrgID": "a<b"},
        "prometheus_matchers": 'cluster="eu-1",env=~"a|b"',
        "scale_interval_seconds": 1.5,
        "resync_seconds": 60,
        "workers": 3,
        "inference_image": "example.org/i:2",
        "inference_image_pull_policy": "Never",
        "service_monitor": True,
        "service_monitor_labels": {"release": "prom"},
        "service_monitor_interval": "15s",
        "log_format": "text",
        "log_level": "DEBUG",
        "http_port": 8080,
    }
    # Nothing is set that the operator does not know: it would ignore it silently.
    assert variables.keys() == {f"FLUXPOOL_OPERATOR_{name.upper()}" for name in settings}


def test_the_chart_has_the_operators_own_defaults() -> None:
    image = {"FLUXPOOL_OPERATOR_INFERENCE_IMAGE": "fluxpool-inference:0.1.0"}
    url = {"FLUXPOOL_OPERATOR_PROMETHEUS_URL": "https://prometheus.example:9090/p"}

    assert load_settings(environment(operator_of())) == load_settings(image | url)


def test_there_is_one_operator_and_the_old_one_ends_first() -> None:
    spec = operator_of()["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_probes_ask_the_port_that_the_operator_opens() -> None:
    deployment = operator_of()
    main = container(deployment)
    assert main["ports"] == [
        {"name": "http", "containerPort": int(environment(deployment)["FLUXPOOL_OPERATOR_HTTP_PORT"])}
    ]
    assert main["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert main["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


def test_the_last_words_of_an_operator_that_cannot_start_are_kept_in_its_pods_status() -> None:
    assert container(operator_of())["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_extra_env_wins_over_what_the_chart_sets_and_is_not_set_twice() -> None:
    deployment = operator_of({"operator": {"extraEnv": [{"name": "FLUXPOOL_OPERATOR_WORKERS", "value": "9"}]}})
    names = [variable["name"] for variable in container(deployment)["env"]]
    assert len(names) == len(set(names))
    assert environment(deployment)["FLUXPOOL_OPERATOR_WORKERS"] == "9"


def test_extra_volumes_and_mounts_reach_both_pods() -> None:
    extra: Values = {
        "extraVolumes": [{"name": "lib", "hostPath": {"path": "/usr"}}],
        "extraVolumeMounts": [{"name": "lib", "mountPath": "/usr", "readOnly": True}],
        "extraEnv": [{"name": "A", "value": "b"}],
    }
    objects = render(merged(INSTALL_PROMETHEUS, {"operator": extra, "prometheus": {"server": extra}}))
    for component in ("operator", "prometheus"):
        deployment = only(objects, "Deployment", component)
        assert extra["extraVolumes"][0] in deployment["spec"]["template"]["spec"]["volumes"]
        assert extra["extraVolumeMounts"][0] in container(deployment)["volumeMounts"]
        assert environment(deployment)["A"] == "b"


def test_placement_and_pod_metadata_reach_both_pods() -> None:
    placement: Values = {
        "podLabels": {"team": "x"},
        "podAnnotations": {"note": "y"},
        "nodeSelector": {"pool": "cpu"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "resources": {"limits": {"memory": "1Gi"}},
    }
    objects = render(
        merged(
            INSTALL_PROMETHEUS,
            {"operator": placement, "prometheus": {"server": placement}, "imagePullSecrets": [{"name": "reg"}]},
        )
    )
    for component in ("operator", "prometheus"):
        template = only(objects, "Deployment", component)["spec"]["template"]
        assert template["metadata"]["labels"]["team"] == "x"
        assert template["metadata"]["annotations"]["note"] == "y"
        spec = template["spec"]
        assert spec["nodeSelector"] == {"kubernetes.io/os": "linux", "pool": "cpu"}
        assert spec["tolerations"] == [{"operator": "Exists"}]
        assert spec["affinity"] == {"nodeAffinity": {}}
        assert spec["priorityClassName"] == "high"
        assert spec["imagePullSecrets"] == [{"name": "reg"}]
        assert spec["containers"][0]["resources"]["limits"] == {"memory": "1Gi"}


@pytest.mark.parametrize("source", ["caSecret", "caConfigMap"])
def test_token_and_ca_are_mounted_where_the_operator_is_told_to_read_them(source: str) -> None:
    given: Values = {"prometheus": {"tokenSecret": {"name": "t", "key": "k"}, source: {"name": "c", "key": "ca"}}}
    deployment = operator_of(given)
    mounts = {mount["name"]: mount for mount in container(deployment)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    variables = environment(deployment)

    assert all(mount["readOnly"] for mount in mounts.values())
    assert volumes["prometheus-token"]["secret"] == {"secretName": "t", "items": [{"key": "k", "path": "token"}]}
    assert variables["FLUXPOOL_OPERATOR_PROMETHEUS_TOKEN_FILE"] == f"{mounts['prometheus-token']['mountPath']}/token"
    file = volumes["prometheus-ca"]["secret" if source == "caSecret" else "configMap"]
    assert file["items"] == [{"key": "ca", "path": "ca.crt"}]
    assert variables["FLUXPOOL_OPERATOR_PROMETHEUS_CA_FILE"] == f"{mounts['prometheus-ca']['mountPath']}/ca.crt"


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "fluxpool-operator:0.1.0"),
        ({"repository": "example.org/op", "tag": "main"}, "example.org/op:main"),
        ({"registry": "example.org:5000", "repository": "a/op"}, "example.org:5000/a/op:0.1.0"),
        ({"digest": DIGEST}, f"fluxpool-operator@{DIGEST}"),
        ({"tag": "1.2", "digest": DIGEST}, f"fluxpool-operator:1.2@{DIGEST}"),
    ],
)
def test_an_image_is_named_by_tag_or_digest(image: Values, reference: str) -> None:
    assert container(operator_of({"operator": {"image": image}}))["image"] == reference


def test_names_follow_the_release_and_fit_a_label() -> None:
    release = "r" * 53  # the longest that Helm takes
    names = {o["metadata"]["name"] for o in render(INSTALL_PROMETHEUS, release=release)}
    names -= {"fluxpools.fluxpool.dev"}
    assert all(name.startswith("r" * 40) and len(name) <= 63 for name in names)
    assert {o["metadata"]["name"] for o in render(merged(OWN_PROMETHEUS, {"fullnameOverride": "x"}))} >= {"x-operator"}
    assert "y-fluxpool-operator" in {o["metadata"]["name"] for o in render(OWN_PROMETHEUS, release="y")}


def test_selectors_have_no_label_that_can_change() -> None:
    objects = render(merged(INSTALL_PROMETHEUS, {"commonLabels": {"team": "x"}}))
    for deployment in of_kind(objects, "Deployment"):
        selected = deployment["spec"]["selector"]["matchLabels"]
        assert selected.keys() == {f"app.kubernetes.io/{part}" for part in ("name", "instance", "component")}
        assert selected.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_common_labels_are_on_every_object_of_the_chart() -> None:
    objects = render(merged(INSTALL_PROMETHEUS, {"commonLabels": {"team": "x"}, "crds": {"enabled": False}}))
    assert all(o["metadata"]["labels"]["team"] == "x" for o in objects)
    assert all(d["spec"]["template"]["metadata"]["labels"]["team"] == "x" for d in of_kind(objects, "Deployment"))


def test_everything_lies_in_the_releases_namespace_or_in_none() -> None:
    objects = render(merged(INSTALL_PROMETHEUS, {"serviceMonitor": {"enabled": True}}))
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    for o in objects:
        assert o["metadata"].get("namespace") == (None if o["kind"] in cluster_wide else NAMESPACE), o["kind"]


def test_service_monitors_select_the_operators_service() -> None:
    monitor_values: Values = {"serviceMonitor": {"enabled": True, "labels": {"release": "p"}, "interval": "7s"}}
    objects = render(merged(OWN_PROMETHEUS, monitor_values))
    monitor, service = only(objects, "ServiceMonitor"), only(objects, "Service", "operator")
    assert monitor["metadata"]["labels"]["release"] == "p"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"] == [{"port": "http", "interval": "7s", "honorLabels": True}]
    assert not of_kind(render(OWN_PROMETHEUS), "ServiceMonitor")


def test_the_crd_is_installed_on_request_and_kept_at_uninstall() -> None:
    crd = only(render(OWN_PROMETHEUS), "CustomResourceDefinition")
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not of_kind(render(merged(OWN_PROMETHEUS, {"crds": {"enabled": False}})), "CustomResourceDefinition")


def notes_of(*values: Values) -> str:
    given = merged(OWN_PROMETHEUS, *values)
    return helm("install", "fluxpool", str(CHART), "--dry-run=client", values=given).partition("NOTES:")[2]


def test_the_notes_end_in_a_fluxpool_to_apply_and_how_to_see_decisions() -> None:
    notes = notes_of({"watch": {"namespaces": ["team-a"]}, "crds": {"enabled": False}})
    (pool,) = (yaml.safe_load(part) for part in re.findall(r"<<END\n(.*?)\n *END\n", notes, re.DOTALL))
    assert (pool["kind"], pool["spec"]["model"]["source"]) == ("FluxPool", "black-forest-labs/FLUX.1-schnell")
    assert "kubectl apply --namespace team-a" in notes
    assert f"kubectl describe fluxpool {pool['metadata']['name']} --namespace team-a" in notes
    assert "serviceMonitor.enabled=true" in notes
    assert "the FluxPool CRD must be there already" in notes


def test_the_notes_say_that_images_are_to_be_built_until_it_is_said_where_they_are() -> None:
    said = "No image is published yet: nodes must have fluxpool-operator:0.1.0"
    assert said in notes_of()
    assert "No image is published" not in notes_of({"operator": {"image": {"registry": "registry.example"}}})
    assert "No image is published" not in notes_of({"operator": {"image": {"repository": "registry.example/op"}}})
