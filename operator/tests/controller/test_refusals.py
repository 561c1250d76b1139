"""What the API server refuses: told to the user, tried again, and in nobody's way."""

from controller.rig import Rig
from controller.virtual_time import now, run

from fluxpool_operator.cluster import kinds
from fluxpool_operator.errors import (
    ForbiddenError,
    InvalidError,
    NamespaceEndsError,
)

CREATED = ["status demo", "apply Secret demo-admin", "apply Deployment demo", "apply Service demo"]
CREATED += ["apply PodDisruptionBudget demo"]
REFUSAL = InvalidError("apply Deployment default/demo", "spec.template: unknown toleration operator")


def test_a_refused_child_does_not_hold_up_the_others_and_is_told_to_the_user() -> None:
    async def main() -> None:
        rig = Rig()
        rig.api.failures["apply Deployment demo"] = REFUSAL
        rig.api.add_pool()
        rig.deliver()
        assert await rig.work() == [*CREATED, "status demo", "apply Deployment demo"]
        assert now() == 0
        assert verdict(rig, "Stalled") == ("True", "Refused", str(REFUSAL))
        assert verdict(rig, "Ready") == ("False", "Refused", str(REFUSAL))
        del rig.api.failures["apply Deployment demo"]
        assert await rig.next() == "ok"
        assert now() == 1, "the first backoff"
        assert await rig.work() == ["status demo"]
        assert verdict(rig, "Stalled")[:2] == ("False", "Progressing")

    run(main())


def test_a_child_that_is_refused_again_and_again_is_tried_with_backoff_and_said_in_the_same_words() -> None:
    async def main() -> None:
        rig = Rig()
        rig.api.failures["apply Deployment demo"] = REFUSAL
        rig.api.add_pool()
        rig.deliver()
        await rig.settle()
        written = len(rig.api.writes)
        assert [await rig.next() for _ in range(3)] == ["error"] * 3
        assert rig.api.writes[written:] == ["apply Deployment demo"] * 3
        assert now() == 2 + 4 + 8, "its own status has come back once before"
        assert set(rig.api.notes) == {("Refused", str(REFUSAL))}, "so that events are counted, and no more are made"

    run(main())


def test_what_is_refused_of_a_new_spec_is_in_the_status_at_once_however_long_the_former_was_refused() -> None:
    async def main() -> None:
        rig = Rig()
        key = rig.api.add_pool()
        rig.api.failures["apply Deployment demo"] = REFUSAL
        rig.deliver()
        await rig.settle()
        for _ in range(8):
            await rig.next()
        body = rig.api.get(kinds.FLUXPOOL)
        another = InvalidError("apply Deployment default/demo", "another typo")
        rig.api.failures["apply Deployment demo"] = another
        rig.api.edit(kinds.FLUXPOOL, metadata={**body["metadata"], "generation": 2})
        rig.deliver()
        before = now()
        await rig.work()
        assert now() == before
        assert verdict(rig, "Stalled") == ("True", "Refused", str(another))
        del rig.api.failures["apply Deployment demo"]
        assert (await rig.queue.get())[0] == key
        assert now() == before + 1, "what the former spec came to does not hold up this one"

    run(main())


def test_a_child_that_may_not_be_deleted_does_not_hold_up_the_others_and_is_told_to_the_user() -> None:
    async def main() -> None:
        rig = Rig()
        rig.api.add_pool()
        rig.deliver()
        await rig.settle()
        refusal = ForbiddenError("delete Service default/demo", 'User "x" cannot delete resource "services"')
        rig.api.failures["delete Service demo"] = refusal
        renumbered = [{"name": "http", "port": 8080}]
        rig.api.edit(kinds.SERVICE, spec={**rig.api.get(kinds.SERVICE)["spec"], "ports": renumbered})
        rig.deliver()
        assert await rig.work() == ["delete Service demo", "status demo", "delete Service demo"]
        assert verdict(rig, "Stalled") == ("True", "Refused", str(refusal))
        del rig.api.failures["delete Service demo"]
        await rig.next()
        rig.deliver()
        assert "apply Service demo" in await rig.settle()
        assert verdict(rig, "Stalled")[:2] == ("False", "Progressing")

    run(main())


def test_in_a_namespace_that_is_being_deleted_no_child_is_tried_again_and_nobody_is_told() -> None:
    async def main() -> None:
        rig = Rig()
        ends = NamespaceEndsError("apply Secret default/demo-admin", "because it is being terminated")
        rig.api.failures["apply Secret demo-admin"] = ends
        rig.api.add_pool()
        rig.deliver()
        assert await rig.next() == "ok"
        written = len(rig.api.writes)
        rig.api.edit(kinds.FLUXPOOL, metadata={**rig.api.get(kinds.FLUXPOOL)["metadata"], "generation": 2})
        rig.deliver()
        await rig.settle()
        assert set(rig.api.writes[written:]) <= {"status demo"}
        assert "Refused" not in {reason for reason, _ in rig.api.notes}

    run(main())


def verdict(rig: Rig, kind: str) -> tuple[str, str, str]:
    conditions = rig.api.get(kinds.FLUXPOOL)["status"]["conditions"]
    return next((c["status"], c["reason"], c["message"]) for c in conditions if c["type"] == kind)
