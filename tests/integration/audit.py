"""Who asked the API server for what, from its own audit log."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from fluxpool_cluster import paths
from integration.stage import NAMESPACE, OPERATOR

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{OPERATOR}"


@dataclass(frozen=True)
class Call:
    """One request of the operator."""

    verb: str
    resource: str
    namespace: str
    name: str
    code: int

    @property
    def writes(self) -> bool:
        """Whether it was to change something."""
        return self.verb in WRITES


class Audit:
    """Reads the requests that the operator has made since this was made, or since the last reading."""

    def __init__(self) -> None:
        self._file = paths.audit_log()
        self._at = self._file.stat().st_size

    def calls(self) -> list[Call]:
        """The requests that were answered since; one that is still being written comes with the next reading."""
        with self._file.open("rb") as log:
            log.seek(self._at)
            lines = log.read()
        complete = lines[: lines.rfind(b"\n") + 1]
        self._at += len(complete)
        return list(_calls(complete))

    def writes(self) -> list[Call]:
        """Those that were to change something."""
        return [call for call in self.calls() if call.writes]


def _calls(lines: bytes) -> Iterator[Call]:
    for line in lines.splitlines():
        event = json.loads(line)
        if event["user"]["username"] != ACCOUNT or event["stage"] != "ResponseComplete":
            continue
        where = event.get("objectRef", {})
        resource = "/".join(part for part in (where.get("resource", ""), where.get("subresource", "")) if part)
        yield Call(
            event["verb"], resource, where.get("namespace", ""), where.get("name", ""), event["responseStatus"]["code"]
        )


def counted(calls: list[Call]) -> dict[str, int]:
    """How many requests of each kind."""
    return dict(Counter(f"{call.verb} {call.resource}" for call in calls))
