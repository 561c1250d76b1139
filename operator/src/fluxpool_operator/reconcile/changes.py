"""Which children to write or delete so that the cluster matches what the pool asks for."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fluxpool_operator import contract, resources
from fluxpool_operator.api import FluxPool
from fluxpool_operator.reconcile.drift import beyond_repair, difference, sealed
from fluxpool_operator.reconcile.ownership import Owner, owner_of
from fluxpool_operator.reconcile.plan import Apply, Delete
from fluxpool_operator.reconcile.sizing import Sizes
from fluxpool_operator.reconcile.upgrade import Template
from fluxpool_operator.resources import KINDS, Manifest, child_name
from fluxpool_operator.world import TEMPLATE_BASIS, DeploymentView, Snapshot

_TOKEN_MIN_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be done with the children.

    Attributes:
        applies: children to write, those that others need first.
        deletes: children that must be made anew.
        foreign: kind and name of objects of somebody else in a child's place.
        leaving: kind and name of objects of a former pool of this name, which must be gone first.
    """

    applies: tuple[Apply, ...] = ()
    deletes: tuple[Delete, ...] = ()
    foreign: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()


def own_deployment(pool: FluxPool, snapshot: Snapshot) -> DeploymentView | None:
    """The Deployment, if it is this pool's and stays."""
    live = snapshot.children.get("Deployment")
    return DeploymentView.of(live) if live and owner_of(live, pool) is Owner.OURS else None


def changes(pool: FluxPool, snapshot: Snapshot, wanted: Sizes, template: Template) -> Changes:
    """Compare what the pool asks for with what there is."""
    applies: list[Apply] = []
    deletes: list[Delete] = []
    in_the_way: dict[Owner, list[str]] = {Owner.FOREIGN: [], Owner.LEAVING: []}
    for manifest in _children(pool, snapshot, wanted, template):
        kind, live = manifest["kind"], snapshot.children.get(manifest["kind"])
        owner = owner_of(live, pool) if live else Owner.OURS
        if owner is not Owner.OURS:
            in_the_way[owner].append(f"{kind} {child_name(kind, pool.name)}")
        elif live is None:
            applies.append(Apply(manifest, "it is missing", creates=True))
        elif why := beyond_repair(manifest, live):
            deletes.append(_deletion(live, why))
        elif why := difference(manifest, live):
            applies.append(Apply(manifest, why, creates=False))
    return Changes(
        tuple(applies),
        tuple(deletes),
        foreign=tuple(in_the_way[Owner.FOREIGN]),
        leaving=tuple(in_the_way[Owner.LEAVING]),
    )


def _children(pool: FluxPool, snapshot: Snapshot, wanted: Sizes, template: Template) -> Iterator[Manifest]:
    record = {TEMPLATE_BASIS: template.record.to_text()}
    yield sealed(resources.admin_secret(pool, _token(snapshot)))
    yield sealed(resources.deployment(pool, wanted.replicas, template.manifest, record))
    yield sealed(resources.service(pool))
    yield sealed(resources.disruption_budget(pool))
    if snapshot.defaults.service_monitor is not None:
        yield sealed(resources.service_monitor(pool, snapshot.defaults.service_monitor))


def _token(snapshot: Snapshot) -> str:
    """The token there is, for pods know it; a new one only where there is none that could be used."""
    kept = _token_in(snapshot.children.get("Secret") or {})
    return kept if len(kept) >= _TOKEN_MIN_BYTES else snapshot.fresh_token


def _token_in(secret: Mapping[str, Any]) -> str:
    encoded = (secret.get("data") or {}).get(contract.ADMIN_SECRET_KEY, "")
    try:
        return base64.b64decode(encoded, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _deletion(live: Mapping[str, Any], why: str) -> Delete:
    kind, metadata = live["kind"], live["metadata"]
    return Delete(KINDS[kind], kind, metadata["name"], metadata["uid"], why)
