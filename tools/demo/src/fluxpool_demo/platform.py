"""What it takes to run fluxpool on the cluster at hand: images, Helm values, and additions to a FluxPool's template.

On the lab's cluster nothing is built: images hold only links, and pods mount the machine's /usr, Python and this
checkout read-only at their own paths. Any other cluster runs images that were built and pushed, and which these
variables name:

    FLUXPOOL_OPERATOR_IMAGE    repository:tag of the operator
    FLUXPOOL_INFERENCE_IMAGE   repository:tag of the inference server
    FLUXPOOL_TINY_MODEL        where that image holds what `fluxpool-inference tiny-model DIR` wrote
"""

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fluxpool_cluster import images, layout, paths
from fluxpool_cluster.pods import HostFolder, host_folders, python_folders
from fluxpool_demo import command
from fluxpool_demo.access import Access, ByClusterAddress, by_proxy
from fluxpool_demo.errors import DemoError
from fluxpool_demo.kube import Kube, Object, current_context

ROOT: Final = Path(__file__).resolve().parents[4]
CHART: Final = ROOT / "charts" / "fluxpool"
SCRATCH: Final = ROOT / "out" / "lab"
"""Images and the model; ignored by git."""

LAB: Final = "lab"
LAB_TAG: Final = "lab"
LAB_REGISTRY: Final = "localhost"
SCRAPE_SECONDS: Final = 2
PRIVILEGED: Final = {"pod-security.kubernetes.io/enforce": "privileged"}
_ENVIRONMENT: Final = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True)
class Platform:
    """How fluxpool runs on one cluster.

    Attributes:
        name: `lab`, or the name of the context.
        access: opens the way to Services.
        helm_values: for the chart.
        template: what `spec.template` of each FluxPool needs to run here.
        model: path of the tiny model as the pods see it.
        namespace_labels: for every namespace with pods of ours.
    """

    name: str
    in_cluster_network: bool
    helm_values: Mapping[str, Any]
    model: str
    template: Mapping[str, Any] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_lab(self) -> bool:
        """Whether this is the lab's cluster, which is there for us alone."""
        return self.name == LAB

    def access(self, kube: Kube) -> AbstractAsyncContextManager[Access]:
        """The way to Services."""
        return nullcontext(ByClusterAddress(kube)) if self.in_cluster_network else by_proxy()

    async def make_namespace(self, kube: Kube, name: str) -> None:
        """Create a namespace in which fluxpool's pods may run here."""
        metadata = {"name": name, "labels": dict(self.namespace_labels)}
        await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def pool(self, namespace: str, name: str, spec: Mapping[str, Any]) -> Object:
        """A FluxPool with this spec and what its pods need here; lists of the template are joined."""
        template = dict(spec.get("template") or {})
        for key, ours in self.template.items():
            template[key] = [*ours, *template.get(key, ())] if isinstance(ours, list) else template.get(key, ours)
        return {
            "apiVersion": "fluxpool.dev/v1alpha1",
            "kind": "FluxPool",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {**spec, "template": template},
        }


async def prepare() -> Platform:
    """Make ready what the chosen cluster needs (`CLUSTER`, see `fluxpool_cluster.target`).

    Raises:
        DemoError: a variable is missing.
        CommandError: an image cannot be imported, or the model cannot be written.
    """
    context = current_context()
    on_lab = context == layout.CONTEXT
    managed = os.environ.get("CLUSTER", "lab") == "lab"
    return await _prepare_lab(in_cluster_network=managed) if on_lab else _described(context)


# ---- the lab ---------------------------------------------------------------------------------------------------------


async def _prepare_lab(*, in_cluster_network: bool) -> Platform:
    operator, inference = (ROOT / name / ".venv" / "bin" / "python" for name in ("operator", "inference"))
    binaries = paths.binaries_folder()
    await _import("fluxpool-operator", [str(operator), "-m", "fluxpool_operator"])
    await import_inference(LAB_TAG)
    await _import("prometheus", [str(binaries / "prometheus")])
    model = await _tiny_model(inference)
    return Platform(
        name=LAB,
        in_cluster_network=in_cluster_network,
        helm_values=_lab_values(python_folders(operator, ROOT), host_folders([Path("/usr"), binaries])),
        model=str(model),
        template=_mounted(python_folders(inference, ROOT)),
        namespace_labels=PRIVILEGED,
    )


async def import_inference(tag: str) -> str:
    """Give the lab's container runtime the inference image under a tag. Returns its name."""
    python = ROOT / "inference" / ".venv" / "bin" / "python"
    return await _import("fluxpool-inference", [str(python), "-m", "fluxpool_inference", "serve"], tag)


async def _import(repository: str, entrypoint: Sequence[str], tag: str = LAB_TAG) -> str:
    ref = f"{LAB_REGISTRY}/{repository}:{tag}"
    tar = images.links_image(SCRATCH / f"{repository}-{tag}.tar", ref, entrypoint=entrypoint, env=_ENVIRONMENT)
    await command.run(sys.executable, "-m", "fluxpool_cluster", "image", str(tar))
    return ref


async def _tiny_model(python: Path) -> Path:
    """The tiny model, written once for each version of its writer."""
    writer = ROOT / "inference" / "src" / "fluxpool_inference" / "tiny_model.py"
    folder = SCRATCH / f"tiny-model-{hashlib.sha256(writer.read_bytes()).hexdigest()[:12]}"
    if not (folder / "model_index.json").exists():
        await command.run(str(python), "-m", "fluxpool_inference", "tiny-model", str(folder))
        for file in folder.rglob("*.safetensors"):
            file.chmod(0o644)  # written for its owner alone, and pods run as somebody else
    return folder


def _lab_values(operator: Sequence[HostFolder], prometheus: Sequence[HostFolder]) -> dict[str, Any]:
    def extra(folders: Sequence[HostFolder]) -> dict[str, Any]:
        mounted = _mounted(folders)
        return {"extraVolumes": mounted["volumes"], "extraVolumeMounts": mounted["volumeMounts"]}

    return {
        "operator": {"image": _lab_image("fluxpool-operator"), **extra(operator)},
        "inference": {"image": _lab_image("fluxpool-inference")},
        "prometheus": {
            "install": True,
            "server": {
                "image": _lab_image("prometheus"),
                "scrapeInterval": f"{SCRAPE_SECONDS}s",
                **extra(prometheus),
            },
        },
    }


def _lab_image(repository: str) -> dict[str, str]:
    return {"registry": LAB_REGISTRY, "repository": repository, "tag": LAB_TAG, "pullPolicy": "Never"}


def _mounted(folders: Sequence[HostFolder]) -> dict[str, list[dict[str, Any]]]:
    return {
        "volumes": [folder.volume() for folder in folders],
        "volumeMounts": [folder.volume_mount() for folder in folders],
    }


# ---- any other cluster -----------------------------------------------------------------------------------------------


def _described(context: str, environment: Mapping[str, str] = os.environ) -> Platform:
    needed = ("FLUXPOOL_OPERATOR_IMAGE", "FLUXPOOL_INFERENCE_IMAGE", "FLUXPOOL_TINY_MODEL")
    missing = [name for name in needed if not environment.get(name)]
    if missing:
        raise DemoError(f"the cluster of context {context} needs images and a model: set {', '.join(missing)}")
    operator, inference, model = (environment[name] for name in needed)
    return Platform(
        name=context,
        in_cluster_network=False,
        helm_values={
            "operator": {"image": _image(operator)},
            "inference": {"image": _image(inference)},
            "prometheus": {"install": True, "server": {"scrapeInterval": f"{SCRAPE_SECONDS}s"}},
        },
        model=model,
    )


def _image(ref: str) -> dict[str, str]:
    repository, colon, tag = ref.rpartition(":")
    if not colon or "/" in tag:
        raise DemoError(f"{ref} has no tag: write repository:tag")
    return {"registry": "", "repository": repository, "tag": tag}
