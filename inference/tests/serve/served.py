"""A server as its users see it: the official client, /metrics, the admin port, /proc."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import openai
from server_process import ADMIN_TOKEN, ServerProcess

_IDENTITY = {"fluxpool_namespace", "fluxpool_pool", "fluxpool_pod_uid"}
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Series = dict[frozenset[tuple[str, str]], float]


class Served:
    """One process that is ready. A context manager."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self.url = process.url()
        self._http = httpx.Client(headers={"authorization": f"Bearer {ADMIN_TOKEN}"})

    def close(self) -> None:
        self._http.close()

    def client(self, max_retries: int = 0) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=self.url + "/v1", api_key="none", max_retries=max_retries, timeout=120)

    def series(self, name: str) -> Series:
        """The samples of one name, by their own labels."""
        found: Series = {}
        for line in self._http.get(self.url + "/metrics").text.splitlines():
            if line.startswith(name + "{"):
                labels, value = line[len(name) :].rsplit(" ", 1)
                found[frozenset(pair for pair in _LABEL.findall(labels) if pair[0] not in _IDENTITY)] = float(value)
        return found

    def metric(self, name: str, **labels: str) -> float:
        return self.series(name)[frozenset(labels.items())]

    def total(self, name: str) -> float:
        """The sum over all labels."""
        return sum(self.series(name).values())

    @property
    def worker_pid(self) -> int:
        status: dict[str, Any] = self._http.get(self.process.url("admin") + "/admin/status").json()
        pid: int = status["workers"][0]["pid"]
        return pid

    def set_batch_size(self, rows: int) -> int:
        url = self.process.url("admin") + "/admin/batch-size"
        return self._http.put(url, json={"batch_size": rows}).status_code

    def nothing_in_flight(self) -> bool:
        return self.metric("fluxpool_requests_waiting") + self.metric("fluxpool_requests_running") == 0

    def assert_everything_adds_up(self) -> None:
        """Nothing is in flight, and all that was admitted has ended in one way."""
        outcomes = ("ok", "failed", "cancelled")
        ok, failed, cancelled = (self.metric("fluxpool_request_duration_seconds_count", outcome=o) for o in outcomes)
        admitted = self.metric("fluxpool_admitted_images_total")
        assert admitted == ok + failed + cancelled
        assert self.total("fluxpool_images_total") == ok
        assert self.total("fluxpool_cancelled_total") == cancelled
        assert self.metric("fluxpool_queue_wait_estimate_seconds_count") == admitted
        for gauge in ("requests_waiting", "requests_running", "queued_work_seconds", "running_work_seconds"):
            assert self.metric(f"fluxpool_{gauge}") == 0

    def assert_every_line_of_the_log_is_json(self) -> None:
        other = [line for line in self.process.lines if not line.startswith("{") or "message" not in json.loads(line)]
        assert other == [], other


def libraries(pid: int) -> str:
    """What a process has mapped."""
    return Path(f"/proc/{pid}/maps").read_text()


def open_files(pid: int) -> list[str]:
    return [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
