"""A FluxPool is deleted while its pod is at work."""

from chart.kube import get, kubectl
from e2e.day import Day
from e2e.pools import NAMESPACE, POOL
from e2e.stage import Stage, metrics_of
from e2e.waiting import answer, until
from fluxpool_demo.observe import POOL_LABEL

REQUESTS = 8
REQUEST_STEPS = 8
PRE_STOP_SECONDS = 5
KINDS = "deployments,replicasets,pods,services,endpointslices,secrets,poddisruptionbudgets,servicemonitors"


async def test_a_deleted_pool_answers_what_it_has_admitted_and_leaves_nothing(day: Day, stage: Stage) -> None:
    (pod,) = await stage.pods()
    name = pod["metadata"]["name"]
    before = len(stage.ledger.records)
    async with stage.observing() as observer:
        async with stage.driving() as drive, drive.burst(REQUESTS, REQUEST_STEPS):
            await answer(lambda: metrics_of(NAMESPACE, name), all_admitted, "all requests admitted", 30)
            kubectl("delete", "fluxpool", POOL, f"--namespace={NAMESPACE}", "--wait=false")
        answered = stage.ledger.records[before:]
        await answer(left, lambda names: not names, "nothing left of the pool", 60)
        await until(lambda: observer.pods[pod["metadata"]["uid"]].gone_at is not None, "the end of the pod seen", 10)
        seen = observer.pods[pod["metadata"]["uid"]]
    assert len(answered) == REQUESTS
    assert all(record.ok and not record.unanswered for record in answered)
    assert seen.ending_at is not None
    terminated_at = observer.started_at + seen.ending_at + PRE_STOP_SECONDS
    assert any(record.done_at > terminated_at for record in answered), "nothing was in flight when SIGTERM came"
    assert seen.exit_code == 0


def all_admitted(metrics: dict[str, float]) -> bool:
    return metrics["fluxpool_requests_waiting"] + metrics["fluxpool_requests_running"] == REQUESTS


async def left() -> set[str]:
    """What there is in the namespace that bears the pool's label or is owned by it."""
    found = get(kinds(), f"--namespace={NAMESPACE}", f"--selector={POOL_LABEL}={POOL}")["items"]
    return {f"{one['kind']}/{one['metadata']['name']}" for one in found}


def kinds() -> str:
    """Those of KINDS that this cluster has."""
    have = {line.split(".")[0] for line in kubectl("api-resources", "--output=name", "--cached").split()}
    return ",".join(kind for kind in KINDS.split(",") if kind in have)
