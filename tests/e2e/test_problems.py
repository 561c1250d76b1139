"""Pools that cannot work say why, in words that name the cause."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from e2e.pools import TROUBLE
from e2e.stage import Stage
from e2e.troubles import NO_GPU, NO_IMAGE, warning_events
from fluxpool_demo.kube import Object, Ref, condition, is_true

NOWHERE = "/nowhere/flux"


@pytest.mark.parametrize(
    ("name", "reason", "words", "seconds"),
    [
        ("crash", "CrashLoop", r"pod crash-\S+ ended with exit code 1 .*restarts: \d", 60),
        ("image", "ImagePullFailed", re.escape(NO_IMAGE), 60),
        ("gpus", "Unschedulable", rf"^{re.escape(NO_GPU)} is short: pod gpus-\S+ waits for a node", 90),
        ("rollout", "RolloutNeedsGPU", r"needs a spare e2e\.fluxpool\.dev/gpu .*rollout\.maxSurge: 0", 90),
    ],
)
async def test_a_pool_that_cannot_work_says_why_in_time(
    name: str, reason: str, words: str, seconds: float, troubles: Sequence[str], stage: Stage
) -> None:
    pool = await stalled(stage, name, seconds)
    for kind in ("Stalled", "Ready"):
        assert condition(pool, kind)["reason"] == reason
        assert re.search(words, condition(pool, kind)["message"]), condition(pool, kind)["message"]
    assert not is_true(pool, "Ready")
    took = moment(condition(pool, "Stalled")["lastTransitionTime"]) - moment(pool["metadata"]["creationTimestamp"])
    assert took <= timedelta(seconds=seconds)
    notes = warnings(name, reason)
    assert any(re.search(words, note) for note in notes), notes


async def test_a_model_that_cannot_be_loaded_is_named_by_the_pods_own_message(stage: Stage) -> None:
    spec = {"model": {"source": NOWHERE}, "scaling": {"mode": "Manual"}, "replicas": 1}
    await stage.platform.make_namespace(stage.kube, TROUBLE)
    await stage.kube.apply(stage.platform.pool(TROUBLE, "model", spec))
    pool = await stalled(stage, "model", 90)
    await stage.kube.delete(Ref("FluxPool", TROUBLE, "model"))
    assert condition(pool, "Stalled")["reason"] == condition(pool, "Ready")["reason"] == "ModelLoadFailed"
    assert f"model '{NOWHERE}' is no directory" in condition(pool, "Stalled")["message"]


async def test_a_child_that_the_api_server_refuses_is_told_in_its_words(troubles: Sequence[str], stage: Stage) -> None:
    pool = await stalled(stage, "refused", 30)
    for kind in ("Stalled", "Ready"):
        told = condition(pool, kind)
        assert told["reason"] == "Refused"
        assert re.search(r'Deployment .*volumeMounts\[\d+\]\.name: Not found: "nothing"', told["message"]), told
    assert not is_true(pool, "Ready")
    assert condition(pool, "Stalled")["message"] in warnings("refused", "Refused")


async def test_a_service_whose_port_got_another_number_is_made_anew(made_anew: tuple[Object, Object]) -> None:
    before, after = made_anew
    assert after["spec"]["ports"] == before["spec"]["ports"]


async def test_an_event_that_repeats_is_counted_and_not_written_again(counted: Sequence[Object]) -> None:
    repeated = next(event for event in counted if "series" in event)
    first, last = repeated["eventTime"], repeated["series"]["lastObservedTime"]
    assert repeated["series"]["count"] > 1
    assert [event for event in counted if first < event["eventTime"] <= last] == []


async def stalled(stage: Stage, name: str, seconds: float) -> Object:
    pool = await stage.kube.wait(
        Ref("FluxPool", TROUBLE, name), lambda pool: is_true(pool, "Stalled"), "Stalled", seconds
    )
    assert pool is not None
    return pool


def warnings(pool: str, reason: str) -> list[str]:
    """What events of the pool say."""
    return [event["note"] for event in warning_events(pool, reason)]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
