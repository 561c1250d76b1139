"""Waits for what must come, and says what was there instead."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")
POLL_SECONDS = 0.2


async def until(holds: Callable[[], object], what: str, seconds: float, state: Callable[[], object] = str) -> None:
    """Return when `holds` does.

    Raises:
        AssertionError: it did not in time; says what `state` is.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not after {seconds:g} s; {state()}"
        await asyncio.sleep(POLL_SECONDS)


async def answer(
    ask: Callable[[], Awaitable[Result]], right: Callable[[Result], object], what: str, seconds: float
) -> Result:
    """The first answer that is `right`.

    Raises:
        AssertionError: there was none in time; says what the last one was.
    """
    deadline = time.monotonic() + seconds
    while True:
        result = await ask()
        if right(result):
            return result
        assert time.monotonic() < deadline, f"{what}: not after {seconds:g} s; the last answer was {result!r}"
        await asyncio.sleep(POLL_SECONDS)
