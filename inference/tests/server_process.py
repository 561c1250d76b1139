"""A `serve` process on loopback: started, watched by its log, and ended."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

ADMIN_TOKEN = "secret of the tests"


class ServerProcess:
    """Runs `command` with free ports and JSON logs; a context manager that kills what is left."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        own = {
            "FLUXPOOL_HOST": "127.0.0.1",
            "FLUXPOOL_PORT": "0",
            "FLUXPOOL_ADMIN_PORT": "0",
            "FLUXPOOL_ADMIN_TOKEN": ADMIN_TOKEN,
            "FLUXPOOL_LOG_FORMAT": "json",
            "FLUXPOOL_LOG_LEVEL": "debug",
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLUXPOOL_")}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error::ResourceWarning", *command],
            env=inherited | own | dict(environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._listening: dict[str, Any] | None = None

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.rstrip("\n"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
        self._reader.join()

    @property
    def pid(self) -> int:
        return self._process.pid

    def records(self, message: str) -> list[dict[str, Any]]:
        """The log records with this message."""
        parsed = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [record for record in parsed if record["message"] == message]

    def wait_for(self, message: str, seconds: float = 90) -> dict[str, Any]:
        """The first log record with this message."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.records(message)
            if found:
                return found[0]
            if self._process.poll() is not None:
                self._reader.join()
                break
            time.sleep(0.01)
        found = self.records(message)
        assert found, f"no {message!r} in the log:\n" + "\n".join(self.lines)
        return found[0]

    def url(self, port: str = "http") -> str:
        """Where the port `http` or `admin` is."""
        return f"http://{self.wait_for('listening')[port]}"

    def wait_ready(self) -> Self:
        self.wait_for("ready")
        assert httpx.get(self.url() + "/readyz").status_code == 200
        return self

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = 60) -> int:
        """The exit code."""
        code = self._process.wait(seconds)
        self._reader.join()
        return code

    def output(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.read()
