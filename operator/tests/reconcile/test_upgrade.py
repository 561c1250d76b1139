"""An upgrade of the operator restarts no pod, unless the spec changes or the pool asks for it."""

import json
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from api.pools import body
from reconcile.fake_cluster import DEFAULTS, FakeCluster

from fluxpool_operator import resources
from fluxpool_operator.reconcile import upgrade
from fluxpool_operator.resources import Basis, pod, pod_template
from fluxpool_operator.world import TEMPLATE_BASIS

NEW_DEFAULTS = replace(DEFAULTS, image="fluxpool:2", image_pull_policy="Always")


@pytest.fixture
def cluster() -> FakeCluster:
    """A pool that serves, made by the former operator."""
    made = FakeCluster().settle()
    made.start_pods(1)
    return made.settle()


@pytest.fixture
def revision_2(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator that comes after `cluster` was made has another template."""

    def build(pool: Any, basis: Basis) -> Any:
        made = pod.REVISIONS[1](pool, basis)
        made["spec"]["hostname"] = "new"
        return made

    revisions = MappingProxyType({1: pod.REVISIONS[1], 2: build})
    template_of = lambda pool, basis: revisions[basis.revision](pool, basis)  # noqa: E731
    monkeypatch.setattr(upgrade, "REVISIONS", revisions)
    monkeypatch.setattr(upgrade, "LATEST_REVISION", 2)
    monkeypatch.setattr(upgrade, "pod_template", template_of)


def upgrade_operator(cluster: FakeCluster) -> None:
    cluster.defaults = NEW_DEFAULTS


def test_another_default_image_writes_nothing(cluster: FakeCluster) -> None:
    upgrade_operator(cluster)
    assert cluster.step(seconds=60).empty


@pytest.mark.usefixtures("revision_2")
def test_another_template_revision_writes_nothing(cluster: FakeCluster) -> None:
    upgrade_operator(cluster)
    assert cluster.step(seconds=60).empty
    assert "hostname" not in cluster.children["Deployment"]["spec"]["template"]["spec"]


def test_scaling_after_an_upgrade_keeps_the_old_image(cluster: FakeCluster) -> None:
    upgrade_operator(cluster)
    cluster.change_spec(scaling={"minReplicas": 3, "maxReplicas": 4})
    cluster.step()
    assert (cluster.replicas, cluster.image) == (3, "fluxpool:1")


@pytest.mark.usefixtures("revision_2")
def test_a_spec_change_that_replaces_the_pods_anyway_takes_the_new_image_and_revision(cluster: FakeCluster) -> None:
    upgrade_operator(cluster)
    cluster.change_spec(serving={"drainSeconds": 60})
    cluster.settle()
    assert cluster.image == "fluxpool:2"
    assert cluster.children["Deployment"]["spec"]["template"]["spec"]["hostname"] == "new"
    assert cluster.status["template"] | {"hash": ""} == {
        "image": "fluxpool:2",
        "imagePullPolicy": "Always",
        "revision": 2,
        "hash": "",
    }


def test_on_upgrade_takes_the_new_image_when_it_is_this_pools_turn(cluster: FakeCluster) -> None:
    cluster.change_spec(rollout={"onUpgrade": True})
    cluster.settle()
    cluster.may_upgrade = False
    upgrade_operator(cluster)
    waiting = cluster.step(seconds=60)
    assert (waiting.empty, waiting.wants_upgrade, waiting.rolling_out) == (True, True, False)
    cluster.may_upgrade = True
    rolling = cluster.step()
    assert (rolling.wants_upgrade, rolling.rolling_out) == (False, True)
    assert cluster.image == "fluxpool:2"


def test_a_pool_that_may_not_upgrade_does_not_ask_for_it(cluster: FakeCluster) -> None:
    upgrade_operator(cluster)
    assert not cluster.step().wants_upgrade


def test_setting_on_upgrade_after_the_upgrade_takes_it(cluster: FakeCluster) -> None:
    upgrade_operator(cluster)
    cluster.change_spec(rollout={"onUpgrade": True})
    cluster.settle()
    assert cluster.image == "fluxpool:2"


def test_an_edited_deployment_is_repaired_to_the_old_template(cluster: FakeCluster) -> None:
    upgrade_operator(cluster)
    cluster.edit("Deployment", "spec.template.spec.containers.0.image", "evil:1")
    cluster.step()
    assert cluster.image == "fluxpool:1"


def test_a_lost_record_is_read_from_status(cluster: FakeCluster) -> None:
    upgrade_operator(cluster)
    cluster.remove("Deployment", "metadata.annotations")
    cluster.children["Deployment"]["metadata"]["annotations"] = {TEMPLATE_BASIS: "{}"}
    cluster.step()
    assert cluster.image == "fluxpool:1"
    assert (
        json.loads(cluster.children["Deployment"]["metadata"]["annotations"][TEMPLATE_BASIS])["image"] == "fluxpool:1"
    )


def test_a_lost_status_is_no_loss(cluster: FakeCluster) -> None:
    upgrade_operator(cluster)
    cluster.pool["status"] = {}
    cluster.settle()
    assert (cluster.image, cluster.status["template"]["image"]) == ("fluxpool:1", "fluxpool:1")


def test_a_pool_restored_without_its_deployment_takes_the_newest_whatever_its_status_says(cluster: FakeCluster) -> None:
    upgrade_operator(cluster)
    cluster.children = {}
    cluster.settle()
    assert cluster.image == "fluxpool:2"


def test_a_pool_restored_with_its_deployment_keeps_its_pods(cluster: FakeCluster) -> None:
    restored = FakeCluster(pool=body(), children=cluster.children, pods=cluster.pods, defaults=NEW_DEFAULTS)
    for live in restored.children.values():
        live["metadata"]["managedFields"] = []
        del live["metadata"]["ownerReferences"]
    restored.settle()
    assert restored.image == "fluxpool:1"
    assert restored.verdict("Ready") == ("True", "Serving")


def test_a_revision_of_a_newer_operator_gives_way_to_ours(cluster: FakeCluster) -> None:
    record = json.loads(cluster.children["Deployment"]["metadata"]["annotations"][TEMPLATE_BASIS])
    newer = json.dumps({**record, "revision": 99})
    cluster.children["Deployment"]["metadata"]["annotations"][TEMPLATE_BASIS] = newer
    cluster.settle()
    assert cluster.status["template"]["revision"] == resources.LATEST_REVISION


def test_a_users_own_image_makes_an_upgrade_no_matter() -> None:
    cluster = FakeCluster(pool=body(template={"image": "mine:1", "imagePullPolicy": "Never"})).settle()
    upgrade_operator(cluster)
    assert cluster.step(seconds=60).empty
    assert cluster.status["template"]["image"] == "mine:1"


def test_removing_the_users_image_takes_the_newest_default_even_if_the_record_was_lost() -> None:
    cluster = FakeCluster(pool=body(template={"image": "mine:1"})).settle()
    cluster.children["Deployment"]["metadata"]["annotations"].pop(TEMPLATE_BASIS)
    upgrade_operator(cluster)
    cluster.settle()
    cluster.change_spec(template={})
    cluster.settle()
    assert cluster.image == "fluxpool:2"


def test_the_template_in_use_is_built_by_its_own_revision() -> None:
    with pytest.raises(KeyError):
        pod_template(FakeCluster().snapshot().pool, Basis("a", None, 0))  # type: ignore[arg-type]
