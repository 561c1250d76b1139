"""Waiting for what another task, thread or process will do; pytest's timeout bounds it."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.005)


async def until_async(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return as soon as the condition holds."""
    while True:
        if await condition():
            return
        await asyncio.sleep(0.005)
