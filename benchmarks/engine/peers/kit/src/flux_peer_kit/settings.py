"""How a peer is started: by environment variables, as some of their frameworks read the command line themselves."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Settings:
    """One peer.

    Attributes:
        model: Directory of the pipeline.
        port: Of the API, on loopback.
        rows: Most images of one batch.
        wait_seconds: How long a batch that is not full waits for more.
        text_tokens: T5 tokens of a prompt.
        threads: Of torch, in each process that has a pipeline.
        pipelines: Copies, where a design has several.
        device_cpus: Where calls of the pipeline run, as if they were the device.
    """

    model: Path
    port: int
    rows: int
    wait_seconds: float
    text_tokens: int
    threads: int
    pipelines: int
    device_cpus: frozenset[int]

    @classmethod
    def from_environment(cls) -> Self:
        """Read `PEER_*`. Raises KeyError for one that is not set."""

        def read(name: str) -> str:
            return os.environ[f"PEER_{name}"]

        return cls(
            model=Path(read("MODEL")),
            port=int(read("PORT")),
            rows=int(read("ROWS")),
            wait_seconds=float(read("WAIT_SECONDS")),
            text_tokens=int(read("TEXT_TOKENS")),
            threads=int(read("THREADS")),
            pipelines=int(read("PIPELINES")),
            device_cpus=frozenset(int(cpu) for cpu in read("DEVICE_CPUS").split(",")),
        )
