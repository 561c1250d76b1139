"""Who turns the knobs: the autoscaler, nobody, or the user by `kubectl scale` and a HorizontalPodAutoscaler."""

import pytest

from chart.kube import KubectlError, kubectl
from integration.api import wait_for
from integration.external_metrics import external_metrics
from integration.fake_pods import FakePods
from integration.pools import NewPool, Pool
from integration.stage import Operator, Stage

FULL = 24
"""Three replicas' worth of requests."""
MANUAL = {"scaling": {"mode": "Manual"}}
REFUSAL = "mode Auto sets replicas: remove spec.replicas or use mode Manual"
SOME_LOOKS = 6
"""More than the scale-down window is long: what would move, has moved by then."""


@pytest.fixture(scope="module", autouse=True)
def _started(new_pool: NewPool, pods: FakePods) -> None:
    """All pools of this module at once, so that Prometheus finds their pods in one go."""
    pods.load(new_pool("switched").namespace, "switched").requests = FULL
    new_pool("switched").create()
    new_pool("scaled").create(**MANUAL)
    new_pool("held").create(scaling={"mode": "Hold"})
    new_pool("advised").create(
        replicas=2, scaling={"mode": "Recommend"}, batching={"mode": "Recommend", "size": 4, "max": 8}
    )


def test_auto_to_manual_and_back_keeps_the_pods(new_pool: NewPool, pods: FakePods, operator: Operator) -> None:
    pool = new_pool("switched")
    load = pods.load(pool.namespace, pool.name)
    pool.wait_for_replicas(3)
    pods.wait_until_scraped(pool.namespace, pool.name, 3)
    before = pool.pod_names()

    pool.change(scaling={"mode": "Manual"})
    load.requests = 0
    labels = {"namespace": pool.namespace, "pool": pool.name}
    wait_for("the number to be exported", lambda: operator.metric("fluxpool_desired_replicas", **labels) == 1)
    operator.wait_for_ticks(SOME_LOOKS)
    assert (pool.deployed(), pool.pod_names()) == (3, before)

    load.requests = FULL
    wait_for("the number to be exported", lambda: operator.metric("fluxpool_desired_replicas", **labels) == 3)
    pool.change(scaling={"mode": "Auto"})
    operator.wait_for_ticks(SOME_LOOKS)
    assert (pool.deployed(), pool.pod_names()) == (3, before)

    load.requests = 0
    pool.wait_for_replicas(1)


def test_hold_holds_whatever_the_load(new_pool: NewPool, pods: FakePods, operator: Operator) -> None:
    pool = new_pool("held")
    pods.wait_until_scraped(pool.namespace, pool.name)
    before = pool.pod_names()
    pods.load(pool.namespace, pool.name).requests = FULL
    pool.wait_for_condition("ScalingActive", "False", "Hold")
    operator.wait_for_ticks(SOME_LOOKS)
    assert (pool.desired().replicas, pool.deployed(), pool.pod_names()) == (1, 1, before)

    pool.change(scaling={"mode": "Auto"})
    pool.wait_for_replicas(3)
    pool.change(scaling={"mode": "Hold"})
    pods.load(pool.namespace, pool.name).requests = 0
    operator.wait_for_ticks(SOME_LOOKS)
    assert (pool.desired().replicas, pool.deployed()) == (3, 3)


def test_recommend_says_what_it_would_do_and_changes_no_pod_and_no_batch_size(
    new_pool: NewPool, pods: FakePods, operator: Operator
) -> None:
    pool = new_pool("advised")
    pods.wait_until_scraped(pool.namespace, pool.name, 2)
    before = pool.pod_names()
    pods.load(pool.namespace, pool.name).requests = FULL

    def advises(pool: Pool) -> bool:
        return pool.status().get("recommended") == {"replicas": 3, "batchSize": 8}

    pool.wait("to recommend", advises)
    operator.wait_for_ticks(SOME_LOOKS)
    assert (pool.deployed(), pool.pod_names(), len(before)) == (2, before, 2)
    assert list(pods.told(pool.namespace, pool.name).values()) == [[4], [4]]
    assert any("replicas 3: queue depth per replica is 12, target 8" in note for _, note in pool.events())


def test_kubectl_scale_and_an_hpa_drive_a_manual_pool_and_are_refused_in_auto(
    stage: Stage, new_pool: NewPool, pods: FakePods
) -> None:
    pool = new_pool("scaled")
    kubectl("scale", "fluxpool", pool.name, "--replicas=2", f"--namespace={pool.namespace}")
    pool.wait_for_replicas(2)

    with external_metrics(stage, pool) as hpa:
        hpa.needs(3)
        pool.wait_for_replicas(3, seconds=60)
        pods.load(pool.namespace, pool.name).requests = FULL
        pods.wait_until_scraped(pool.namespace, pool.name, 3)
        pool.change(scaling={"mode": "Auto"})
        hpa.needs(4)
        wait_for("the HPA to be refused", lambda: REFUSAL in hpa.complaint(), 60)
        assert (pool.desired().replicas, pool.deployed()) == (3, 3)
        assert pool.body()["spec"]["replicas"] == 3
    with pytest.raises(KubectlError, match=REFUSAL):
        kubectl("scale", "fluxpool", pool.name, "--replicas=4", f"--namespace={pool.namespace}")
    assert pool.body()["spec"]["replicas"] == 3
