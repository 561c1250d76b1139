"""Every right that the chart grants is used: what it grants, against what the API server's audit log has seen."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from chart.helm import granted, only, render
from e2e.stage import Stage
from fluxpool_cluster import layout
from fluxpool_demo import install

Right = tuple[str, str, str]
"""API group, resource with its subresource, verb."""
CREATED = 201
SINCE_LISTS_ARE_STREAMED = {("", "pods", "list")}
"""Prometheus' client-go gets its first list by a watch from an API server that can do it, and lists elsewhere."""


@pytest.mark.parametrize(("component", "elsewhere"), [("operator", set()), ("prometheus", SINCE_LISTS_ARE_STREAMED)])
@pytest.mark.usefixtures("day", "counted", "made_anew")
async def test_every_right_is_used_and_none_is_missed(
    component: str, elsewhere: set[Right], stage: Stage, began_at: datetime
) -> None:
    calls = list(calls_of(f"system:serviceaccount:{install.SYSTEM_NAMESPACE}:fluxpool-{component}", began_at))
    role = granted(only(render(stage.platform.helm_values), "ClusterRole", component))
    used = {right for call in calls for right in rights(call)}
    assert role - used - elsewhere == set()
    assert [call["requestURI"] for call in calls if call["responseStatus"]["code"] == 403] == []


def calls_of(user: str, since: datetime) -> Iterator[dict[str, Any]]:
    log = layout.Layout(layout.state_folder()).audit_log
    if not log.exists():
        pytest.skip("only the lab's API server keeps an audit log that tests can read")
    for line in log.read_text().splitlines():
        call = json.loads(line)
        received = datetime.fromisoformat(call["requestReceivedTimestamp"])
        if call["user"]["username"] == user and received >= since and "objectRef" in call:
            yield call


def rights(call: dict[str, Any]) -> Iterator[Right]:
    """What a call needed; server-side apply of what was not there needs `create` as well."""
    what = call["objectRef"]
    resource = "/".join(filter(None, (what["resource"], what.get("subresource"))))
    yield what.get("apiGroup", ""), resource, call["verb"]
    if call["verb"] == "patch" and call["responseStatus"]["code"] == CREATED:
        yield what.get("apiGroup", ""), resource, "create"
