"""One worker process: spawned, spoken to, and known to be gone."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.ipc.messages import Configure, ToWorker
from fluxpool_inference.ipc.peer import OnMessage, Peer

MODULE = "fluxpool_inference.worker"
_HANG_UP_SECONDS = 10.0
_VISIBLE = "CUDA_VISIBLE_DEVICES"

logger = logging.getLogger(__name__)


class WorkerProcess:
    """A child that lives until its socket closes. `on_exit` is told, once, why it ended, unless `stop` ended it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        end: socket.socket,
        on_message: OnMessage,
        on_exit: Callable[[str], None],
    ) -> None:
        self._process = process
        self._on_exit = on_exit
        self._peer = Peer(end, on_message, self._hung_up)
        self._ending: asyncio.Task[None] | None = None
        self._killed_for: str | None = None

    @classmethod
    async def spawn(
        cls,
        config: Callable[[], EngineConfig],
        since: float,
        on_message: OnMessage,
        on_exit: Callable[[str], None],
        environment: Mapping[str, str],
    ) -> "WorkerProcess":
        """Start a worker in a session of its own: the terminal's Ctrl-C is for its parent.

        Its configuration is asked for when the process is there, in the same turn of the event loop in which this
        returns: what changes before is in it, and what changes after can be sent. Its start counts from the moment
        `since`.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await _python(MODULE, theirs.fileno(), environment)
        except BaseException:
            ours.close()
            raise
        worker = cls(process, ours, on_message, on_exit)
        worker.send(Configure(config(), since))
        return worker

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._process.pid

    def send(self, message: ToWorker) -> bool:
        """Send a message; False if the worker is known to be gone, which `on_exit` tells or has told."""
        return self._peer.send(message)

    def kill(self, why: str) -> None:
        """End it at once, in whatever it does; `on_exit` is told this reason."""
        self._killed_for = why
        with suppress(ProcessLookupError):  # it ended by itself
            self._process.kill()

    async def stop(self) -> None:
        """Hang up and wait for the end. Idempotent."""
        self._peer.close()
        await self._wait()

    def _hung_up(self) -> None:
        self._ending = asyncio.create_task(self._end())

    async def _end(self) -> None:
        """Everything that it said has been heard; now it must be gone before another takes its device."""
        await self._wait()
        self._on_exit(self._killed_for or _why(self._process.returncode or 0))

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_HANG_UP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            logger.warning("worker %d did not end by itself", self.pid)
            with suppress(ProcessLookupError):  # it ended after all
                self._process.kill()
            await self._process.wait()


def environment_of(index: int, workers: int) -> Mapping[str, str]:
    """The environment of one of several workers: it sees its own GPU alone, and calls it the first.

    Strictly before CUDA starts in it: a process that sees all GPUs makes a context on the first one, for hundreds of
    megabytes.
    """
    if workers == 1:
        return os.environ
    visible = os.environ.get(_VISIBLE)
    devices = [str(index)] if visible is None else visible.split(",")[index : index + 1]
    return {**os.environ, _VISIBLE: ",".join(devices)}


async def _python(module: str, descriptor: int, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # what lies in the working directory must not shadow modules
        "-m",
        module,
        str(descriptor),
        pass_fds=[descriptor],
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )


def _why(code: int) -> str:
    if code >= 0:
        return f"it exited with code {code}"
    name = signal.Signals(-code).name
    hint = " (the kernel does that when memory runs out)" if name == "SIGKILL" else ""
    return f"it was ended by {name}{hint}"
