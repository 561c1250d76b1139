"""The ways in which people apply a FluxPool, again and again."""

import json
from pathlib import Path

from fluxpool_demo import command
from fluxpool_demo.kube import Object

RELEASE = "tiny-pool"
ABOUT = {"apiVersion": "v2", "name": RELEASE, "version": "0.1.0"}


class Manifest:
    """One manifest in a file, and in a chart of its own."""

    def __init__(self, folder: Path, manifest: Object) -> None:
        self._namespace = manifest["metadata"]["namespace"]
        self._chart = folder / RELEASE
        self._file = self._chart / "templates" / "pool.yaml"
        self._file.parent.mkdir(parents=True)
        self._file.write_text(json.dumps(manifest, indent=1))
        (self._chart / "Chart.yaml").write_text(json.dumps(ABOUT))

    async def helm(self) -> None:
        """`helm upgrade --install`."""
        await command.run("helm", "upgrade", "--install", RELEASE, str(self._chart), "--namespace", self._namespace)

    async def client_side(self) -> None:
        """`kubectl apply`."""
        await command.run("kubectl", "apply", "--filename", str(self._file))

    async def server_side(self) -> None:
        """`kubectl apply --server-side --force-conflicts`, as GitOps tools do."""
        await command.run("kubectl", "apply", "--server-side", "--force-conflicts", "--filename", str(self._file))
