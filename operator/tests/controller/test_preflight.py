"""What the operator waits for before it works."""

import asyncio
import logging
from dataclasses import dataclass, field

import pytest
from controller.virtual_time import now, run

from fluxpool_operator.cluster import Kind, kinds
from fluxpool_operator.controller.preflight import needed_rights, prepare, wait_until_ready
from fluxpool_operator.errors import UnauthorizedError, UnavailableError
from fluxpool_operator.health import Health


@dataclass
class Reviewer:
    """Until `well_at` there is a problem, then none."""

    well_at: float = 0.0
    error: Exception | None = None
    installed: bool = True
    unknown: Kind | None = None
    forbidden: set[tuple[str, str, str | None]] = field(default_factory=set)
    asked: list[tuple[str, str, str, str | None]] = field(default_factory=list)

    async def serves(self, kind: Kind) -> bool:
        if now() < self.well_at and self.error:
            raise self.error
        return kind != self.unknown and (now() >= self.well_at or self.installed)

    async def allowed(self, verb: str, kind: Kind, namespace: str | None, subresource: str = "") -> bool:
        self.asked.append((verb, kind.resource, subresource, namespace))
        return now() >= self.well_at or (verb, kind.plural, namespace) not in self.forbidden


def wait(reviewer: Reviewer, namespaces: tuple[str, ...] = ()) -> tuple[float, Health]:
    async def main() -> tuple[float, Health]:
        health = Health()
        await asyncio.wait_for(wait_until_ready(reviewer, namespaces, kinds.CHILDREN, health), 3600)
        return now(), health

    return run(main())


@pytest.mark.parametrize(
    ("reviewer", "words"),
    [
        (
            Reviewer(60, installed=False),
            (
                "the kind FluxPool (fluxpool.dev/v1alpha1) is not installed: "
                "apply crds/ or install the chart with crds.enabled=true"
            ),
        ),
        (
            Reviewer(60, UnavailableError("read the resources", "Connect call failed ('127.0.0.1', 6443)")),
            "the API server does not answer: Connect call failed ('127.0.0.1', 6443)",
        ),
        (Reviewer(60, UnauthorizedError("read the resources", "Unauthorized")), "read the resources: Unauthorized"),
        (
            Reviewer(60, forbidden={("create", "deployments", None), ("patch", "fluxpools", None)}),
            (
                "RBAC does not allow the operator to patch fluxpools.fluxpool.dev/status, create deployments.apps: "
                "grant it by its role (the chart does)"
            ),
        ),
    ],
    ids=["CRD", "API server", "credentials", "RBAC"],
)
def test_what_is_missing_is_said_once_in_one_line_and_waited_for(
    reviewer: Reviewer, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        at, health = wait(reviewer)
    assert at == pytest.approx(60, abs=15)
    assert [record.getMessage() for record in caplog.records] == [f"waiting: {words}"]
    assert health.awaited == words, "until the next step says what it waits for"


def test_when_nothing_is_missing_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert wait(Reviewer())[0] == 0
    assert not caplog.records


def test_in_listed_namespaces_rights_are_needed_there_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    reviewer = Reviewer(5, forbidden={("list", "pods", "team-b")})
    wait(reviewer, ("team-a", "team-b"))
    assert {namespace for *_, namespace in reviewer.asked} == {"team-a", "team-b"}
    assert "to list pods in team-b:" in caplog.text


def children(reviewer: Reviewer, *, service_monitors: bool) -> list[Kind]:
    return run(prepare(reviewer, (), Health(), service_monitors=service_monitors))


def test_pools_have_service_monitors_where_they_are_asked_for_and_may_be_made(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reviewer = Reviewer(5, forbidden={("create", "servicemonitors", None)})
    assert children(reviewer, service_monitors=True) == [*kinds.CHILDREN, kinds.SERVICE_MONITOR]
    (told,) = caplog.records
    assert "RBAC does not allow the operator to create servicemonitors.monitoring.coreos.com:" in told.getMessage()


def test_that_service_monitors_are_asked_for_in_vain_is_said_once_with_the_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert children(Reviewer(unknown=kinds.SERVICE_MONITOR), service_monitors=True) == list(kinds.CHILDREN)
    (told,) = caplog.records
    assert told.levelno == logging.WARNING
    assert told.getMessage() == (
        "no ServiceMonitors are made: the API server does not know the kind (monitoring.coreos.com/v1); install the "
        "CRDs of the Prometheus Operator, then restart this operator"
    )


def test_where_no_service_monitors_are_asked_for_nobody_misses_them(caplog: pytest.LogCaptureFixture) -> None:
    assert children(Reviewer(unknown=kinds.SERVICE_MONITOR), service_monitors=False) == list(kinds.CHILDREN)
    assert not caplog.records


def test_the_rights_are_the_least_that_will_do() -> None:
    rights = {str(right) for right in needed_rights(kinds.CHILDREN)}
    assert "patch fluxpools.fluxpool.dev/status" in rights
    assert not rights & {"patch fluxpools.fluxpool.dev", "delete secrets", "patch pods", "create pods"}
    assert {right for right in rights if right.startswith("delete")} == {"delete services"}
    assert not any("servicemonitors" in right or "customresourcedefinitions" in right for right in rights)
    with_monitors = {str(right) for right in needed_rights([*kinds.CHILDREN, kinds.SERVICE_MONITOR])}
    assert {right.partition(" ")[0] for right in with_monitors - rights} == {"get", "list", "watch", "create", "patch"}
