"""The chart as Skaffold calls Helm: with `--set`, and with the name, tag and digest that a build gave each image."""

from typing import Any

import pytest
import yaml

from chart.helm import CHART, NAMESPACE, TOP, container, environment, helm, only

(RELEASE,) = yaml.safe_load((TOP / "skaffold.yaml").read_text())["deploy"]["helm"]["releases"]
TAG = "4b227777d4dd1fc61c6f884f48641d02b4d121d3fd328cb08b5531fcacdabf8a"
DIGEST = "sha256:" + TAG


def rendered(digest: str) -> list[dict[str, Any]]:
    """What Skaffold would install, having built two images and pushed them (with a digest) or not (without)."""
    words = {"REPO": "registry.example/{name}", "TAG": TAG, "DIGEST": digest}
    values = {path: str(value).lower() for path, value in RELEASE["setValues"].items()}
    for path, template in RELEASE["setValueTemplates"].items():
        _, word, name = template.strip("{}.").split("_", 2)
        values[path] = words[word].format(name=name.replace("_", "-"))
    flags = [f"--set={path}={value}" for path, value in values.items()]
    text = helm("template", RELEASE["name"], str(CHART), f"--namespace={NAMESPACE}", *flags)
    return [document for document in yaml.safe_load_all(text) if document]


@pytest.mark.parametrize(("digest", "suffix"), [("", ""), (DIGEST, f"@{DIGEST}")], ids=["loaded", "pushed"])
def test_both_images_that_were_built_are_used(digest: str, suffix: str) -> None:
    operator = only(rendered(digest), "Deployment", "operator")
    assert container(operator)["image"] == f"registry.example/fluxpool-operator:{TAG}{suffix}"
    inference = environment(operator)["FLUXPOOL_OPERATOR_INFERENCE_IMAGE"]
    assert inference == f"registry.example/fluxpool-inference:{TAG}{suffix}"


def test_the_prometheus_that_the_dev_profile_forwards_is_installed() -> None:
    assert only(rendered(""), "Service", "prometheus")["metadata"]["name"] == "fluxpool-prometheus"
