"""Programs under test as processes of their own: started, asked over HTTP, stopped, killed, measured."""

import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from integration.api import wait_for

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Program:
    """One program, which may be started again and again; all its output goes to one file.

    Args:
        argv: its command line.
        environment: all of it.
        log: where its output goes.
        ready_url: answers 200 once it is of use.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], log: Path, ready_url: str) -> None:
        self.argv = list(argv)
        self.environment = dict(environment)
        self.log = log
        self._ready_url = ready_url
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 60) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.argv, env=self.environment, stdout=log, stderr=log)
        wait_for(f"{self.argv[0]} to be ready", self._is_ready, seconds)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and wait for its end. Returns its exit status."""
        process = self._running()
        process.send_signal(number)
        return process.wait(timeout=30)

    def end(self) -> None:
        """Stop it if it runs."""
        if self.alive:
            self.stop()

    def wait_for_end(self, seconds: float = 60) -> int:
        """Wait until it ends by itself. Returns its exit status."""
        return self._running().wait(timeout=seconds)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def resident_bytes(self) -> int:
        """Memory it holds now."""
        return int(self._proc("statm").split()[1]) * PAGE_BYTES

    @property
    def cpu_seconds(self) -> float:
        """Processor time it has used, in user and system mode."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._running().pid}/{name}").read_text(encoding="ascii")

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.argv[0]} was never started"
        return self._process

    def _is_ready(self) -> bool:
        assert self.alive, f"{self.argv[0]} has ended:\n{self.log.read_text(errors='replace')[-3000:]}"
        try:
            return fetch(self._ready_url) is not None
        except urllib.error.HTTPError:
            return False


def fetch(url: str) -> str | None:
    """The body of an answer of 200; None where nothing listens.

    Raises:
        urllib.error.HTTPError: another answer.
    """
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError:
        raise
    except OSError:
        return None


def metric(exposition: str, name: str, **labels: str) -> float:
    """The sum of a metric's series that carry these labels."""
    wanted = {f'{key}="{value}"' for key, value in labels.items()}
    found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", exposition, re.MULTILINE)
    return sum(float(value) for inside, value in found if wanted <= set(re.findall(r'\w+="[^"]*"', inside)))
