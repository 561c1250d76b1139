"""Who may edit or view Deployments in a namespace may edit or view FluxPools there, and scale them; nobody else may."""

from collections.abc import Iterator
from functools import partial

import pytest

from chart.kube import KubectlError, create_namespace, delete_namespace, kubectl, wait_for
from e2e.pools import broken
from e2e.stage import Stage
from fluxpool_demo.kube import Object

NAMESPACE = "e2e-people"
POOL = "theirs"
EDITOR, VIEWER, STRANGER = "an-editor", "a-viewer", "a-stranger"


@pytest.fixture(scope="module")
def pool(stage: Stage) -> Iterator[Object]:
    """A FluxPool that is still to be made, in a namespace with one who may edit and one who may view."""
    create_namespace(NAMESPACE)
    for role, person in (("edit", EDITOR), ("view", VIEWER)):
        kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={person}", f"--namespace={NAMESPACE}")
        wait_for(f"the role {role} to cover FluxPools", partial(may_list, person))
    yield stage.platform.pool(NAMESPACE, POOL, broken(stage.platform.model))
    kubectl("delete", "fluxpools", "--all", f"--namespace={NAMESPACE}")
    delete_namespace(NAMESPACE)


def may_list(person: str) -> bool:
    try:
        kubectl("get", "fluxpools", *(f"--namespace={NAMESPACE}", f"--as={person}"))
    except KubectlError:
        return False
    return True


async def test_an_editor_makes_changes_scales_and_deletes_a_pool(pool: Object, stage: Stage) -> None:
    as_editor = (f"--namespace={NAMESPACE}", f"--as={EDITOR}")
    kubectl("apply", *as_editor, given=pool)
    kubectl("scale", f"fluxpool/{POOL}", "--replicas=2", *as_editor)
    assert kubectl("get", "fluxpool", POOL, "--output=jsonpath={.spec.replicas}", *as_editor) == "2"
    kubectl("patch", "fluxpool", POOL, "--type=merge", '--patch={"spec":{"replicas":1}}', *as_editor)
    kubectl("delete", "fluxpool", POOL, *as_editor)
    with pytest.raises(KubectlError, match="NotFound"):
        kubectl("get", "fluxpool", POOL, *as_editor)


async def test_status_is_the_operators_alone(pool: Object, stage: Stage) -> None:
    kubectl("apply", given=pool)
    with pytest.raises(KubectlError, match=r"cannot patch resource .fluxpools/status"):
        kubectl(
            *("patch", "fluxpool", POOL, "--subresource=status", "--type=merge", '--patch={"status":{"replicas":9}}'),
            *(f"--namespace={NAMESPACE}", f"--as={EDITOR}"),
        )


async def test_a_viewer_only_looks(pool: Object, stage: Stage) -> None:
    as_viewer = (f"--namespace={NAMESPACE}", f"--as={VIEWER}")
    kubectl("apply", given=pool)
    assert POOL in kubectl("get", "fluxpools", *as_viewer)
    for change in (("delete", "fluxpool", POOL), ("scale", f"fluxpool/{POOL}", "--replicas=2")):
        with pytest.raises(KubectlError, match=f'User "{VIEWER}" cannot'):
            kubectl(*change, *as_viewer)


async def test_a_stranger_does_not_even_look(pool: Object, stage: Stage) -> None:
    with pytest.raises(KubectlError, match=f'User "{STRANGER}" cannot list'):
        kubectl("get", "fluxpools", f"--namespace={NAMESPACE}", f"--as={STRANGER}")
