"""What must be there before the operator can work: the API server, the FluxPool kind, and the rights.

Each can be put right by somebody else at any time (the API server comes up, the CRD is applied, the role is bound), so
the process waits and says once, in one line, what it waits for; `/readyz` says it too. It ends by itself for what only
a change of its own configuration can put right.
"""

import asyncio
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from fluxpool_operator.cluster import Kind, kinds
from fluxpool_operator.controller.ports import Reviewer
from fluxpool_operator.errors import ClusterError, UnavailableError
from fluxpool_operator.health import Health

log = logging.getLogger(__name__)

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Right:
    """One thing the operator must be allowed to do."""

    verb: str
    kind: Kind
    subresource: str = ""

    def __str__(self) -> str:
        """As kubectl auth can-i has it."""
        return f"{self.verb} {self.kind.resource}" + (f"/{self.subresource}" if self.subresource else "")


def needed_rights(children: Collection[Kind]) -> Iterator[Right]:
    """All that the operator does; the chart's role holds exactly these."""
    for kind in (kinds.FLUXPOOL, kinds.POD):
        yield from (Right(verb, kind) for verb in ("list", "watch"))
    yield Right("patch", kinds.FLUXPOOL, "status")
    for kind in children:
        # `get`: before a name is taken; `create`: server-side apply of what is not there needs it beside `patch`.
        yield from (Right(verb, kind) for verb in ("get", "list", "watch", "create", "patch"))
    # All else is deleted by the garbage collector, but a Service that cannot be mended is made anew.
    yield Right("delete", kinds.SERVICE)
    yield from (Right(verb, kinds.EVENT) for verb in ("create", "patch"))


async def prepare(
    cluster: Reviewer, namespaces: Collection[str], health: Health, *, service_monitors: bool
) -> list[Kind]:
    """Wait until all that is needed is there. Returns the kinds of children that pools may have.

    Args:
        cluster: the API server.
        namespaces: where the rights are needed; none: everywhere.
        health: is told what is waited for.
        service_monitors: whether pools shall have one if the API server knows that kind. It is asked once: whoever adds
            the kind later starts the operator again.
    """
    children = list(kinds.CHILDREN)
    await wait_until_ready(cluster, namespaces, children, health)
    if not service_monitors:
        return children
    if not await cluster.serves(kinds.SERVICE_MONITOR):
        log.warning(
            "no ServiceMonitors are made: the API server does not know the kind (%s); install the CRDs of the "
            "Prometheus Operator, then restart this operator",
            kinds.SERVICE_MONITOR.api_version,
        )
        return children
    children.append(kinds.SERVICE_MONITOR)
    await wait_until_ready(cluster, namespaces, children, health)
    return children


async def wait_until_ready(
    cluster: Reviewer, namespaces: Collection[str], children: Collection[Kind], health: Health
) -> None:
    """Return when nothing is missing any more."""
    wait_seconds = FIRST_WAIT_SECONDS
    while True:
        problem = await _problem(cluster, tuple(namespaces) or (None,), children)
        if problem is None:
            return
        if problem != health.awaited:
            log.warning("waiting: %s", problem)
        health.awaited = problem
        await asyncio.sleep(wait_seconds)
        wait_seconds = min(2 * wait_seconds, LONGEST_WAIT_SECONDS)


async def _problem(cluster: Reviewer, namespaces: Sequence[str | None], children: Collection[Kind]) -> str | None:
    try:
        if not await cluster.serves(kinds.FLUXPOOL):
            return (
                f"the kind FluxPool ({kinds.FLUXPOOL.api_version}) is not installed: "
                "apply crds/ or install the chart with crds.enabled=true"
            )
        missing = [
            f"{right}" + (f" in {namespace}" if namespace else "")
            for right in needed_rights(children)
            for namespace in namespaces
            if not await cluster.allowed(right.verb, right.kind, namespace, right.subresource)
        ]
    except UnavailableError as error:
        return f"the API server does not answer: {error.detail}"
    except ClusterError as error:
        return str(error)
    if missing:
        return f"RBAC does not allow the operator to {', '.join(missing)}: grant it by its role (the chart does)"
    return None
