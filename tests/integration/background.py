"""An event loop in a thread of its own: whatever must answer while a test waits lives there."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

from fluxpool_demo.kube import Object, connect

Result = TypeVar("Result")


class Background:
    """See the module. Everything handed over runs on the one loop, so it needs no locks among itself."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="background", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Result], seconds: float = 30) -> Result:
        """Run it there and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    @contextmanager
    def hold(self, manager: AbstractAsyncContextManager[Result]) -> Iterator[Result]:
        """Keep an asynchronous context open there for the length of the block."""
        value = self.run(manager.__aenter__())
        try:
            yield value
        finally:
            self.run(manager.__aexit__(None, None, None))

    @contextmanager
    def task(self, coroutine: Coroutine[Any, Any, None]) -> Iterator[None]:
        """Let it run there for the length of the block."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            yield
            if future.done():
                future.result()  # it was to last; an error in it is the test's
        finally:
            future.cancel()

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()


async def follow(kind: str, namespace: str | None, on_event: Callable[[str, Object], None]) -> None:
    """Tell of every object of a kind as it is, and of every change, for ever; across restarts of the API server too."""
    async with connect() as kube:
        async for verb, item in kube.watch(kind, namespace):
            on_event(verb, item)
