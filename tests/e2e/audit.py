"""Who asked the API server for what, and which rights that took: its own audit log."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from fluxpool_cluster import layout

Right = tuple[str, str, str]
"""API group, resource with its subresource, verb."""
Call = dict[str, Any]
"""An event of the log."""
CREATED = 201


def calls_of(account: str, since: datetime) -> Iterator[Call]:
    """What a ServiceAccount (`namespace:name`) has asked for."""
    log = layout.Layout(layout.state_folder()).audit_log
    if not log.exists():
        pytest.skip("only the lab's API server keeps an audit log that tests can read")
    for line in log.read_text().splitlines():
        call = json.loads(line)
        received = datetime.fromisoformat(call["requestReceivedTimestamp"])
        if call["user"]["username"] == f"system:serviceaccount:{account}" and received >= since and "objectRef" in call:
            yield call


def rights(call: Call) -> Iterator[Right]:
    """What a call needed; server-side apply of what was not there needs `create` as well."""
    what = call["objectRef"]
    resource = "/".join(filter(None, (what["resource"], what.get("subresource"))))
    yield what.get("apiGroup", ""), resource, call["verb"]
    if call["verb"] == "patch" and call["responseStatus"]["code"] == CREATED:
        yield what.get("apiGroup", ""), resource, "create"
