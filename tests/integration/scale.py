"""Many FluxPools at once: how long until all are Ready, what that costs, and what an operator at rest costs.

Used by the test of two hundred pools and by `benchmarks/operator_scale.py`.
"""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fluxpool_demo.kube import is_true
from integration.api import Api, wait_for
from integration.audit import Audit, Call
from integration.pools import manifest
from integration.stage import Operator

MAKERS = 8
"""Threads that create pools."""
LIST_EVERY_SECONDS = 0.5
"""Two hundred pools are a megabyte: looking without a pause would be a good part of the API server's work."""
QUIET_SECONDS = 12.0
"""Longer than a status write may be put off."""


@dataclass(frozen=True)
class Settled:
    """From nothing to rest.

    Attributes:
        seconds_to_ready: from the first create to the last pool Ready.
        calls: of the operator, until it was at rest.
    """

    seconds_to_ready: float
    calls: list[Call]


@dataclass(frozen=True)
class Rest:
    """An operator that has nothing to do.

    Attributes:
        seconds: how long it was looked at.
        cpu_share: of one core.
        rss_mib: at the end.
        calls: of the operator meanwhile.
    """

    seconds: float
    cpu_share: float
    rss_mib: float
    calls: list[Call]

    @property
    def writes(self) -> list[Call]:
        """Those that were to change something."""
        return [call for call in self.calls if call.writes]


def settle(api: Api, namespace: str, count: int, seconds: float) -> Settled:
    """Create pools in an empty namespace, wait until all are Ready, and then until the operator is at rest."""
    audit, calls = Audit(), []
    started = time.monotonic()
    with ThreadPoolExecutor(MAKERS) as makers:
        list(makers.map(api.create, (manifest(namespace, f"pool-{number}") for number in range(count))))
    wait_for(f"{count} pools to be Ready", lambda: _are_ready(api, namespace, count), seconds, LIST_EVERY_SECONDS)
    seconds_to_ready = time.monotonic() - started
    calls += audit.calls()
    last_write = time.monotonic()
    while time.monotonic() < last_write + QUIET_SECONDS:
        more = _in(namespace, audit.calls())
        calls += more
        if any(call.writes for call in more):
            last_write = time.monotonic()
        assert time.monotonic() < started + seconds, f"the operator still writes: {calls[-5:]}"
        time.sleep(0.5)
    return Settled(seconds_to_ready, _in(namespace, calls))


def watch_at_rest(operator: Operator, namespace: str, seconds: float) -> Rest:
    """Look at an operator that has nothing to do for so long."""
    audit = Audit()
    started, used = time.monotonic(), operator.cpu_seconds
    time.sleep(seconds)
    passed = time.monotonic() - started
    share = (operator.cpu_seconds - used) / passed
    return Rest(passed, share, operator.resident_bytes / 2**20, _in(namespace, audit.calls()))


def _in(namespace: str, calls: Iterable[Call]) -> list[Call]:
    """Those in the namespace, and those in none: lists and watches of the whole cluster."""
    return [call for call in calls if call.namespace in {namespace, ""}]


def _are_ready(api: Api, namespace: str, count: int) -> bool:
    return sum(is_true(pool, "Ready") for pool in api.list("FluxPool", namespace)) == count
