"""Who may do what: the roles of the operator, of Prometheus, and of people."""

import re

from chart.helm import INSTALL_PROMETHEUS, NAMESPACE, OWN_PROMETHEUS, Values, manifest, merged, of_kind, only, render


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


def test_no_rule_grants_a_wildcard_or_more_than_status_of_a_pool() -> None:
    rules = only(render(merged(OWN_PROMETHEUS, {"serviceMonitor": {"enabled": True}})), "ClusterRole", "operator")[
        "rules"
    ]
    assert not any("*" in part for rule in rules for part in (*rule["apiGroups"], *rule["resources"], *rule["verbs"]))
    writes = {"create", "update", "patch", "delete", "deletecollection"}
    written = {
        (resource, verb) for rule in rules for resource in rule["resources"] for verb in writes & {*rule["verbs"]}
    }
    assert {pair for pair in written if pair[0].startswith("fluxpools")} == {("fluxpools/status", "patch")}
    assert not {resource for resource, _ in written} & {"pods", "namespaces", "nodes", "customresourcedefinitions"}


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


def test_monitors_are_in_the_rules_only_when_the_operator_makes_them() -> None:
    def groups(values: Values) -> set[str]:
        rules = only(render(merged(OWN_PROMETHEUS, values)), "ClusterRole", "operator")["rules"]
        return {group for rule in rules for group in rule["apiGroups"]}

    assert "monitoring.coreos.com" not in groups({})
    assert "monitoring.coreos.com" in groups({"serviceMonitor": {"enabled": True}})


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
