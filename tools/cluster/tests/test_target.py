import os
from pathlib import Path

import pytest

from fluxpool_cluster import health, layout, target
from fluxpool_cluster.errors import NotUpError, TargetError
from fluxpool_cluster.layout import Layer, Layout
from fluxpool_cluster.target import Target

LAB = Target(True, "fluxpool-lab", "/somewhere")
CURRENT = Target(False, "production", None)


@pytest.fixture
def where(homes: Path) -> Layout:
    where = Layout(layout.state_folder())
    where.state.mkdir(parents=True)
    health.save(where, health.Summary(Layer.NODE, Path("/binaries"), 16443, "nvidia.com/gpu", 4))
    return where


def test_without_a_wish_it_is_the_labs(where: Layout) -> None:
    assert target.choose({}) == Target(True, "fluxpool-lab", str(where.kubeconfig))
    assert target.choose({"CLUSTER": ""}).lab


def test_a_lab_that_is_not_up_is_an_error_with_the_remedy(homes: Path) -> None:
    with pytest.raises(NotUpError, match="make cluster-up"):
        target.choose({"CLUSTER": "lab"})


def test_a_context_that_is_not_the_labs_is_refused_unless_it_is_named() -> None:
    with pytest.raises(
        TargetError, match=r"context 'production', which is not the lab's\nremedy: .*CLUSTER_CONTEXT=production"
    ):
        target.choose({"CLUSTER": "current"}, lambda: "production")
    with pytest.raises(TargetError):
        target.choose({"CLUSTER": "current", "CLUSTER_CONTEXT": "staging"}, lambda: "production")
    named = {"CLUSTER": "current", "CLUSTER_CONTEXT": "production", "KUBECONFIG": "/k"}
    assert target.choose(named, lambda: "production") == Target(False, "production", "/k")


def test_the_labs_own_context_may_be_the_current_one() -> None:
    assert target.choose({"CLUSTER": "current"}, lambda: "fluxpool-lab").context == "fluxpool-lab"


def test_an_unknown_wish_is_refused() -> None:
    with pytest.raises(TargetError, match="CLUSTER=prod is not known"):
        target.choose({"CLUSTER": "prod"})


def test_a_command_in_the_lab_has_its_programs_its_kubeconfig_and_no_proxy(where: Layout) -> None:
    environment = target.command_environment(
        LAB, {"PATH": "/bin", "HTTPS_PROXY": "http://p", "no_proxy": "x", "A": "1"}
    )
    assert environment["PATH"].startswith("/binaries:")
    assert environment["KUBECONFIG"] == str(where.inside_kubeconfig)
    assert environment["A"] == "1"
    assert not {name for name in environment if name.lower().endswith("_proxy")}


def test_caches_of_kubectl_and_helm_end_with_the_cluster(where: Layout) -> None:
    environment = target.command_environment(LAB, {})
    for name in ("KUBECACHEDIR", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"):
        assert Path(environment[name]).is_relative_to(where.state)


def test_a_command_on_another_cluster_keeps_its_environment() -> None:
    given = {"PATH": "/bin", "HTTPS_PROXY": "http://p", "KUBECONFIG": "/k"}
    assert target.command_environment(CURRENT, given) == given


def test_the_tools_own_entry_of_the_python_path_is_not_handed_on() -> None:
    own = str(Path(target.__file__).parents[1])
    assert target.command_environment(CURRENT, {"PYTHONPATH": own}) == {}
    assert target.command_environment(CURRENT, {"PYTHONPATH": f"{os.path.relpath(own)}:/mine"}) == {
        "PYTHONPATH": "/mine"
    }
