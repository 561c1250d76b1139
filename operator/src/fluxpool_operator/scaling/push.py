"""Tells ready pods the batch size they should run with, on their admin port.

Level-triggered: what a pod runs with is read from its own metric, and a pod that differs is told again; so one that
restarted or could not be reached is put right at the next call. Between a push and the scrape that shows it, the push
itself is believed. Calls are bounded in number and time, and a pod that refuses is left alone for longer each time.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import httpx

from fluxpool_operator import contract
from fluxpool_operator.scaling.queries import PoolId
from fluxpool_operator.world import PodView

log = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 2.0
"""For one pod: its admin port answers from memory, so what takes longer is lost."""
CONCURRENCY: Final = 32
"""Calls at the same time, over all pools."""
BELIEVED_SECONDS: Final = 60.0
"""How long a push that was accepted counts more than a metric that says otherwise: two scrapes at 30 s."""
BACKOFF_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""How long a pod is left alone after its first, second, … failure in a row."""

PushResult = Literal["ok", "failed"]
_Run = tuple[str, float]
"""One run of a pod's container: UID and start. A new run knows nothing of what the last one was told."""


@dataclass(slots=True)
class _Told:
    """What one run of a pod was told, and how that went.

    Attributes:
        size: the last size it accepted.
        believed_until: until when that counts more than what it reports.
        failures: in a row.
        left_alone_until: when it may be told again.
    """

    size: int | None = None
    believed_until: float = 0.0
    failures: int = 0
    left_alone_until: float = 0.0


class BatchPusher:
    """See the module.

    Args:
        reported: the batch size that each pod of a pool runs with by its own fresh metric, by UID
            (`Autoscaler.batch_sizes`); pods it knows nothing of are absent.
        on_result: called with "ok" or "failed" after each call to a pod.
        transport: in place of the network, for tests.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        reported: Callable[[PoolId], Mapping[str, int]],
        *,
        on_result: Callable[[PushResult], None] = lambda _result: None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reported = reported
        self._on_result = on_result
        self._clock = clock
        self._client = httpx.AsyncClient(transport=transport, timeout=TIMEOUT_SECONDS, trust_env=False)
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._told: dict[PoolId, dict[_Run, _Told]] = {}

    async def converge(self, key: PoolId, desired: int, pods: Iterable[PodView], token: str) -> Mapping[str, int]:
        """Push `desired` to every ready pod that is not known to run with it.

        Args:
            key: namespace and name of the pool.
            desired: rows per step.
            pods: the pool's pods.
            token: of the pool's admin Secret.

        Returns:
            What each ready pod is known to run with after that, by UID; one that neither took the size nor reports one
            is absent. Failures are logged, and tried again by a later call; none is raised.
        """
        ready = [pod for pod in pods if pod.ready and not pod.terminating and pod.ip]
        before, reported = self._told.get(key, {}), self._reported(key)
        told = self._told[key] = {_run(pod): before.get(_run(pod), _Told()) for pod in ready}

        def known(pod: PodView) -> int | None:
            record = told[_run(pod)]
            return record.size if self._clock() < record.believed_until else reported.get(pod.uid)

        due = [pod for pod in ready if known(pod) != desired and self._clock() >= told[_run(pod)].left_alone_until]
        await asyncio.gather(*(self._tell(pod, desired, token, told[_run(pod)]) for pod in due))
        return {pod.uid: size for pod in ready if (size := known(pod)) is not None}

    def forget(self, key: PoolId) -> None:
        """The pool is gone."""
        self._told.pop(key, None)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _tell(self, pod: PodView, size: int, token: str, record: _Told) -> None:
        async with self._slots:
            failure = await self._put(pod, size, token)
        now = self._clock()
        if failure is None:
            record.size, record.believed_until = size, now + BELIEVED_SECONDS
            record.failures, record.left_alone_until = 0, 0.0
            self._on_result("ok")
            return
        record.left_alone_until = now + BACKOFF_SECONDS[min(record.failures, len(BACKOFF_SECONDS) - 1)]
        record.failures += 1
        log.log(logging.WARNING if record.failures == 1 else logging.DEBUG, "pod %s: %s", pod.name, failure)
        self._on_result("failed")

    async def _put(self, pod: PodView, size: int, token: str) -> str | None:
        """Call the pod. Returns what went wrong, in words; None if it runs with that size now."""
        host = f"[{pod.ip}]" if ":" in (pod.ip or "") else pod.ip
        url = f"http://{host}:{contract.ADMIN_PORT}{contract.PATH_ADMIN_BATCH_SIZE}"
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                response = await self._client.put(
                    url, json={"batch_size": size}, headers={"Authorization": f"Bearer {token}"}
                )
        except (TimeoutError, httpx.HTTPError) as error:
            return f"batch size {size} could not be pushed: {str(error) or type(error).__name__}"
        if response.status_code == httpx.codes.OK and _field(response, "batch_size") == size:
            return None
        problem = _field(response, "error")
        detail = problem.get("message") if isinstance(problem, dict) else response.text[:200]
        return f"batch size {size} was not taken: {response.status_code} {detail}"


def _run(pod: PodView) -> _Run:
    return pod.uid, pod.started_at.timestamp() if pod.started_at else 0.0


def _field(response: httpx.Response, name: str) -> object:
    try:
        body = response.json()
    except ValueError:
        return None
    return body.get(name) if isinstance(body, dict) else None
