"""An upgrade of the chart that brings another default image."""

from chart.kube import get
from e2e.day import THE_POOL, Day
from e2e.pools import NAMESPACE, POOL
from e2e.stage import OPERATOR_PORT, Stage, metrics_of
from e2e.waiting import answer
from fluxpool_demo import install
from fluxpool_demo.kube import Object, Ref
from fluxpool_demo.platform import import_inference

NEW_TAG = "newer"
LIGHT_RATE = 1.0


async def test_a_new_default_image_restarts_no_pod_until_a_pool_asks_for_it(day: Day, stage: Stage) -> None:
    deployment, (pod,) = await the_deployment(stage), await stage.pods()
    image = await import_inference(NEW_TAG)
    await install.install(stage.kube, stage.platform, {"inference": {"image": {"tag": NEW_TAG}}})
    await operator_has_looked(stage)
    assert (await the_deployment(stage))["metadata"]["generation"] == deployment["metadata"]["generation"]
    assert [identity(one) for one in await stage.pods()] == [identity(pod)]

    async with stage.driving() as drive, drive.running(LIGHT_RATE):
        await stage.kube.patch(THE_POOL, {"spec": {"rollout": {"onUpgrade": True}}})
        (after,) = await answer(stage.pods, lambda pods: images(pods) == [image], f"pods of {image} alone", 120)
    assert after["metadata"]["uid"] != pod["metadata"]["uid"]
    assert get("fluxpool", POOL, f"--namespace={NAMESPACE}")["status"]["template"]["image"] == image


async def the_deployment(stage: Stage) -> Object:
    found = await stage.kube.get(Ref("Deployment", NAMESPACE, POOL))
    assert found is not None
    return found


async def operator_has_looked(stage: Stage) -> None:
    """The new operator has reconciled every pool there is."""
    operator = (await stage.operator_pod())["metadata"]["name"]
    pools = len(await stage.kube.list("FluxPool", None))
    await answer(
        lambda: metrics_of(install.SYSTEM_NAMESPACE, operator, OPERATOR_PORT),
        lambda metrics: (
            metrics.get("fluxpool_operator_pools") == pools
            and metrics["fluxpool_operator_reconciles_total"] >= pools
            and metrics["fluxpool_operator_queue_depth"] == 0
        ),
        "a look at every pool",
        30,
    )


def identity(pod: Object) -> tuple[str, int]:
    return pod["metadata"]["uid"], sum(one["restartCount"] for one in pod["status"]["containerStatuses"])


def images(pods: list[Object]) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in pods]
