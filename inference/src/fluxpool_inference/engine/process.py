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
_KILLED_SECONDS = 120.0
"""Who is killed is gone at once, but for one that is stuck in the kernel: in a driver, or on a volume that stalls."""
_VISIBLE = "CUDA_VISIBLE_DEVICES"

logger = logging.getLogger(__name__)


class WorkerProcess:
    """A child that lives until its socket closes. `on_exit` is told, once, why it ended, unless it was made to."""

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

    def kill(self) -> None:
        """End it in whatever it does, and hear nothing more of it. It may be there for a while: `stop` waits."""
        self._peer.close()
        with suppress(ProcessLookupError):  # it ended by itself
            self._process.kill()

    async def stop(self) -> bool:
        """Hang up and wait for the end; False if it does not come, even by force. Idempotent."""
        self._peer.close()
        if self._ending is not None:
            self._ending.cancel()
        if await self._ends_within(_HANG_UP_SECONDS):
            return True
        logger.warning("worker process %d did not end by itself", self.pid)
        self.kill()
        return await self._ends_within(_KILLED_SECONDS)

    def _hung_up(self) -> None:
        self._ending = asyncio.create_task(self._end())

    async def _end(self) -> None:
        """Everything that it said has been heard, and it should be gone in a moment."""
        gone = await self._ends_within(_HANG_UP_SECONDS)
        self._on_exit(_why(self._process.returncode or 0) if gone else "it hung up and did not end")

    async def _ends_within(self, seconds: float) -> bool:
        waiting = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait({waiting}, timeout=seconds)
            return waiting.done()
        finally:
            waiting.cancel()


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
