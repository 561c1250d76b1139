"""Who may do what: the roles of the operator, of Prometheus, and of people."""

import re

import pytest

from chart.helm import INSTALL_PROMETHEUS, NAMESPACE, OWN_PROMETHEUS, granted, manifest, merged, of_kind, only, render
from chart.operator_code import needed_rights


def test_the_operator_has_a_cluster_role_when_it_watches_all_namespaces() -> None:
    objects = render(OWN_PROMETHEUS)
    binding = only(objects, "ClusterRoleBinding", "operator")
    assert binding["roleRef"]["name"] == only(objects, "ClusterRole", "operator")["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "fluxpool-operator", "namespace": NAMESPACE}]
    assert not of_kind(objects, "Role")


def test_the_operator_has_the_same_rules_as_a_role_in_each_listed_namespace() -> None:
    everywhere = only(render(OWN_PROMETHEUS), "ClusterRole", "operator")["rules"]
    objects = render(merged(INSTALL_PROMETHEUS, {"watch": {"namespaces": ["a", "b"]}, "rbac": {"aggregate": False}}))
    for component in ("operator", "prometheus"):
        assert {o["metadata"]["namespace"] for o in of_kind(objects, "Role", component)} == {"a", "b"}
        assert {o["metadata"]["namespace"] for o in of_kind(objects, "RoleBinding", component)} == {"a", "b"}
    assert all(role["rules"] == everywhere for role in of_kind(objects, "Role", "operator"))
    assert not of_kind(objects, "ClusterRole")
    assert not of_kind(objects, "ClusterRoleBinding")


@pytest.mark.parametrize("service_monitors", [False, True])
def test_the_operators_role_grants_what_it_asks_for_and_nothing_else(service_monitors: bool) -> None:
    objects = render(merged(OWN_PROMETHEUS, {"serviceMonitor": {"enabled": service_monitors}}))
    assert granted(only(objects, "ClusterRole", "operator")) == needed_rights(service_monitors=service_monitors)


def test_the_operator_may_write_nothing_of_a_pool_but_its_status() -> None:
    rights = granted(only(render(OWN_PROMETHEUS), "ClusterRole", "operator"))
    pools = {(resource, verb) for group, resource, verb in rights if group == "fluxpool.dev"}
    assert pools == {("fluxpools", "list"), ("fluxpools", "watch"), ("fluxpools/status", "patch")}


def test_prometheus_may_look_for_pods_and_nothing_else() -> None:
    rights = granted(only(render(INSTALL_PROMETHEUS), "ClusterRole", "prometheus"))
    assert rights == {("", "pods", "list"), ("", "pods", "watch")}


def test_every_rule_has_its_reason_beside_it() -> None:
    text = manifest(merged(INSTALL_PROMETHEUS, {"serviceMonitor": {"enabled": True}}))
    reason = ""
    seen = 0
    for document in text.split("\n---\n"):
        if not re.search(r"^kind: (Cluster)?Role$", document, re.MULTILINE):
            continue
        for line in document.splitlines():
            reason = line.strip() if line.strip().startswith("#") else reason
            if line.strip().startswith("- apiGroups"):
                assert re.match(r"# (?!Source: )", reason), line
                seen += 1
    assert seen >= 10


def test_no_right_is_granted_when_rbac_is_someone_elses() -> None:
    objects = render(merged(INSTALL_PROMETHEUS, {"rbac": {"create": False}}))
    assert not [o for o in objects if o["apiVersion"].startswith("rbac.")]


def test_a_service_account_of_ones_own_is_used_and_not_made() -> None:
    objects = render(merged(OWN_PROMETHEUS, {"serviceAccount": {"create": False, "name": "mine"}}))
    assert only(objects, "Deployment", "operator")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"
    assert only(objects, "ClusterRoleBinding", "operator")["subjects"][0]["name"] == "mine"
    assert not of_kind(objects, "ServiceAccount", "operator")


def test_a_service_account_gets_its_annotations() -> None:
    objects = render(merged(OWN_PROMETHEUS, {"serviceAccount": {"annotations": {"role": "arn"}}}))
    assert only(objects, "ServiceAccount", "operator")["metadata"]["annotations"] == {"role": "arn"}


def test_admin_edit_and_view_cover_fluxpools_unless_told_otherwise() -> None:
    label = "rbac.authorization.k8s.io/aggregate-to-"
    objects = render(OWN_PROMETHEUS)
    roles = {o["metadata"]["name"]: o for o in of_kind(objects, "ClusterRole", "roles")}
    edit, view = roles["fluxpool-edit"], roles["fluxpool-view"]
    assert {key.removeprefix(label) for key in edit["metadata"]["labels"] if key.startswith(label)} == {"admin", "edit"}
    assert view["metadata"]["labels"][f"{label}view"] == "true"
    assert {verb for rule in view["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert not of_kind(render(merged(OWN_PROMETHEUS, {"rbac": {"aggregate": False}})), "ClusterRole", "roles")
