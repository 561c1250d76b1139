"""skaffold.yaml names files, images and Helm values that there are. Its form was held to Skaffold's schema by hand."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

TOP = Path(__file__).parents[2]
CONFIG = yaml.safe_load((TOP / "skaffold.yaml").read_text())
(RELEASE,) = CONFIG["deploy"]["helm"]["releases"]
(DEV,) = CONFIG["profiles"]
VALUES = yaml.safe_load((TOP / RELEASE["chartPath"] / "values.yaml").read_text())
IMAGES = {artifact["image"]: artifact for artifact in CONFIG["build"]["artifacts"]}


def chart_value(path: str) -> Any:
    value = VALUES
    for key in path.split("."):
        value = value[key]
    return value


def values_of_dev() -> dict[str, Any]:
    prefix = "/deploy/helm/releases/0/setValues/"
    return {
        patch["path"].removeprefix(prefix): patch["value"]
        for patch in DEV["patches"]
        if patch["path"].startswith(prefix)
    }


def test_both_images_are_built_from_the_root_by_their_containerfiles() -> None:
    files = {name: (artifact["context"], artifact["docker"]["dockerfile"]) for name, artifact in IMAGES.items()}
    assert files == {f"fluxpool-{d}": (".", f"{d}/Containerfile") for d in ("operator", "inference")}
    assert all((TOP / file).is_file() for _, file in files.values())


def test_every_helm_value_that_is_set_is_one_of_the_chart() -> None:
    given = [*RELEASE["setValues"].items(), *values_of_dev().items()]
    assert len(given) == 3
    for path, value in given:
        assert type(chart_value(path)) is type(value), path
    for path in RELEASE["setValueTemplates"]:
        assert chart_value(path) is not None


@pytest.mark.parametrize("component", ["operator", "inference"])
def test_the_chart_gets_name_tag_and_digest_of_each_image_that_was_built(component: str) -> None:
    assert f"fluxpool-{component}" in IMAGES
    given = {
        path.removeprefix(f"{component}.image."): template
        for path, template in RELEASE["setValueTemplates"].items()
        if path.startswith(f"{component}.")
    }
    name = f"fluxpool_{component}"  # Skaffold's spelling of an artifact in templates
    parts = {"repository": "REPO", "tag": "TAG", "digest": "DIGEST"}
    assert given == {part: f"{{{{.IMAGE_{word}_{name}}}}}" for part, word in parts.items()}


def test_an_image_that_is_not_replaced_has_the_name_it_is_built_under() -> None:
    """In the chart's defaults and in the manifests of the profile: Skaffold finds images by name."""
    assert {VALUES[component]["image"]["repository"] for component in ("operator", "inference")} == set(IMAGES)
    for manifest in DEV["manifests"]["rawYaml"]:
        images = re.findall(r"^ +(?:- )?image: (\S+?):", (TOP / manifest).read_text(), re.MULTILINE)
        assert images
        assert set(images) <= set(IMAGES)


def test_patches_of_the_profile_have_a_place_to_go() -> None:
    for patch in DEV["patches"]:
        place: Any = CONFIG
        for key in patch["path"].strip("/").split("/")[:-1]:
            place = place[int(key) if isinstance(place, list) else key]
        assert isinstance(place, dict)


def test_the_pool_of_the_profile_takes_every_image_that_is_built_and_its_job_is_made_anew() -> None:
    (manifest,) = DEV["manifests"]["rawYaml"]
    objects = {o["kind"]: o for o in yaml.safe_load_all((TOP / manifest).read_text())}
    assert objects["FluxPool"]["spec"]["rollout"]["onUpgrade"] is True
    (kubectl,) = [patch["value"] for patch in DEV["patches"] if patch["path"] == "/deploy/kubectl"]
    (hook,) = kubectl["hooks"]["before"]
    assert f"delete job {objects['Job']['metadata']['name']} " in hook["host"]["command"][-1]


def test_ports_are_forwarded_from_services_that_will_be_there() -> None:
    pool, prometheus = DEV["portForward"]
    (manifest,) = DEV["manifests"]["rawYaml"]
    assert (pool["resourceName"], pool["port"]) == (Path(manifest).stem, 80)
    assert prometheus["resourceName"] == f"{RELEASE['name']}-prometheus"
    assert prometheus["namespace"] == RELEASE["namespace"]
