"""Batch sizes pushed to admin ports that are played by a function."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest
from scaling.stage import START, pod

from fluxpool_operator.scaling import BatchPusher
from fluxpool_operator.scaling.push import BACKOFF_SECONDS, BELIEVED_SECONDS, CONCURRENCY

KEY = ("default", "demo")


@dataclass
class Ports:
    """Admin ports, what is asked of them, what they answer, and what Prometheus shows of them."""

    answer: httpx.Response | Exception | None = None
    reported: dict[str, int] = field(default_factory=dict)
    asked: list[httpx.Request] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.pusher = BatchPusher(
            lambda _key: self.reported,
            on_result=self.results.append,
            transport=httpx.MockTransport(self.handle),
            clock=lambda: self.seconds,
        )

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or httpx.Response(200, json=json.loads(request.content))

    def converge(self, *pods: Any, desired: int = 4) -> Mapping[str, int]:
        return asyncio.run(self.pusher.converge(KEY, desired, pods, "s3cret"))


def test_a_pod_whose_batch_size_is_unknown_is_told_with_the_token() -> None:
    ports = Ports()
    assert ports.converge(pod("a", ip="10.0.0.7")) == {"uid-a": 4}
    (request,) = ports.asked
    assert (request.method, str(request.url)) == ("PUT", "http://10.0.0.7:8001/admin/batch-size")
    assert request.headers["Authorization"] == "Bearer s3cret"
    assert json.loads(request.content) == {"batch_size": 4}
    assert ports.results == ["ok"]


def test_addresses_of_version_six_are_bracketed() -> None:
    ports = Ports()
    ports.converge(pod("a", ip="fd00::7"))
    assert str(ports.asked[0].url) == "http://[fd00::7]:8001/admin/batch-size"


def test_a_pod_that_runs_with_it_is_left_alone() -> None:
    ports = Ports(reported={"uid-a": 4, "uid-gone": 2})
    assert ports.converge(pod("a")) == {"uid-a": 4}
    assert ports.asked == []


def test_only_pods_that_differ_are_told() -> None:
    ports = Ports(reported={"uid-a": 4, "uid-b": 8})
    assert ports.converge(pod("a", ip="10.0.0.1"), pod("b", ip="10.0.0.2")) == {"uid-a": 4, "uid-b": 4}
    assert [request.url.host for request in ports.asked] == ["10.0.0.2"]


@pytest.mark.parametrize("changes", [{"ready": False}, {"terminating": True}, {"ip": None}])
def test_pods_that_cannot_listen_are_not_told(changes: dict[str, Any]) -> None:
    ports = Ports()
    assert ports.converge(pod("a", **changes)) == {}
    assert ports.asked == []


def test_a_push_is_believed_until_the_metric_must_have_followed() -> None:
    ports = Ports(reported={"uid-a": 8})
    ports.converge(pod("a"))
    for _ in range(5):
        ports.seconds += BELIEVED_SECONDS / 6
        assert ports.converge(pod("a")) == {"uid-a": 4}
    assert len(ports.asked) == 1
    ports.seconds += BELIEVED_SECONDS
    ports.converge(pod("a"))  # it still reports 8: somebody else has set it
    assert len(ports.asked) == 2


def test_another_number_is_pushed_at_once() -> None:
    ports = Ports()
    ports.converge(pod("a"), desired=4)
    assert ports.converge(pod("a"), desired=8) == {"uid-a": 8}
    assert len(ports.asked) == 2


def test_a_container_that_restarted_is_told_again_at_once() -> None:
    ports = Ports()
    one = pod("a")
    ports.converge(one)
    ports.converge(replace(one, started_at=START + timedelta(seconds=5), restarts=1))
    ports.converge(replace(one, started_at=None))
    assert len(ports.asked) == 3


REFUSED = httpx.Response(400, json={"error": {"message": "batch_size must lie between 1 and 2", "type": "x"}})
FAILURES = [
    (httpx.ConnectError("connection refused"), "batch size 4 could not be pushed: connection refused"),
    (httpx.ReadTimeout(""), "batch size 4 could not be pushed: ReadTimeout"),
    (REFUSED, "batch size 4 was not taken: 400 batch_size must lie between 1 and 2"),
    (httpx.Response(401, text="no"), "batch size 4 was not taken: 401 no"),
    (httpx.Response(200, json={"batch_size": 2}), 'batch size 4 was not taken: 200 {"batch_size":2}'),
    (httpx.Response(200, json=[4]), "batch size 4 was not taken: 200 [4]"),
    (httpx.Response(302, headers={"Location": "http://evil.test"}), "batch size 4 was not taken: 302 "),
]


@pytest.mark.parametrize(("answer", "said"), FAILURES)
def test_a_pod_that_cannot_be_told_is_logged_and_counted_and_raises_nothing(
    answer: httpx.Response | Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    ports = Ports(answer=answer, reported={"uid-a": 8})
    assert ports.converge(pod("a")) == {"uid-a": 8}
    assert ports.results == ["failed"]
    assert [record.getMessage() for record in caplog.records] == [f"pod a: {said}"]


def test_a_pod_that_fails_is_left_alone_for_longer_each_time() -> None:
    ports = Ports(answer=httpx.ConnectError("refused"))
    attempts = []
    for second in range(300):
        ports.seconds = float(second)
        before = len(ports.asked)
        ports.converge(pod("a"))
        if len(ports.asked) > before:
            attempts.append(second)
    gaps = [later - earlier for earlier, later in pairwise(attempts)]
    assert gaps == [*BACKOFF_SECONDS, 60, 60]


def test_a_success_ends_the_backoff() -> None:
    ports = Ports(answer=httpx.ConnectError("refused"))
    ports.converge(pod("a"))
    ports.answer, ports.seconds = None, 1.0
    assert ports.converge(pod("a")) == {"uid-a": 4}
    ports.answer = httpx.ConnectError("refused")
    ports.converge(pod("a"), desired=8)
    ports.answer, ports.seconds = None, 2.0  # the first step of the backoff again
    assert ports.converge(pod("a"), desired=8) == {"uid-a": 8}


def test_one_failing_pod_does_not_keep_the_others_from_being_told() -> None:
    ports = Ports()

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.host == "10.0.0.2":
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={"batch_size": 4})

    ports.pusher = BatchPusher(lambda _key: {}, transport=httpx.MockTransport(handle))
    pods = [pod(name, ip=f"10.0.0.{number}") for number, name in enumerate("abc", start=1)]
    assert ports.converge(*pods) == {"uid-a": 4, "uid-c": 4}


async def test_no_more_than_a_bounded_number_of_pods_is_called_at_once() -> None:
    running, most = 0, 0

    async def handle(request: httpx.Request) -> httpx.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return httpx.Response(200, json={"batch_size": 4})

    pusher = BatchPusher(lambda _key: {}, transport=httpx.MockTransport(handle))
    pods = [pod(str(number)) for number in range(3 * CONCURRENCY)]
    assert len(await pusher.converge(KEY, 4, pods, "t")) == 3 * CONCURRENCY
    assert 1 < most <= CONCURRENCY
    await pusher.aclose()


async def test_a_pod_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxpool_operator.scaling.push.TIMEOUT_SECONDS", 0.01)

    async def never(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    pusher = BatchPusher(lambda _key: {}, transport=httpx.MockTransport(never))
    assert await pusher.converge(KEY, 4, [pod("a")], "t") == {}


def test_a_forgotten_pool_is_told_anew() -> None:
    ports = Ports()
    ports.converge(pod("a"))
    ports.pusher.forget(KEY)
    ports.pusher.forget(KEY)
    ports.converge(pod("a"))
    assert len(ports.asked) == 2
