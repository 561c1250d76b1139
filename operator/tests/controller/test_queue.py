"""The work queue, in virtual time."""

import asyncio
from collections import Counter

from controller.virtual_time import now, run

from fluxpool_operator.controller.queue import Backoff, WorkQueue


def make_queue(first: float = 1.0, longest: float = 60.0, chance: float = 1.0) -> WorkQueue[str]:
    return WorkQueue(Backoff(first, longest), chance=lambda: chance)


async def take(queue: WorkQueue[str]) -> str:
    key, _ = await queue.get()
    return key


def test_a_key_added_often_is_queued_once() -> None:
    async def main() -> None:
        queue = make_queue()
        for _ in range(5):
            queue.add("a")
        assert len(queue) == 1
        assert await take(queue) == "a"
        assert len(queue) == 0

    run(main())


def test_a_key_added_in_flight_is_queued_again_when_it_is_done_and_not_before() -> None:
    async def main() -> None:
        queue = make_queue()
        queue.add("a")
        await take(queue)
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0
        queue.done("a")
        assert len(queue) == 1
        await take(queue)
        queue.done("a")
        assert len(queue) == 0

    run(main())


def test_no_key_is_ever_with_two_workers() -> None:
    async def main() -> None:
        queue, in_flight, most = make_queue(), Counter[str](), Counter[str]()

        async def worker() -> None:
            while True:
                key = await take(queue)
                in_flight[key] += 1
                most[key] = max(most[key], in_flight[key])
                await asyncio.sleep(0.3)
                in_flight[key] -= 1
                queue.done(key)

        workers = [asyncio.create_task(worker()) for _ in range(8)]
        for step in range(200):
            queue.add(f"pool-{step % 3}")
            await asyncio.sleep(0.05)
        for task in workers:
            task.cancel()
        assert set(most.values()) == {1}
        assert set(most) == {"pool-0", "pool-1", "pool-2"}

    run(main())


def test_a_busy_key_does_not_starve_hundreds_of_others() -> None:
    async def main() -> None:
        queue, served = make_queue(), []
        for number in range(300):
            queue.add(f"pool-{number}")
        for _ in range(301):
            queue.add("pool-0")  # an event for it arrives all the time
            key = await take(queue)
            served.append(key)
            queue.done(key)
        assert served[:300] == [f"pool-{number}" for number in range(300)]
        assert served[300] == "pool-0"

    run(main())


def test_backoff_doubles_up_to_its_limit_and_starts_anew_after_a_success() -> None:
    async def main() -> None:
        queue, waits = make_queue(first=1, longest=10), []
        queue.add("a")
        for _ in range(6):
            await take(queue)
            failed_at = now()
            queue.retry("a")
            queue.done("a")
            waits.append(await waited_since(queue, failed_at))
            queue.add("a")
        assert waits == [1, 2, 4, 8, 10, 10]
        queue.succeeded("a")
        assert queue.retry("a") == 1

    async def waited_since(queue: WorkQueue[str], start: float) -> float:
        key = await take(queue)
        queue.done(key)
        return now() - start

    run(main())


def test_jitter_spreads_retries_over_the_upper_half() -> None:
    backoff = Backoff(first_seconds=8, longest_seconds=60)
    assert backoff.seconds(0, chance=0.0) == 4
    assert backoff.seconds(0, chance=0.5) == 6
    assert backoff.seconds(0, chance=1.0) == 8
    assert backoff.seconds(10_000, chance=1.0) == 60


def test_a_retry_waits_at_least_as_long_as_the_server_asked() -> None:
    async def main() -> None:
        queue = make_queue(first=1)
        queue.add("a")
        await take(queue)
        assert queue.retry("a", at_least_seconds=30) == 30
        queue.done("a")
        await take(queue)
        assert now() == 30

    run(main())


def test_an_event_does_not_wait_for_the_backoff() -> None:
    async def main() -> None:
        queue = make_queue(first=50)
        queue.add("a")
        await take(queue)
        queue.retry("a")
        queue.done("a")
        queue.add("a")
        await take(queue)
        assert now() == 0

    run(main())


def test_the_earliest_of_several_timers_counts_and_there_is_only_one() -> None:
    async def main() -> None:
        queue = make_queue()
        queue.add_after("a", 30)
        queue.add_after("a", 10)
        queue.add_after("a", 20)
        await take(queue)
        assert now() == 10
        queue.done("a")
        await asyncio.sleep(60)
        assert len(queue) == 0

    run(main())


def test_a_timer_is_void_once_a_worker_has_taken_the_key() -> None:
    async def main() -> None:
        queue = make_queue()
        queue.add_after("a", 10)
        queue.add("a")
        await take(queue)
        queue.done("a")
        await asyncio.sleep(20)
        assert len(queue) == 0

    run(main())


def test_a_forgotten_key_does_not_come_back_by_itself() -> None:
    async def main() -> None:
        queue = make_queue(first=1)
        queue.retry("a")
        queue.retry("a")
        queue.forget("a")
        await asyncio.sleep(100)
        assert len(queue) == 0
        assert queue.retry("a") == 1, "its backoff starts anew as well"

    run(main())


def test_time_in_queue_and_in_flight_is_measured() -> None:
    async def main() -> None:
        queue = make_queue()
        queue.add("a")
        await asyncio.sleep(3)
        assert await queue.get() == ("a", 3)
        await asyncio.sleep(5)
        assert queue.longest_flight_seconds() == 5
        queue.done("a")
        assert queue.longest_flight_seconds() == 0

    run(main())


def test_a_worker_cancelled_while_it_waits_takes_no_key_with_it() -> None:
    async def main() -> None:
        queue = make_queue()
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert len(queue) == 1
        assert await take(queue) == "a"

    run(main())
