"""Who is compared: how each side is started, known to be ready, and asked. README.md says why so."""

import asyncio
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from launch import free_port, inherited
from prometheus_client.parser import text_string_to_metric_families

from comparison import processes
from comparison.cells import BARE, LOCK, MAX_QUEUE_SECONDS, OURS, POOL, TEXT_TOKENS
from fluxpool_bench.client import Outcome, Record, Target
from fluxpool_bench.runner import closed_loop, open_loop
from fluxpool_bench.session import Closed, Load
from fluxpool_bench.workload import Kind, Request, Workload
from fluxpool_demo.prometheus import PACE_OVERRUNS, PACE_STEPS
from fluxpool_demo.record import Pacing

HERE = Path(__file__).resolve().parents[1]
INFERENCE = HERE.parents[1] / "inference"
START_SECONDS = 240
POOL_SIZE = 2
WAIT_SECONDS = 0.005
"""How long a peer's batch waits to be full: half of mosec's default, a tenth of the time of one tiny image."""
MOST_DECODED = 8
"""Ours: half a batch by one call of the VAE, and no more than this: answers go out while the rest is decoded."""
_WARM = Kind("64x64", 4, prompts=("{seed} warm",))
_UNPAUSED = 10**9
"""First seed of warm-up requests: none of them is measured."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What all sides of a cell have in common.

    Attributes:
        model: Directory of the pipeline.
        rows: Most images of one batch.
        threads: Of torch, in each process that computes.
        device_cpus: Stand for the device: calls of the model run there, and nothing else does.
        host_cpus: For all else: HTTP, queues, PNGs, and the load generator.
        overload: Whether more will come than can be done.
        pace: Of our steps; None does not hold them.
    """

    model: Path
    rows: int
    threads: int
    device_cpus: frozenset[int]
    host_cpus: frozenset[int]
    overload: bool = False
    pace: str | None = None


class Side(Protocol):
    """One side, started and paused."""

    pid: int
    log: Path

    async def ready(self) -> None:
        """Wait until it can be measured. Raises RuntimeError if it never can."""
        ...

    async def run(self, load: Load, requests: Sequence[Request]) -> list[Record]:
        """Carry a load; no process of the side may be paused."""
        ...

    async def pacing(self) -> Pacing:
        """What it counted of its paced steps; none where none is paced."""
        ...


class Server:
    """A side that speaks HTTP."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], port: int, log: Path) -> None:
        self.log = log
        self.url = f"http://127.0.0.1:{port}/v1"
        self._process = _spawn(command, environment, log)
        self.pid = self._process.pid

    async def ready(self) -> None:
        """When it makes an image."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            records = await self.run(Closed(1), Workload([_WARM], seed=_UNPAUSED).draw(1))
            if records[0].outcome is Outcome.OK:
                return
            await asyncio.sleep(0.5)
        raise RuntimeError(f"{self.log} says why this server did not start")

    async def run(self, load: Load, requests: Sequence[Request]) -> list[Record]:
        """Over new connections: those of its last turn may have timed out while it was paused."""
        target = Target(self.url, None, timeout_seconds=600)
        try:
            if isinstance(load, Closed):
                return await closed_loop(target, requests, load.concurrency, lambda _: None)
            return await open_loop(target, requests, load.arrivals, lambda _: None)
        finally:
            await target.close()

    async def pacing(self) -> Pacing:
        """By its `/metrics`."""
        target = Target(self.url, None, timeout_seconds=600)
        try:
            families = text_string_to_metric_families(await target.metrics() or "")
            counts = {sample.name: round(sample.value) for family in families for sample in family.samples}
            return Pacing(counts.get(PACE_STEPS, 0), counts.get(PACE_OVERRUNS, 0))
        finally:
            await target.close()


class BareLoop:
    """The side without a server: all requests of a run are there at once, and are made in full batches."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._process = _spawn(command, environment, log, talks=True)
        self.pid = self._process.pid

    async def ready(self) -> None:
        """When it says so."""
        if await asyncio.to_thread(self._line) != "ready\n":
            raise RuntimeError(f"{self.log} says why the loop did not start")

    async def run(self, load: Load, requests: Sequence[Request]) -> list[Record]:  # noqa: ARG002 - there is no load here
        """One record for each image, all with the time of the whole: only the throughput of it means anything."""
        bodies = [request.kind.body(None, request.prompt, request.seed) for request in requests]
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps({"bodies": bodies}) + "\n").encode())
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(await asyncio.to_thread(self._line))
        seconds = answer["seconds"]
        return [
            Record(request.index, request.kind.name, 0.0, 0.0, seconds, Outcome.OK, images=1, bytes=0)
            for request in requests
        ]

    async def pacing(self) -> Pacing:
        """It knows no pace."""
        return Pacing()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode()


def start(name: str, setup: Setup, logs: Path) -> Side:
    """Start a side by its name in `cells`."""
    log = logs / f"{name.replace(', ', '-').replace(' ', '-')}.log"
    if name == OURS:
        port = free_port()
        command = [_python(INFERENCE), "-m", "fluxpool_inference", "serve"]
        return Server(command, _our_options(setup, port) | _threads(setup), port, log)
    folder, script = _PEERS[name]
    if name == BARE:
        command = [_python(HERE / folder), "-m", script]
        return BareLoop(command, _peer_options(name, setup, port=0) | _threads(setup), log)
    port = free_port()
    command = [_python(HERE / folder), str(HERE / folder / script)]
    return Server(command, _peer_options(name, setup, port) | _threads(setup), port, log)


def pin(name: str, pid: int, setup: Setup) -> None:
    """Put a side that does nothing onto the host's CPUs, and our worker onto the device's.

    A peer's kit puts the thread that calls the pipeline there for as long as the call takes.
    """
    processes.pin(processes.tree(pid), setup.host_cpus)
    if name == OURS:
        processes.pin(processes.running(pid, "fluxpool_inference.worker"), setup.device_cpus)


def projects() -> list[Path]:
    """The peers' uv projects."""
    return sorted({HERE / folder for folder, _ in _PEERS.values()})


_PEERS = {
    BARE: ("peers/kit", "flux_peer_kit.bare"),
    LOCK: ("peers/fastapi", "original.py"),
    POOL: ("peers/fastapi", "original.py"),
    "FastAPI batcher": ("peers/fastapi", "batcher.py"),
    "mosec": ("peers/mosec", "server.py"),
    "LitServe": ("peers/litserve", "server.py"),
}


def _python(project: Path) -> str:
    return str(project / ".venv" / "bin" / "python")


def _our_options(setup: Setup, port: int) -> dict[str, str]:
    options = {
        "MODEL": setup.model,
        "DEVICE": "cpu",
        "DTYPE": "float32",
        "TORCH_THREADS": setup.threads,
        "MAX_SEQUENCE_LENGTH": TEXT_TOKENS,
        "BATCH_SIZE": setup.rows,
        "DECODE_BATCH_SIZE": min(MOST_DECODED, max(1, setup.rows // 2)),
        "KNEE_GAIN": 0,  # as many rows as the peers have
        "DEFAULT_SIZE": "64x64",
        "MIN_SIDE": 64,
        "MAX_PIXELS": 1024 * 1024,
        "DRAIN_SECONDS": 86400,
        "HOST": "127.0.0.1",
        "PORT": port,
        "ADMIN_PORT": 0,
        "CONNECTION_CLOSE": "false",  # as the peers do
        "LOG_LEVEL": "warning",
    }
    if setup.overload:
        options |= {"MAX_QUEUE_SECONDS": MAX_QUEUE_SECONDS, "LOG_LEVEL": "info", "LOG_FORMAT": "json"}
    if setup.pace is not None:
        options |= {"PACE": setup.pace}
    return {f"FLUXPOOL_{name}": str(value) for name, value in options.items()}


def _peer_options(name: str, setup: Setup, port: int) -> dict[str, str]:
    options = {
        "MODEL": setup.model,
        "PORT": port,
        "ROWS": setup.rows,
        "WAIT_SECONDS": WAIT_SECONDS,
        "TEXT_TOKENS": TEXT_TOKENS,
        "THREADS": setup.threads,
        "PIPELINES": POOL_SIZE if name == POOL else 1,
        "DEVICE_CPUS": ",".join(map(str, sorted(setup.device_cpus))),
    }
    return {f"PEER_{name}": str(value) for name, value in options.items()} | {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }


def _threads(setup: Setup) -> dict[str, str]:
    """Of OpenMP and MKL, which keep a number for each thread that calls them: torch sets that of some threads only."""
    return {f"{library}_NUM_THREADS": str(setup.threads) for library in ("OMP", "MKL")}


def _spawn(
    command: Sequence[str], environment: Mapping[str, str], log: Path, *, talks: bool = False
) -> "subprocess.Popen[bytes]":
    """Start a process that writes to `log`; one that talks has its input and output as pipes.

    It has a session of its own: a signal to ours would end a parent whose paused children are then found no more.
    """
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            env=inherited() | dict(environment),
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else file,
            stderr=file,
            start_new_session=True,
        )
