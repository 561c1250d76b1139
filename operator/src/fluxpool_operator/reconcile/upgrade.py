"""What a pool's pods are made from, and when that may move.

An upgrade of the operator may bring another default image or another revision of the pod template. Taking them
replaces every pod, so a pool goes on with what it was made from until its own spec changes the pods anyway, or until
`rollout.onUpgrade` allows it. What it was made from is recorded where it is in force, in an annotation of the
Deployment, so that both are written at once; the copy in status is for people, and is read if the annotation is lost.
A pool without a Deployment has nothing to protect and takes the newest, also one restored from a backup.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fluxpool_operator.api import FluxPool, TemplateInUse
from fluxpool_operator.resources import LATEST_REVISION, REVISIONS, Basis, Manifest, pod_template
from fluxpool_operator.world import TEMPLATE_HASH, Defaults, DeploymentView


@dataclass(frozen=True, slots=True)
class Record:
    """A basis, and the digest of the pod template that was made from it and the spec."""

    basis: Basis
    hash: str

    def to_text(self) -> str:
        """As the annotation holds it."""
        return json.dumps({**asdict(self.basis), "hash": self.hash}, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> "Record | None":
        """Read the annotation; None if it is not one of ours."""
        try:
            fields = json.loads(text)
            basis = Basis(str(fields["image"]), fields["image_pull_policy"], int(fields["revision"]))
            return cls(basis, str(fields["hash"]))
        except (ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True, slots=True)
class Template:
    """The pod template to run.

    Attributes:
        manifest: it carries its own digest as an annotation.
        record: what it was made from.
        newer: whether the operator has something newer that this pool does not take now.
    """

    manifest: Manifest
    record: Record
    newer: bool = False


def choose_template(
    pool: FluxPool, defaults: Defaults, deployment: DeploymentView | None, *, may_upgrade: bool
) -> Template:
    """The template in use while the spec keeps it, else the newest; `deployment` is the pool's own."""
    newest = _make(pool, Basis(defaults.image, defaults.image_pull_policy, LATEST_REVISION))
    record = _recorded(pool, defaults, deployment) if deployment else None
    if record is None or record.basis.revision not in REVISIONS:
        return newest
    kept = _make(pool, record.basis)
    if kept.record.hash != record.hash:
        return newest
    if newest.record.hash == kept.record.hash or not (pool.spec.rollout.on_upgrade and may_upgrade):
        return Template(kept.manifest, kept.record, newer=newest.record.hash != kept.record.hash)
    return newest


def in_use(pool: FluxPool, template: Template) -> TemplateInUse:
    """What people read of it: the image and pull policy the pods really have."""
    given, basis = pool.spec.template, template.record.basis
    policy = given.image_pull_policy or basis.image_pull_policy
    return TemplateInUse(
        image=given.image or basis.image,
        image_pull_policy=str(policy) if policy else None,
        revision=basis.revision,
        hash=template.record.hash,
    )


def _recorded(pool: FluxPool, defaults: Defaults, deployment: DeploymentView) -> Record | None:
    record = Record.from_text(deployment.basis) if deployment.basis else None
    if record is not None or pool.status.template is None:
        return record
    shown, given = pool.status.template, pool.spec.template
    # Status shows the user's image where they gave one; the default beside it is lost, and is not in force either.
    image = defaults.image if given.image else shown.image
    policy = defaults.image_pull_policy if given.image_pull_policy else shown.image_pull_policy
    return Record(Basis(image, policy, shown.revision), shown.hash)


def _make(pool: FluxPool, basis: Basis) -> Template:
    manifest = pod_template(pool, basis)
    record = Record(basis, digest(manifest))
    manifest["metadata"]["annotations"][TEMPLATE_HASH] = record.hash
    return Template(manifest, record)


def digest(content: Mapping[str, Any]) -> str:
    """A short name for exactly this content."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
