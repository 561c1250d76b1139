"""The CustomResourceDefinition of FluxPool: made from the types, committed for kubectl and in the Helm chart."""

from pathlib import Path
from typing import Any, Final

import yaml

from fluxpool_operator.api.base import JsonDict
from fluxpool_operator.api.fluxpool import GROUP, KIND, PLURAL, VERSION, FluxPool
from fluxpool_operator.api.schema import structural_schema

CRD_NAME: Final = f"{PLURAL}.{GROUP}"
MANIFEST: Final = Path("crds") / f"{CRD_NAME}.yaml"
CHART_COPY: Final = Path("charts") / "fluxpool" / "templates" / "crd-fluxpools.yaml"

_HEADER: Final = "Generated from the types in operator/src/fluxpool_operator/api: `make generate` writes it."
_COLUMNS: Final = (
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether the endpoint serves."),
    ("Model", "string", ".spec.model.source", "What it serves."),
    ("Replicas", "integer", ".status.replicas", "Pods there are."),
    ("Desired", "integer", ".status.desired.replicas", "Pods there shall be."),
    ("Batch", "integer", ".status.batchSize", "The batch size the pods run with."),
    ("Age", "date", ".metadata.creationTimestamp", "Time since it was made."),
)


def definition() -> JsonDict:
    """The manifest as a dict."""
    columns = [{"name": n, "type": t, "jsonPath": p, "description": d} for n, t, p, d in _COLUMNS]
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": columns,
        "subresources": {"status": {}, "scale": scale},
        "schema": {"openAPIV3Schema": _root_schema()},
    }
    names = {"kind": KIND, "listKind": f"{KIND}List", "plural": PLURAL, "singular": KIND.lower(), "shortNames": ["fp"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD_NAME},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def _root_schema() -> JsonDict:
    """The object's schema; metadata is the API server's own business, and so are apiVersion and kind."""
    schema = structural_schema(FluxPool)
    schema["required"] = ["spec"]
    schema["properties"] = {
        "apiVersion": {"description": f"Always {GROUP}/{VERSION}.", "type": "string"},
        "kind": {"description": f"Always {KIND}.", "type": "string"},
        "metadata": {"type": "object"},
        "spec": schema["properties"]["spec"],
        "status": schema["properties"]["status"],
    }
    return schema


def render() -> str:
    """The manifest as committed in `crds/`."""
    return f"# {_HEADER}\n{_to_yaml(definition())}"


def render_for_chart() -> str:
    """The chart's template: the same, if `crds.enabled`, and kept when the release goes.

    Deleting a CustomResourceDefinition deletes every FluxPool in the cluster, so Helm must leave it alone.
    """
    crd = definition()
    crd["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    body = _to_yaml(crd)
    if "{{" in body:
        raise ValueError("a description contains {{, which Helm would read as a template")
    return f"{{{{- /* {_HEADER} */ -}}}}\n{{{{- if .Values.crds.enabled }}}}\n{body}{{{{- end }}}}\n"


def write(root: Path) -> list[Path]:
    """Write both files below the repository's root; returns those that changed."""
    changed = []
    for path, text in _files():
        target = root / path
        if not target.exists() or target.read_text() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            changed.append(path)
    return changed


def check(root: Path) -> list[str]:
    """One line per file that differs from what the types say; empty when all is well."""
    problems = []
    for path, text in _files():
        target = root / path
        if not target.exists():
            problems.append(f"{path} is missing: run `fluxpool-operator crd --write`")
        elif target.read_text() != text:
            problems.append(f"{path} differs from the types: run `fluxpool-operator crd --write`")
    return problems


def _files() -> list[tuple[Path, str]]:
    return [(MANIFEST, render()), (CHART_COPY, render_for_chart())]


class _Dumper(yaml.SafeDumper):
    """Block style with indented lists, as people write Kubernetes manifests, and no anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - its signature
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - its signature
        return True


def _to_yaml(manifest: JsonDict) -> str:
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=118, allow_unicode=True)
