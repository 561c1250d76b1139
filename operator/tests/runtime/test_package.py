"""The folder, the process and the command line, each in a clean interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

OPERATOR = Path(__file__).parents[2]
ROOT = OPERATOR.parent


def run(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("FLUXPOOL_")}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env={**clean, **environment}, capture_output=True, text=True, check=False
    )


def test_the_folder_named_operator_is_no_package() -> None:
    """The standard library has a module `operator`, and `collections` imports it.

    With an `operator/__init__.py` the folder is a package of that name for every interpreter started in the
    repository's root, and nothing works any more.
    """
    assert not (OPERATOR / "__init__.py").exists()
    done = run("-S", "-c", "import sys; sys.path.insert(0, ''); import operator, collections; print(operator.__file__)")
    assert done.returncode == 0, done.stderr
    assert str(OPERATOR) not in done.stdout


def test_a_bad_setting_ends_with_code_2_and_one_line() -> None:
    done = run("-m", "fluxpool_operator", "run", FLUXPOOL_OPERATOR_WORKERS="none")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("fluxpool-operator: FLUXPOOL_OPERATOR_WORKERS: ")
    assert done.stderr.count("\n") == 1


def test_without_a_way_to_log_in_the_process_ends_with_code_2_and_one_line(tmp_path: Path) -> None:
    done = run(
        *("-m", "fluxpool_operator", "run", "--inference-image", "x", "--http-port", "18399"),
        HOME=str(tmp_path),
        KUBECONFIG=str(tmp_path / "none"),
    )
    assert done.returncode == 2
    assert "fluxpool-operator: no way to log in to a cluster" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["walk"], ["run", "--speed", "9"], ["crd", "--check", "--write"]])
def test_a_command_line_that_does_not_parse_ends_with_code_2(arguments: list[str]) -> None:
    assert run("-m", "fluxpool_operator", *arguments).returncode == 2


def test_the_crd_is_printed_and_checked(tmp_path: Path) -> None:
    printed = run("-m", "fluxpool_operator", "crd")
    assert printed.returncode == 0
    assert printed.stdout == (ROOT / "crds" / "fluxpools.fluxpool.dev.yaml").read_text()
    assert run("-m", "fluxpool_operator", "crd", "--check").returncode == 0
    missing = run("-m", "fluxpool_operator", "crd", "--check", cwd=tmp_path)
    assert missing.returncode == 1
    assert "crds/fluxpools.fluxpool.dev.yaml is missing" in missing.stdout
    written = run("-m", "fluxpool_operator", "crd", "--write", "--root", str(tmp_path))
    assert written.returncode == 0
    assert run("-m", "fluxpool_operator", "crd", "--check", "--root", str(tmp_path)).returncode == 0


def test_the_crd_command_loads_neither_kopf_nor_kubernetes() -> None:
    """It runs in CI and in `make generate`, where every second counts."""
    code = "import sys; from fluxpool_operator.__main__ import main; main(['crd']); print(sorted(sys.modules))"
    modules = run("-c", code).stdout.splitlines()[-1]
    assert "'yaml'" in modules
    assert "'kopf'" not in modules
    assert "'kubernetes'" not in modules


def test_the_version_is_the_packages() -> None:
    done = run("-m", "fluxpool_operator", "--version")
    assert done.stdout.strip() == "0.1.0"
