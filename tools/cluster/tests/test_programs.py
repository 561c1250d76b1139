from pathlib import Path

import pytest

from fluxpool_cluster import programs


def test_equal_sources_flags_and_toolchain_give_the_same_key() -> None:
    assert programs.build_key("go1.26.8", "linux/amd64") == programs.build_key("go1.26.8", "linux/amd64")


@pytest.mark.parametrize(("version", "architecture"), [("go1.27.0", "linux/amd64"), ("go1.26.8", "linux/arm64")])
def test_another_toolchain_gives_another_key(version: str, architecture: str) -> None:
    assert programs.build_key(version, architecture) != programs.build_key("go1.26.8", "linux/amd64")


@pytest.mark.parametrize("module", ["k8s", "etcd", "prom", "coredns"])
@pytest.mark.parametrize("file", ["go.mod", "go.sum"])
def test_a_changed_module_file_gives_another_key(module: str, file: str) -> None:
    changed = programs.MODULES / module / file

    def read(path: Path) -> bytes:
        return path.read_bytes() + (b"\n" if path == changed else b"")

    assert programs.build_key("go1", "a", read) != programs.build_key("go1", "a")


@pytest.mark.parametrize("name", ["BUILD_ENVIRONMENT", "_BUILD_FLAGS", "KWOK_STAGE_FILES", "PAUSE_SOURCE"])
def test_a_changed_flag_or_source_gives_another_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = programs.build_key("go1", "a")
    monkeypatch.setattr(programs, name, type(getattr(programs, name))())
    assert programs.build_key("go1", "a") != before


def test_kubernetes_says_its_version_and_not_that_of_its_development_branch() -> None:
    command = next(p for p in programs.all_programs() if p.name == "kubelet").build_command(Path("out"))
    flags = next(word for word in command if word.startswith("-ldflags"))
    assert f"-X k8s.io/component-base/version.gitVersion={programs.module_version('k8s', 'k8s.io/kubernetes')}" in flags
    assert "-X k8s.io/client-go/pkg/version.gitMajor=1" in flags


def test_prometheus_keeps_kubernetes_discovery_and_says_its_release() -> None:
    command = next(p for p in programs.all_programs() if p.name == "prometheus").build_command(Path("out"))
    assert "-tags=remove_all_sd,enable_kubernetes_sd" in command
    assert programs._prometheus_release("v0.315.2") == "3.15.2"
    assert programs._prometheus_release("v0.305.0") == "3.5.0"


def test_builds_are_reproducible_and_offline_from_the_sums() -> None:
    for program in programs.all_programs():
        command = program.build_command(Path("out"))
        assert {"-mod=readonly", "-trimpath", "-buildvcs=false"} <= set(command)


def test_the_highest_of_the_modules_go_versions_is_required() -> None:
    assert programs.required_go() >= (1, 26, 0)


def test_a_dependency_that_is_not_required_is_named() -> None:
    with pytest.raises(LookupError, match=r"go/etcd/go\.mod does not require example\.com/none"):
        programs.module_version("etcd", "example.com/none")
