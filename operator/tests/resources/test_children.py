"""The other children of a pool."""

import base64

from api.pools import UID, pool

from fluxpool_operator import resources
from fluxpool_operator.world import MonitorSettings

DEMO = pool()
LONGEST = pool("a" * 52)
TEMPLATE = {"metadata": {"labels": resources.labels("demo")}, "spec": {}}


def test_every_child_is_owned_but_holds_the_deletion_of_the_pool_back_by_nothing() -> None:
    made = [
        resources.admin_secret(DEMO, "t"),
        resources.deployment(DEMO, 1, TEMPLATE, {}),
        resources.service(DEMO),
        resources.disruption_budget(DEMO),
        resources.service_monitor(DEMO, MonitorSettings()),
    ]
    assert [child["kind"] for child in made] == list(resources.KINDS)
    for child in made:
        assert child["metadata"]["ownerReferences"] == [
            {"apiVersion": "fluxpool.dev/v1alpha1", "kind": "FluxPool", "name": "demo", "uid": UID, "controller": True}
        ]
        assert child["metadata"]["labels"] == resources.labels("demo")
        assert child["apiVersion"] == resources.KINDS[child["kind"]]


def test_names_derived_from_the_longest_name_fit_a_dns_label() -> None:
    assert max(len(resources.child_name(kind, LONGEST.name)) for kind in resources.KINDS) <= 63


def test_the_selectors_are_the_pool_label_alone_and_select_the_pods() -> None:
    only = {"fluxpool.dev/pool": "demo"}
    deployment = resources.deployment(DEMO, 1, TEMPLATE, {})
    assert deployment["spec"]["selector"] == {"matchLabels": only}
    assert resources.service(DEMO)["spec"]["selector"] == only
    assert resources.disruption_budget(DEMO)["spec"]["selector"] == {"matchLabels": only}
    assert only.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_the_service_leads_port_80_to_the_pods_and_only_to_ready_ones() -> None:
    spec = resources.service(DEMO)["spec"]
    assert [(port["name"], port["port"], port["targetPort"]) for port in spec["ports"]] == [("http", 80, "http")]
    assert spec["publishNotReadyAddresses"] is False


def test_a_rollout_keeps_full_capacity_unless_told_otherwise() -> None:
    strategy = resources.deployment(DEMO, 1, TEMPLATE, {})["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    frugal = pool(rollout={"maxSurge": "0%", "maxUnavailable": "50%"})
    rolling = resources.deployment(frugal, 1, TEMPLATE, {})["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": "0%", "maxUnavailable": "50%"}


def test_a_slow_model_is_not_taken_for_a_failed_rollout() -> None:
    assert resources.deployment(DEMO, 1, TEMPLATE, {})["spec"]["progressDeadlineSeconds"] > 3600


def test_one_pod_at_a_time_may_be_evicted_and_a_broken_one_at_any_time() -> None:
    spec = resources.disruption_budget(DEMO)["spec"]
    assert (spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


def test_the_admin_token_is_kept_as_a_secret_has_it() -> None:
    secret = resources.admin_secret(DEMO, "a-token")
    assert secret["metadata"]["name"] == "demo-admin"
    assert base64.b64decode(secret["data"]["token"]) == b"a-token"


def test_a_service_monitor_carries_the_labels_that_a_prometheus_looks_for_but_not_over_ours() -> None:
    settings = MonitorSettings(labels={"release": "p", "fluxpool.dev/pool": "x"}, interval="2s")
    monitor = resources.service_monitor(DEMO, settings)
    assert monitor["metadata"]["labels"] == {"release": "p", **resources.labels("demo")}
    assert monitor["spec"]["endpoints"] == [{"port": "http", "path": "/metrics", "interval": "2s"}]
