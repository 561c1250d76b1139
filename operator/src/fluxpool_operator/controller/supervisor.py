"""Crash-only: the parts of the process run as long as it does, and the first that ends takes all others with it."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fluxpool_operator.errors import SettingsError, StoppedError

STOP_SECONDS = 5.0


def run_process(main: Coroutine[Any, Any, None], say: Callable[[StoppedError], None]) -> None:
    """Run `main` to its end. If a part of it has stopped, say so and end the process at once, with status 1.

    Nothing is cleaned up then. `asyncio.run` would cancel what is left and wait until it is done, and watchers of kopf
    whose parent has failed never are: they are cancelled at the same moment as the task that tells them of a pause,
    take it for a pause, and start anew.
    """

    async def watched() -> None:
        try:
            await main
        except StoppedError as error:
            say(error)
            os._exit(1)

    asyncio.run(watched())


def listen_to_signals(stop: asyncio.Event) -> None:
    """Set `stop` on SIGTERM and SIGINT, from now on."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def run_until(stop: asyncio.Event, main: Coroutine[Any, Any, None]) -> None:
    """Run `main` to its end, or cancel it when `stop` is set."""
    running, stopping = asyncio.create_task(main, name="main"), asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        await _cancel(running, stopping)


async def supervise(parts: Mapping[str, Coroutine[Any, Any, None]]) -> None:
    """Run all parts until cancelled.

    Raises:
        StoppedError: a part has ended by itself.
    """
    tasks = [asyncio.create_task(part, name=name) for name, part in parts.items()]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        raise _death_of(next(task for task in tasks if task in done))
    finally:
        await _cancel(*tasks)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=STOP_SECONDS)


def _death_of(task: asyncio.Task[None]) -> Exception:
    error = None if task.cancelled() else task.exception()
    if isinstance(error, StoppedError | SettingsError):
        return error
    death = StoppedError(f"{task.get_name()}: {error!r}" if error else f"{task.get_name()} has ended without an error")
    death.__cause__ = error
    return death
