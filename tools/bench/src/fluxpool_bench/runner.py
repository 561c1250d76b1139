"""Asks many times: in a closed loop of so many clients, or in an open loop at given times."""

import asyncio
import time
from collections.abc import Callable, Sequence

from fluxpool_bench.client import Record, Target
from fluxpool_bench.workload import Request

OnRecord = Callable[[Record], None]


async def closed_loop(
    target: Target, requests: Sequence[Request], concurrency: int, on_record: OnRecord
) -> list[Record]:
    """`concurrency` clients, each of which asks again as soon as it has its answer, until `requests` are used up."""
    start = time.perf_counter()
    left = iter(requests)
    records: list[Record] = []

    async def one_client() -> None:
        for request in left:  # one iterator, shared: each request is taken once
            record = await target.ask(request, start)
            records.append(record)
            on_record(record)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(one_client())
    return records


async def open_loop(
    target: Target, requests: Sequence[Request], arrivals: Sequence[float], on_record: OnRecord
) -> list[Record]:
    """Send each request when it is due, however many are still unanswered."""
    start = time.perf_counter()
    records: list[Record] = []

    async def one(request: Request, due: float) -> None:
        record = await target.ask(request, start, due)
        records.append(record)
        on_record(record)

    async with asyncio.TaskGroup() as group:
        for request, due in zip(requests, arrivals, strict=True):
            await asyncio.sleep(start + due - time.perf_counter())
            group.create_task(one(request, due))
    return records
