"""A cluster in memory: executes plans as the operator does, keeps the API server's books, and refuses impossible plans.

Server-side apply is imitated in what the reconciler looks at: `managedFields` records the paths that were applied, a
field that somebody else edits leaves the operator's record, and quantities are rewritten, so that values never compare.
`test_children_on_real_apiserver.py` shows that the real one agrees.
"""

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from api.pools import UID, body
from reconcile.outcomes import outcome

from fluxpool_operator.api import FluxPool, Status, read
from fluxpool_operator.reconcile import Plan, reconcile
from fluxpool_operator.resources import FIELD_MANAGER, child_name
from fluxpool_operator.scaling.outcome import Outcome
from fluxpool_operator.world import TEMPLATE_HASH, Defaults, PodView, Refusal, Snapshot

Object = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)
DEFAULTS = Defaults(image="fluxpool:1", image_pull_policy="IfNotPresent")
LIST_KEYS = {
    "containers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "ports": ("containerPort", "protocol"),
    "ownerReferences": ("uid",),
    "imagePullSecrets": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
ATOMIC = {"selector", "nodeSelector", "fieldRef", "secretKeyRef", "configMapKeyRef", "drop", "tolerations", "endpoints"}


@dataclass
class FakeCluster:
    """One pool and what belongs to it."""

    pool: Object = field(default_factory=body)
    children: dict[str, Object] = field(default_factory=dict)
    pods: tuple[PodView, ...] = ()
    outcome: Outcome | None = None
    batch_sizes: dict[str, int] = field(default_factory=dict)
    defaults: Defaults = DEFAULTS
    now: datetime = START
    may_upgrade: bool = True
    refuses: dict[str, str] = field(default_factory=dict)
    """What the API server says to the writing of a child, by kind."""
    refusals: tuple[Refusal, ...] = ()
    status_written_at: datetime | None = None
    status_writes: int = 0
    _tokens: int = 0

    # ---- the operator ------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        self._tokens += 1
        return Snapshot(
            pool=read(self.pool),
            defaults=self.defaults,
            fresh_token=f"a-fresh-random-token-{self._tokens}",
            children=copy.deepcopy(self.children),
            pods=tuple(self._see(pod) for pod in self.pods),
            outcome=self.outcome,
            batch_sizes=dict(self.batch_sizes),
            refusals=self.refusals,
            status_written_at=self.status_written_at,
            may_upgrade=self.may_upgrade,
        )

    def step(self, seconds: float = 0) -> Plan:
        """Let time pass, reconcile, check the plan, execute it."""
        self.now += timedelta(seconds=seconds)
        snapshot = self.snapshot()
        plan = reconcile(snapshot, self.now)
        refuse_impossible(plan, snapshot, self.now)
        self.execute(plan)
        return plan

    def settle(self) -> "FakeCluster":
        """Reconcile until nothing is left to do, as the whole operator would."""
        for _ in range(4):
            if self.step(seconds=11).empty:
                return self
        raise AssertionError("the plan never becomes empty")

    def execute(self, plan: Plan) -> None:
        if plan.status is not None:
            self.pool["status"] = merge(self.pool.get("status", {}), plan.status)
            self.status_written_at = self.now
            self.status_writes += 1
        refused = [change.kind for change in (*plan.applies, *plan.deletes) if change.kind in self.refuses]
        generation = self.pool["metadata"]["generation"]
        self.refusals = tuple(Refusal(kind, generation, self.refuses[kind]) for kind in refused)
        for item in plan.applies:
            if item.kind not in refused:
                self.children[item.kind] = applied(item.manifest, self.children.get(item.kind))
        for gone in plan.deletes:
            if gone.kind in refused:
                continue
            assert self.children.pop(gone.kind)["metadata"]["uid"] == gone.uid

    # ---- everybody else ----------------------------------------------------------------------------------------

    def change_spec(self, **spec: Any) -> None:
        self.pool["spec"] = {**self.pool["spec"], **spec}
        self.pool["metadata"]["generation"] += 1

    def edit(self, kind: str, path: str, value: Any) -> None:
        """As `kubectl edit` does: change a field and take it over. `path` is dotted; list items by index."""
        target, last = self._disown(kind, path)
        target[last] = value

    def remove(self, kind: str, path: str) -> None:
        target, last = self._disown(kind, path)
        del target[last]

    def _disown(self, kind: str, path: str) -> tuple[Object, str]:
        """Take a field from the operator's record; a key of a list item takes the whole item with it."""
        *parents, last = path.split(".")
        live: Any = self.children[kind]
        owned, above, name = live["metadata"]["managedFields"][0]["fieldsV1"], {}, ""
        for part in parents:
            above, live = owned, live[int(part)] if part.isdigit() else live[part]
            name = f"f:{part}"
            if part.isdigit():
                items = (n for n in owned if n.startswith("k:"))
                name = next(n for n in items if json.loads(n[2:]).items() <= live.items())
            owned = owned[name]
        if name.startswith("k:") and last in json.loads(name[2:]):
            del above[name]
        owned.pop(f"f:{last}", None)
        return live, last

    def start_pods(self, count: int, *, ready: bool = True, **fields: Any) -> tuple[PodView, ...]:
        """The Deployment's controller makes pods of the present template, and they become ready."""
        deployment = self.children["Deployment"]
        template_hash = deployment["spec"]["template"]["metadata"]["annotations"][TEMPLATE_HASH]
        first = len(self.pods)
        made = tuple(
            PodView(
                uid=f"pod-{n}",
                name=f"demo-{n}",
                created_at=self.now,
                template_hash=template_hash,
                ready=ready,
                ready_at=self.now if ready else None,
                **fields,
            )
            for n in range(first, first + count)
        )
        self.pods += made
        self._count_pods()
        return made

    def change_pods(self, chosen: Iterable[PodView], **fields: Any) -> None:
        names = {pod.name for pod in chosen}
        self.pods = tuple(replace(pod, **fields) if pod.name in names else pod for pod in self.pods)
        self._count_pods()

    def end_pods(self, chosen: Iterable[PodView]) -> None:
        names = {pod.name for pod in chosen}
        self.pods = tuple(pod for pod in self.pods if pod.name not in names)
        self._count_pods()

    def _count_pods(self) -> None:
        alive = [pod for pod in self.pods if not pod.terminating]
        status = self.children["Deployment"].setdefault("status", {})
        status |= {"replicas": len(alive), "readyReplicas": sum(pod.ready for pod in alive)}

    def _see(self, pod: PodView) -> PodView:
        deployment = self.children.get("Deployment")
        current = deployment["spec"]["template"]["metadata"]["annotations"].get(TEMPLATE_HASH) if deployment else None
        return replace(pod, current_template=pod.template_hash == current)

    # ---- to look at --------------------------------------------------------------------------------------------

    @property
    def status(self) -> Object:
        return dict(self.pool.get("status", {}))

    def condition(self, kind: str) -> Object:
        return next(dict(c) for c in self.status.get("conditions", ()) if c["type"] == kind)

    def verdict(self, kind: str) -> tuple[str, str]:
        condition = self.condition(kind)
        return condition["status"], condition["reason"]

    @property
    def replicas(self) -> int:
        return int(self.children["Deployment"]["spec"]["replicas"])

    @property
    def image(self) -> str:
        return str(self.children["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"])


def serving(replicas: int = 1) -> FakeCluster:
    """A pool with so many ready pods, with which the autoscaler is content."""
    cluster = FakeCluster(outcome=outcome(replicas)).settle()
    cluster.start_pods(replicas)
    return cluster.settle()


# ---- the API server's books -----------------------------------------------------------------------------------------


def applied(manifest: Mapping[str, Any], live: Object | None) -> Object:
    """The object after a server-side apply."""
    made = json.loads(json.dumps(manifest))
    stated = copy.deepcopy(made)
    for key in ("name", "namespace"):
        del stated["metadata"][key]
    owned = fields_v1({key: value for key, value in stated.items() if key not in {"apiVersion", "kind"}})
    made["metadata"]["uid"] = (live or {"metadata": {"uid": f"uid-of-{made['kind']}"}})["metadata"]["uid"]
    made["metadata"]["managedFields"] = [{"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": owned}]
    if made["kind"] == "Deployment":
        made["status"] = (live or {}).get("status", {})
        container = made["spec"]["template"]["spec"]["containers"][0]
        container["resources"] = {
            key: dict.fromkeys(numbers, "rewritten") for key, numbers in container["resources"].items()
        }
        container["stdin"] = False  # a default
    return dict(made)


def fields_v1(value: Any, name: str = "") -> Object:
    if name in ATOMIC:
        return {}
    if isinstance(value, Mapping):
        return {f"f:{key}": fields_v1(inner, key) for key, inner in value.items()} | ({".": {}} if name else {})
    if isinstance(value, list) and name in LIST_KEYS:
        keys = LIST_KEYS[name]
        if name == "ports" and value and "port" in value[0]:
            keys = ("port", "protocol")
        return {"k:" + json.dumps({k: item[k] for k in keys if k in item}): fields_v1(item, "item") for item in value}
    return {}


def merge(target: Mapping[str, Any], change: Mapping[str, Any]) -> Object:
    """A JSON merge patch (RFC 7386)."""
    merged = dict(target)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = merge(merged.get(key) or {}, value)
        else:
            merged[key] = value
    return merged


# ---- what no plan may do --------------------------------------------------------------------------------------------

STATUS_FIELDS = {info.alias or name for name, info in Status.model_fields.items()}


def refuse_impossible(plan: Plan, snapshot: Snapshot, now: datetime) -> None:
    """Raise AssertionError if the plan does what a reconcile must never do."""
    _refuse_impossible_status(plan, snapshot, now.strftime("%Y-%m-%dT%H:%M:%SZ"))
    for item in plan.applies:
        _refuse_impossible_apply(item.manifest, item.creates, snapshot)
    assert {gone.kind for gone in plan.deletes} <= {"ServiceMonitor", "Service"}, (
        "pods and tokens are never thrown away"
    )
    if isinstance(snapshot.pool, FluxPool) and snapshot.pool.spec.scaling.mode.operator_decides and plan.applies:
        scaling = snapshot.pool.spec.scaling
        assert plan.desired_replicas is not None
        assert scaling.floor <= plan.desired_replicas <= scaling.ceiling, "replicas out of bounds"
    assert plan.requeue_after_seconds is None or plan.requeue_after_seconds > 0, "a plan that spins"
    assert bool(plan.explanation) >= (not plan.empty), "a write without a word"


def _refuse_impossible_status(plan: Plan, snapshot: Snapshot, moment: str) -> None:
    if plan.status is None:
        assert not plan.events, "an event without the status that it tells of"
        return
    assert plan.status, "an empty write"
    assert plan.status.keys() <= STATUS_FIELDS, "only status is ours"
    before = snapshot.pool.status
    after = Status.model_validate(merge(before.model_dump(by_alias=True, exclude_none=True, mode="json"), plan.status))
    kinds = [condition.type for condition in after.conditions or ()]
    assert len(kinds) == len(set(kinds)), "one condition of each type"
    bad = {"Stalled": "True", "Reconciling": "True"}
    assert not all((c := after.condition(kind)) and c.status == status for kind, status in bad.items())
    for condition in after.conditions or ():
        known = before.condition(condition.type)
        same = known is not None and known.status == condition.status
        assert condition.last_transition_time == (known.last_transition_time if known and same else moment)


def _refuse_impossible_apply(manifest: Mapping[str, Any], creates: bool, snapshot: Snapshot) -> None:
    kind, metadata = manifest["kind"], manifest["metadata"]
    live = snapshot.children.get(kind)
    assert creates == (live is None)
    assert metadata["name"] == child_name(kind, snapshot.pool.metadata.name)
    assert metadata["ownerReferences"][0]["uid"] == snapshot.pool.metadata.uid == UID
    assert "status" not in manifest
    if live is not None:
        controllers = [ref["uid"] for ref in live["metadata"].get("ownerReferences", ()) if ref.get("controller")]
        assert controllers in ([], [UID]), f"{kind} belongs to somebody else"
        assert "deletionTimestamp" not in live["metadata"]
    if kind == "Deployment" and live is not None:
        assert manifest["spec"]["selector"] == live["spec"]["selector"], "a selector cannot change"
