"""Every right that the chart grants is used: what it grants, against what the API server's audit log has seen."""

from datetime import datetime

import pytest

from chart.helm import granted, only, render
from e2e.audit import Right, calls_of, rights
from e2e.stage import Stage
from fluxpool_demo import install

SINCE_LISTS_ARE_STREAMED = {("", "pods", "list")}
"""Prometheus' client-go gets its first list by a watch from an API server that can do it, and lists elsewhere."""


@pytest.mark.parametrize(("component", "elsewhere"), [("operator", set()), ("prometheus", SINCE_LISTS_ARE_STREAMED)])
@pytest.mark.usefixtures("day", "counted", "made_anew")
async def test_every_right_is_used_and_none_is_missed(
    component: str, elsewhere: set[Right], stage: Stage, began_at: datetime
) -> None:
    calls = list(calls_of(f"{install.SYSTEM_NAMESPACE}:fluxpool-{component}", began_at))
    role = granted(only(render(stage.platform.helm_values), "ClusterRole", component))
    used = {right for call in calls for right in rights(call)}
    assert role - used - elsewhere == set()
    assert [call["requestURI"] for call in calls if call["responseStatus"]["code"] == 403] == []
