"""Every example is one the real API server takes, and uses the images that the chart uses."""

import re
from pathlib import Path

import pytest
import yaml

from chart.helm import OWN_PROMETHEUS, TOP, Object, environment, of_kind, only, render
from chart.kube import KubectlError, kubectl, names

FILES = sorted((TOP / "examples").glob("*.yaml"))
IDENTIFIERS = [path.stem for path in FILES]


def objects_of(path: Path) -> list[Object]:
    """The objects of a manifest."""
    return list(yaml.safe_load_all(path.read_text()))


def test_the_examples_are_those_of_the_readme() -> None:
    assert IDENTIFIERS == ["flux1-dev", "flux1-schnell", "tiny", "two-pools"]


@pytest.mark.parametrize("path", FILES, ids=IDENTIFIERS)
@pytest.mark.parametrize("how", [[], ["--server-side"]], ids=["client-side", "server-side"])
def test_the_api_server_takes_it_without_a_warning(path: Path, how: list[str], crd: Path) -> None:
    kubectl("apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", *how, f"--filename={path}")


@pytest.mark.parametrize("path", FILES, ids=IDENTIFIERS)
def test_a_misspelt_field_of_it_would_be_noticed(path: Path, crd: Path) -> None:
    pool = of_kind(objects_of(path), "FluxPool")[0]
    pool["spec"]["scalling"] = {}
    with pytest.raises(KubectlError, match=r'unknown field "(spec\.)?scalling"'):
        kubectl("apply", "--dry-run=server", "--validate=strict", given=pool)


@pytest.mark.parametrize("path", FILES, ids=IDENTIFIERS)
def test_a_person_is_told_what_it_is_and_how_to_apply_it(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ")
    assert f"kubectl apply -f examples/{path.name}" in text
    (waited,) = re.findall(r"kubectl wait ((?:fluxpool/\S+ )+)", text)
    pools = names(of_kind(objects_of(path), "FluxPool"))
    assert {name.lower() for name in pools} == set(waited.split())


def test_the_tiny_example_writes_its_model_with_the_charts_inference_image() -> None:
    (job,) = of_kind(objects_of(TOP / "examples" / "tiny.yaml"), "Job")
    image = environment(only(render(OWN_PROMETHEUS), "Deployment", "operator"))["FLUXPOOL_OPERATOR_INFERENCE_IMAGE"]
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == image
