"""Thousands of requests, one after another and at once: what a server holds in the end is what it held early on."""

import asyncio
import contextlib
import ctypes
import gc
import os
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from bench import TEXT_TOKENS
from prometheus_client.parser import text_string_to_metric_families
from waiting import until

from fluxpool_inference.core import build_core
from fluxpool_inference.edge import build_edge
from fluxpool_inference.engine import Engine
from fluxpool_inference.settings import ServeSettings

CLIENTS = 16
EARLY = 400
"""So many requests have been made when it is first looked at what is held."""
SLACK = 8
"""Connections may be about to close. One in twenty of the requests hangs up, so what each of those left would be 80."""


@dataclass(frozen=True)
class Growth:
    """Most bytes that may be held in the end beyond what was early on. Allocators keep some of what is given back."""

    server: int
    worker: int


OF_TWO_THOUSAND = Growth(server=3 * 2**20, worker=3 * 2**20)
"""2.0 KB for each of 1,600 requests, where at most 0.9 (server) and 1.3 (worker) were seen. What each request leaves is
seen from about 1.5 KB on, as with its image: 1.8 KB of pixels on average, or a page of 4 KB where they are mapped. What
every tenth leaves is not seen: that is for the soak."""
OF_TWENTY_THOUSAND = Growth(server=2**23, worker=2**24)
"""0.4 and 0.9 KB for each of 19,600 requests."""


def open_files(process: Path) -> Iterator[str]:
    """Names of files, and kinds of what has none, such as sockets."""
    for entry in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            yield str(entry.readlink()).partition(":[")[0]


def own_bytes(process: Path) -> int:
    """In memory, shared memory included, but not what libraries have mapped of their files."""
    sizes = re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB$", (process / "status").read_text(), re.MULTILINE)
    return sum(int(size) for size in sizes) * 1024


@dataclass(frozen=True)
class Held:
    """What the HTTP process, which is this one, and its worker hold."""

    tasks: int
    files: Counter[str]
    threads: int
    server_bytes: int
    worker_bytes: int

    @classmethod
    def now(cls, worker: int) -> "Held":
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        processes = [Path(f"/proc/{pid}") for pid in (os.getpid(), worker)]
        return cls(
            tasks=len(asyncio.all_tasks()),
            files=Counter(name for process in processes for name in open_files(process)),
            threads=sum(len(list((process / "task").iterdir())) for process in processes),
            server_bytes=own_bytes(processes[0]),
            worker_bytes=own_bytes(processes[1]),
        )


@asynccontextmanager
async def serving(model: Path) -> AsyncIterator[tuple[Engine, str]]:
    """The whole server, with a real worker, its HTTP side on this event loop."""
    settings = ServeSettings(
        model=str(model),
        device="cpu",
        dtype="float32",
        torch_threads=1,
        batch_size=1,
        default_size="32x32",
        min_side=16,
        max_pixels=32 * 32,
        max_sequence_length=TEXT_TOKENS,
        prompt_cache_bytes=100_000,
    )
    core = build_core(settings)
    edge = build_edge(settings, core)
    address = edge.servers.listen(edge.api, "127.0.0.1", 0)
    edge.servers.start()
    try:
        await core.engine.start()
        yield core.engine, f"http://{address}"
    finally:
        await edge.servers.abort()
        edge.encoder.close()
        await core.engine.stop()


class Crowd:
    """Clients who ask for one image after another; some ask for nonsense, and some hang up."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._chance = random.Random(1)
        self.outcomes: Counter[int | str] = Counter()

    async def ask(self, requests: int) -> None:
        left = iter(range(requests))
        no_idle = httpx.Limits(max_keepalive_connections=0)
        # Closed before anyone looks what is held: whoever hangs up while connecting leaves httpx with a connection.
        async with httpx.AsyncClient(base_url=self._url, timeout=120, limits=no_idle) as http:
            await asyncio.gather(*(self._client(http, left) for _ in range(CLIENTS)))

    async def _client(self, http: httpx.AsyncClient, left: Iterator[int]) -> None:
        for _ in left:
            self.outcomes[await self._one(http)] += 1

    async def _one(self, http: httpx.AsyncClient) -> int | str:
        chance = self._chance
        body = {
            "prompt": f"a tree of {chance.randrange(1000)} leaves",
            "size": chance.choice(["16x16", "32x16", "32x32"]),
            "num_inference_steps": 0 if chance.random() < 0.05 else chance.randint(1, 2),
            "output_format": chance.choice(["png", "png", "jpeg", "webp"]),
        }
        try:
            async with asyncio.timeout(chance.uniform(0.0, 0.05) if chance.random() < 0.05 else None):
                return (await http.post("/v1/images/generations", json=body)).status_code
        except TimeoutError:
            return "hung up"


async def batch_sizes(engine: Engine, changes: list[int]) -> None:
    """Another one every 50 ms."""
    chance = random.Random(2)
    while True:
        changes.append(await engine.set_batch_size(chance.randint(1, 8)))
        await asyncio.sleep(0.05)


def assert_everything_adds_up(metrics: str) -> None:
    """All that was admitted has ended in one way, and nothing is in flight."""
    totals: Counter[str] = Counter()
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            totals[sample.name] += sample.value
    assert totals["fluxpool_admitted_images_total"] == totals["fluxpool_request_duration_seconds_count"] > 0
    for gauge in ("requests_waiting", "requests_running", "queued_work_seconds", "running_work_seconds"):
        assert totals[f"fluxpool_{gauge}"] == 0


def rows_of_steps(metrics: str) -> set[int]:
    """How many rows steps had."""
    samples = (sample for family in text_string_to_metric_families(metrics) for sample in family.samples)
    steps = (sample for sample in samples if sample.name == "fluxpool_step_duration_seconds_count" and sample.value)
    return {int(sample.labels["rows"]) for sample in steps}


async def many(model: Path, requests: int, growth: Growth) -> None:
    async with serving(model) as (engine, url), httpx.AsyncClient(base_url=url) as http:
        (worker,) = engine.status().workers
        assert worker.pid is not None
        crowd = Crowd(url)
        changes: list[int] = []
        changing = asyncio.create_task(batch_sizes(engine, changes))
        await crowd.ask(EARLY)
        await until(lambda: engine.status().running + engine.status().waiting == 0)
        early = Held.now(worker.pid)
        await crowd.ask(requests - EARLY)
        await asyncio.sleep(1)  # for connections that are being closed
        late = Held.now(worker.pid)
        assert late.tasks < early.tasks + SLACK
        assert late.threads < early.threads + SLACK
        assert (late.files - early.files).total() < SLACK, (late, early)
        assert late.server_bytes - early.server_bytes < growth.server
        assert late.worker_bytes - early.worker_bytes < growth.worker
        assert changing.cancel(), "it changed the batch size to the end"
        await asyncio.gather(changing, return_exceptions=True)
        assert set(changes) == set(range(1, 9))
        assert len(changes) > requests / 20
        assert crowd.outcomes.keys() == {200, 400, "hung up"}
        assert crowd.outcomes[200] > 0.8 * requests
        await until(lambda: engine.status().running + engine.status().waiting == 0)
        metrics = (await http.get("/metrics")).text
        assert_everything_adds_up(metrics)
        assert rows_of_steps(metrics) > {1, 2, 3}, "it began with 1: the others are of changes that the worker heard of"
        assert [each.pid for each in engine.status().workers] == [worker.pid], "it has not died"


async def test_two_thousand_requests_leave_nothing_behind(schnell_model: Path) -> None:
    await many(schnell_model, 2000, OF_TWO_THOUSAND)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_twenty_thousand_requests_leave_nothing_behind(schnell_model: Path) -> None:
    await many(schnell_model, 20_000, OF_TWENTY_THOUSAND)
