"""The images, as far as they can be known without a container engine; the build of one is rehearsed."""

import importlib
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from repository import rehearsal
from repository.containerfile import Ignore, Instruction, read

TOP = Path(__file__).parents[2]
IMAGES = ["operator", "inference"]
IGNORE = Ignore.of(TOP / ".dockerignore")


def instructions(image: str, name: str) -> list[Instruction]:
    return [found for found in read(TOP / image / "Containerfile") if found.name == name]


def last(image: str, name: str) -> Instruction:
    return instructions(image, name)[-1]


def project(folder: str) -> Any:
    return tomllib.loads((TOP / folder / "pyproject.toml").read_text())


def copied_from_the_context(image: str) -> list[str]:
    copies = [copy for copy in instructions(image, "COPY") if "from" not in copy.flags]
    return [source for copy in copies for source in copy.words[:-1]]


@pytest.mark.parametrize("image", IMAGES)
def test_everything_that_is_copied_exists_and_is_let_into_the_context(image: str) -> None:
    sources = copied_from_the_context(image)
    assert sources
    for source in sources:
        assert (TOP / source).exists(), source
        assert not IGNORE.excludes(source), source


@pytest.mark.parametrize("image", IMAGES)
def test_every_distribution_that_the_lock_takes_from_this_repository_is_copied(image: str) -> None:
    sources = project(image).get("tool", {}).get("uv", {}).get("sources", {}).values()
    folders = [image, *(str((TOP / image / source["path"]).resolve().relative_to(TOP)) for source in sources)]
    for folder in folders:
        built_from = {f"{folder}/pyproject.toml", f"{folder}/{project(folder)['project']['readme']}", f"{folder}/src"}
        assert built_from <= set(copied_from_the_context(image))


@pytest.mark.parametrize(
    "path",
    [".git/config", "README.md", "operator/tests/x.py", "operator/.venv/bin/python", "operator/src/a/__pycache__"],
)
def test_the_context_holds_nothing_else(path: str) -> None:
    assert IGNORE.excludes(path)


@pytest.mark.parametrize("image", IMAGES)
def test_environments_are_as_locked_and_without_the_tools_of_developers(image: str) -> None:
    syncs = [run.text for run in instructions(image, "RUN") if "uv sync" in run.text]
    assert len(syncs) == 2
    assert all({"--locked", "--no-dev", "--no-editable"} <= set(sync.split()) for sync in syncs)


@pytest.mark.parametrize("image", IMAGES)
def test_the_user_is_the_one_that_pods_run_as(image: str) -> None:
    values = yaml.safe_load((TOP / "charts" / "fluxpool" / "values.yaml").read_text())
    context = values["operator"]["podSecurityContext"]
    assert last(image, "USER").text == f"{context['runAsUser']}:{context['runAsGroup']}" == "65532:65532"


@pytest.mark.parametrize("image", IMAGES)
def test_it_starts_without_a_shell_by_a_script_of_its_distribution(image: str) -> None:
    entrypoint, command = last(image, "ENTRYPOINT"), last(image, "CMD")
    assert entrypoint.text.startswith("[")
    assert command.text.startswith("[")
    assert entrypoint.words == list(project(image)["project"]["scripts"])


def test_the_pods_of_a_pool_and_of_the_chart_give_arguments_that_fit_the_entrypoints() -> None:
    """A pool's pods give none, so that the image serves; the chart's operator and the tiny example's Job do."""
    assert last("inference", "CMD").words == ["serve"]
    assert last("operator", "CMD").words == ["run"]
    assert "args: [run]" in (TOP / "charts" / "fluxpool" / "templates" / "operator-deployment.yaml").read_text()
    assert "args: [tiny-model," in (TOP / "examples" / "tiny.yaml").read_text()


def test_ports_and_folders_are_those_of_the_contract() -> None:
    contract = importlib.import_module("fluxpool_operator.contract")
    assert last("inference", "EXPOSE").words == [str(contract.HTTP_PORT), str(contract.ADMIN_PORT)]
    assert last("inference", "ENV").assignments["HF_HOME"] == contract.MODEL_CACHE_DIR


@pytest.mark.parametrize("image", IMAGES)
def test_nothing_is_written_beside_the_code_and_the_home_is_what_pods_can_write(image: str) -> None:
    environment = last(image, "ENV").assignments
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert environment["HOME"] == "/tmp"


def test_the_image_claims_no_gpu_that_the_scheduler_has_not_given_it() -> None:
    environment = last("inference", "ENV").assignments
    assert environment["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert "NVIDIA_VISIBLE_DEVICES" not in environment


def test_images_have_the_python_that_is_checked_and_tested() -> None:
    checked = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["mypy"]["python_version"]
    bases = {instructions(image, "ARG")[0].assignments["PYTHON_IMAGE"] for image in IMAGES}
    (base,) = bases
    assert base == f"docker.io/library/python:{checked}-slim-bookworm"


@pytest.mark.parametrize("image", IMAGES)
def test_the_version_of_the_image_is_that_of_the_program(image: str) -> None:
    (version,) = [arg.assignments["VERSION"] for arg in instructions(image, "ARG") if "VERSION" in arg.assignments]
    assert version == project(image)["project"]["version"]


@pytest.mark.skipif(rehearsal.can_rehearse() != "", reason=rehearsal.can_rehearse())
@pytest.mark.timeout(300)
def test_the_operators_image_can_be_built_and_runs_as_its_user_on_a_read_only_root() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        image = rehearsal.build(TOP / "operator" / "Containerfile", Path(scratch))
        version, without_settings = rehearsal.run(image, "--version"), rehearsal.run(image)
    assert (version.returncode, version.stdout.strip()) == (0, project("operator")["project"]["version"])
    assert without_settings.returncode == 2
    assert without_settings.stderr.startswith("fluxpool-operator: FLUXPOOL_OPERATOR_INFERENCE_IMAGE is not set")
