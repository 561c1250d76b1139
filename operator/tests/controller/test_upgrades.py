"""A new default image, and the pools that take it: over a fake API server, in virtual time."""

from controller.fake_api import FakeApi
from controller.rig import Rig
from controller.virtual_time import run

from fluxpool_operator.cluster import kinds


def test_a_new_default_image_reaches_a_few_pools_at_a_time() -> None:
    async def main() -> None:
        api = FakeApi()
        names = [f"pool-{number}" for number in range(5)]
        for name in names:
            api.add_pool(name, rollout={"onUpgrade": True})
        await Rig(api).sync().settle()
        upgraded = Rig(api, image="fluxpool:2").sync()
        await upgraded.settle()
        assert _on(api, names, "fluxpool:2") == names[:3]
        await upgraded.settle()
        assert _on(api, names, "fluxpool:2") == names[:3], "the others wait until these run"
        _roll_out(api, names[0])
        upgraded.deliver()
        await upgraded.settle()
        assert _on(api, names, "fluxpool:2") == names[:4]

    run(main())


def _on(api: FakeApi, names: list[str], image: str) -> list[str]:
    def image_of(name: str) -> str:
        return str(api.get(kinds.DEPLOYMENT, name)["spec"]["template"]["spec"]["containers"][0]["image"])

    return [name for name in names if image_of(name) == image]


def _roll_out(api: FakeApi, name: str) -> None:
    """The Deployment's controller makes the one pod there shall be, and it becomes ready."""
    template = api.get(kinds.DEPLOYMENT, name)["spec"]["template"]["metadata"]
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    labels = {**template["labels"]}
    pod = {"metadata": {"name": f"{name}-0", "labels": labels, "annotations": template["annotations"]}}
    api.put(kinds.POD, {**pod, "spec": {}, "status": {"conditions": [ready]}})
    api.edit(kinds.DEPLOYMENT, name, status={"replicas": 1, "readyReplicas": 1})
