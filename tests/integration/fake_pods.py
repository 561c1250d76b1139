"""Answers for every fake pod, as an inference server would: `/metrics` on 8000, the admin port on 8001.

All addresses of fake pods are local in the lab's namespace, so two listeners are enough; which pod is meant is the
address that was called. How much a pool has to do is the test's to say: its ready pods share that evenly.
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from aiohttp import web

from fluxpool_demo.kube import Kube, Object, Ref, connect
from fluxpool_operator import contract
from integration.api import wait_for
from integration.background import follow

PoolId = tuple[str, str]

START_BATCH_SIZE = 2
"""What a server starts with until it is told otherwise."""
LARGEST_BATCH_SIZE = 64
STEP_FIXED_SECONDS, STEP_PER_ROW_SECONDS = 0.01, 0.09
"""Nearly all of a step is spent on rows: with b of them a request takes 0.1 + 0.9 b times as long as alone."""
MEAN_WORK_SECONDS = 2.0
FOUND_SECONDS = 60
"""Prometheus looks for new pods at most every five seconds, twice over, and on a busy machine is late with both."""


@dataclass(slots=True)
class Load:
    """What one pool has to do, and what is wrong with its pods' metrics.

    Attributes:
        requests: admitted and not answered, over all pods.
        busy: GPU utilization of every pod, 0 to 1.
        waiting_is_nan: the pods give NaN for the requests that wait.
    """

    requests: int = 0
    busy: float = 0.0
    waiting_is_nan: bool = False


@dataclass(slots=True)
class FakePod:
    """One pod as the API server has it, and what its server would remember."""

    uid: str
    name: str
    pool: PoolId
    started_at: float
    batch_size: int = START_BATCH_SIZE
    told: list[int] = field(default_factory=list)
    images: float = 0.0
    scrapes: int = 0
    scraped_at: float = field(default_factory=time.monotonic)


class FakePods:
    """See the module. Tests write to `load(…)` and read `told(…)` and `refused(…)`."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._by_address: dict[str, FakePod] = {}
        self._loads: dict[PoolId, Load] = {}
        self._refused: dict[PoolId, list[str]] = {}

    def load(self, namespace: str, pool: str) -> Load:
        """What that pool has to do."""
        return self._loads.setdefault((namespace, pool), Load())

    def told(self, namespace: str, pool: str) -> Mapping[str, list[int]]:
        """Every batch size that each pod was told, by the pod's name."""
        return {pod.name: list(pod.told) for pod in self._of(namespace, pool)}

    def refused(self, namespace: str, pool: str) -> list[str]:
        """What was said to calls that a pod of the pool did not take."""
        return self._refused.get((namespace, pool), [])

    def running(self, namespace: str, pool: str) -> list[int]:
        """The batch size that each pod runs with."""
        return [pod.batch_size for pod in self._of(namespace, pool)]

    def wait_until_scraped(self, namespace: str, pool: str, replicas: int = 1) -> None:
        """Return when so many pods of the pool have been scraped more than once: then the operator knows them."""

        def scrapes() -> dict[str, int]:
            return {pod.name: pod.scrapes for pod in self._of(namespace, pool)}

        def scraped() -> bool:
            return sum(times > 1 for times in scrapes().values()) == replicas

        try:
            wait_for(f"scrapes of {replicas} pods of {namespace}/{pool}", scraped, FOUND_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}; scrapes: {scrapes()}") from None

    def _of(self, namespace: str, pool: str) -> list[FakePod]:
        return [pod for pod in list(self._by_address.values()) if pod.pool == (namespace, pool)]

    # ---- which pods there are ---------------------------------------------------------------------------------------

    def hear(self, verb: str, pod: Object) -> None:
        """Take in an event on a pod."""
        pool = pod["metadata"].get("labels", {}).get(contract.LABEL_POOL)
        status = pod["status"]
        address, known = status.get("podIP"), self._by_address.get(status.get("podIP", ""))
        started = [each["state"].get("running") for each in status.get("containerStatuses", ())]
        if verb == "DELETED" and known is not None and known.uid == pod["metadata"]["uid"]:
            del self._by_address[str(address)]
        elif verb != "DELETED" and pool and address and any(started) and "deletionTimestamp" not in pod["metadata"]:
            self._meet(str(address), pod, str(pool), datetime.fromisoformat(started[0]["startedAt"]).timestamp())

    def _meet(self, address: str, pod: Object, pool: str, started_at: float) -> None:
        metadata, known = pod["metadata"], self._by_address.get(address)
        if known is None or known.uid != metadata["uid"]:
            pool_id = (metadata["namespace"], pool)
            self._by_address[address] = FakePod(metadata["uid"], metadata["name"], pool_id, started_at)

    # ---- what they answer -------------------------------------------------------------------------------------------

    async def metrics(self, request: web.Request) -> web.Response:
        """`GET /metrics` of whichever pod was called."""
        pod = self._called(request)
        pod.scrapes += 1
        return web.Response(text=self._exposition(pod), content_type="text/plain")

    async def put_batch_size(self, request: web.Request) -> web.Response:
        """`PUT /admin/batch-size` of whichever pod was called."""
        pod = self._called(request)
        if request.headers.get("Authorization") != f"Bearer {await self._token(pod.pool)}":
            return self._refuse(pod, "the token is not accepted", 401)
        size = (await request.json())["batch_size"]
        if not 1 <= size <= LARGEST_BATCH_SIZE:
            return self._refuse(pod, f"batch_size {size} is not 1 to {LARGEST_BATCH_SIZE}", 400)
        pod.batch_size = size
        pod.told.append(size)
        return web.json_response({"batch_size": size})

    def _refuse(self, pod: FakePod, message: str, status: int) -> web.Response:
        self._refused.setdefault(pod.pool, []).append(message)
        return web.json_response({"error": {"message": message}}, status=status)

    def _called(self, request: web.Request) -> FakePod:
        address = request.transport.get_extra_info("sockname")[0] if request.transport else ""
        pod = self._by_address.get(address)
        if pod is None:
            raise web.HTTPServiceUnavailable(text=f"no pod has the address {address}")
        return pod

    async def _token(self, pool: PoolId) -> str:
        namespace, name = pool
        secret = await self._kube.get(Ref("Secret", namespace, f"{name}{contract.ADMIN_SECRET_SUFFIX}"))
        data = (secret or {}).get("data") or {}
        return base64.b64decode(data.get(contract.ADMIN_SECRET_KEY, "")).decode()

    def _exposition(self, pod: FakePod) -> str:
        load, depth = self.load(*pod.pool), self._share(pod)
        running = min(depth, pod.batch_size)
        now = time.monotonic()
        pod.images, pod.scraped_at = pod.images + running * (now - pod.scraped_at), now
        own = {
            contract.METRIC_LABEL_NAMESPACE: pod.pool[0],
            contract.METRIC_LABEL_POOL: pod.pool[1],
            contract.METRIC_LABEL_POD_UID: pod.uid,
        }
        busy = {**own, "source": "engine_busy"}
        return "".join(
            _line(name, labels, value)
            for name, labels, value in (
                (contract.METRIC_READY, own, 1),
                (contract.METRIC_PROCESS_START_TIME, own, pod.started_at),
                (contract.METRIC_REQUESTS_WAITING, own, float("nan") if load.waiting_is_nan else depth - running),
                (contract.METRIC_REQUESTS_RUNNING, own, running),
                (contract.METRIC_GPU_UTILIZATION, busy, load.busy),
                (contract.METRIC_BATCH_SIZE_LIMIT, own, pod.batch_size),
                (contract.METRIC_STEP_FIXED, own, STEP_FIXED_SECONDS),
                (contract.METRIC_STEP_PER_ROW, own, STEP_PER_ROW_SECONDS),
                (contract.METRIC_ADMITTED_IMAGES, own, pod.images),
                (contract.METRIC_ADMITTED_WORK, own, pod.images * MEAN_WORK_SECONDS),
            )
        )

    def _share(self, pod: FakePod) -> int:
        """This pod's part of the requests; what is left over goes to the first ones."""
        peers = sorted(peer.uid for peer in self._of(*pod.pool))
        each, left = divmod(self.load(*pod.pool).requests, len(peers))
        return each + (peers.index(pod.uid) < left)


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value}\n"


@asynccontextmanager
async def fake_pods() -> AsyncIterator[FakePods]:
    """Answer for all fake pods of the cluster."""
    async with connect() as kube:
        pods = FakePods(kube)
        following = asyncio.create_task(follow("Pod", None, pods.hear))
        runners = [
            await _listen(contract.HTTP_PORT, web.get(contract.PATH_METRICS, pods.metrics)),
            await _listen(contract.ADMIN_PORT, web.put(contract.PATH_ADMIN_BATCH_SIZE, pods.put_batch_size)),
        ]
        try:
            yield pods
        finally:
            following.cancel()
            for runner in runners:
                await runner.cleanup()


async def _listen(port: int, *routes: web.RouteDef) -> web.AppRunner:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port).start()
    return runner
