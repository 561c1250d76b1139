"""Events on a FluxPool."""

import logging
from datetime import UTC, datetime

import pytest
from cluster.api_server import running

from fluxpool_operator.cluster.events import NOTE_LENGTH, Recorder, Regarding

POOL = Regarding("art", "demo", "the-uid")
OK = (201, {"kind": "Event"})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)


async def test_an_event_has_what_kubectl_describe_shows() -> None:
    async with running(OK) as (api, cluster):
        recorder = Recorder(cluster, "operator-1", now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
        await recorder.record(POOL, "Warning", "ImagePullFailed", "Reconcile", "x" * 2000)
    event = api.asked[0].body
    assert api.asked[0].path == "/apis/events.k8s.io/v1/namespaces/art/events"
    assert event["regarding"] == {
        "apiVersion": "fluxpool.dev/v1alpha1",
        "kind": "FluxPool",
        "namespace": "art",
        "name": "demo",
        "uid": "the-uid",
    }
    assert (event["type"], event["reason"], event["action"]) == ("Warning", "ImagePullFailed", "Reconcile")
    assert (event["reportingController"], event["reportingInstance"]) == ("fluxpool.dev/operator", "operator-1")
    assert event["eventTime"] == "2026-01-01T00:00:00.000000Z"
    assert len(event["note"]) == NOTE_LENGTH
    assert event["metadata"]["name"].startswith("demo.")


async def test_the_same_again_raises_a_count_and_that_at_most_once_a_minute() -> None:
    clock = Clock()
    async with running(OK, OK, OK, OK) as (api, cluster):
        recorder = Recorder(cluster, "operator-1", clock, clock.wall)
        for _ in range(20):
            await recorder.record(POOL, "Warning", "Refused", "Reconcile", "no")
            clock.now += 10
    assert [asked.method for asked in api.asked] == ["POST", "PATCH", "PATCH", "PATCH"]
    assert api.asked[1].path.endswith(api.asked[0].body["metadata"]["name"])
    assert api.asked[1].body["series"] == {"count": 7, "lastObservedTime": "1970-01-01T00:01:00.000000Z"}


async def test_what_there_is_no_room_for_makes_no_other_event() -> None:
    async with running(OK) as (api, cluster):
        recorder = Recorder(cluster, "operator-1")
        for end in ("a", "b"):
            await recorder.record(POOL, "Warning", "Refused", "Reconcile", "x" * NOTE_LENGTH + end)
    assert [asked.method for asked in api.asked] == ["POST"]


async def test_another_note_pool_or_reason_is_another_event() -> None:
    async with running(OK, OK, OK, OK) as (api, cluster):
        recorder = Recorder(cluster, "operator-1")
        await recorder.record(POOL, "Normal", "ScaledUp", "Reconcile", "replicas 1 -> 2")
        await recorder.record(POOL, "Normal", "ScaledUp", "Reconcile", "replicas 2 -> 3")
        await recorder.record(POOL, "Normal", "Recommended", "Reconcile", "replicas 2 -> 3")
        await recorder.record(Regarding("art", "demo", "its successor"), "Normal", "ScaledUp", "R", "replicas 1 -> 2")
    assert [asked.method for asked in api.asked] == ["POST"] * 4
    assert len({asked.body["metadata"]["name"] for asked in api.asked}) == 4


async def test_after_a_long_silence_or_when_the_event_is_gone_a_new_one_is_made() -> None:
    clock = Clock()
    gone = (404, {"kind": "Status", "message": "not found"})
    async with running(OK, OK, gone, OK) as (api, cluster):
        recorder = Recorder(cluster, "operator-1", clock)
        for pause in (400, 100, 100, 0):
            await recorder.record(POOL, "Warning", "Refused", "Reconcile", "no")
            clock.now += pause
    assert [asked.method for asked in api.asked] == ["POST", "POST", "PATCH", "POST"]


async def test_an_event_that_cannot_be_written_is_logged_and_that_is_all(caplog: pytest.LogCaptureFixture) -> None:
    forbidden = (403, {"kind": "Status", "message": 'cannot create resource "events"'})
    async with running(forbidden) as (api, cluster):
        with caplog.at_level(logging.WARNING):
            await Recorder(cluster, "operator-1").record(POOL, "Normal", "Ready", "Reconcile", "it serves")
    assert 'cannot create resource "events"' in caplog.text
    assert api.counted == [("Event", "create", "forbidden")]
