import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxpool_cluster import cli, lifecycle, packages
from fluxpool_cluster.console import Console
from fluxpool_cluster.errors import PreconditionError
from fluxpool_cluster.layout import Layer, Layout
from fluxpool_cluster.lifecycle import Wish


@pytest.fixture(autouse=True)
def own_machine(homes: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PATH", os.environ["PATH"])  # put back what main changes
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_failure_is_one_sentence_and_a_remedy_and_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(console: Console) -> None:
        raise PreconditionError("these packages are missing: runc", "apt-get install runc")

    monkeypatch.setattr(packages, "install_missing", refuse)
    assert cli.main(["setup"]) == 1
    assert capsys.readouterr().err == (
        "fluxpool-cluster: these packages are missing: runc\nremedy: apt-get install runc\n"
    )


def test_an_interrupted_command_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(console: Console) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(packages, "install_missing", interrupt)
    assert cli.main(["setup"]) == 130
    assert capsys.readouterr().err == "fluxpool-cluster: interrupted\n"


def test_up_prints_the_kubeconfig_so_that_a_shell_can_take_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes: list[Wish] = []

    def up(wish: Wish, console: Console) -> Layout:
        wishes.append(wish)
        return Layout(Path("/state of mine"))

    monkeypatch.setattr(lifecycle, "up", up)
    assert cli.main(["up", "--layer", "control", "--gpus", "2", "--port", "17000"]) == 0
    assert capsys.readouterr().out == "export KUBECONFIG='/state of mine/kubeconfig'\n"
    assert cli.main(["up"]) == 0
    assert wishes == [Wish(Layer.CONTROL, host_port=17000, count=2), Wish(Layer.NODE)]


@pytest.mark.parametrize("arguments", [["run", "--", "true"], ["image", "x.tar"], ["kubeconfig"], ["fake-nodes", "3"]])
def test_what_needs_a_cluster_says_how_to_get_one(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    if arguments[0] == "image" and os.geteuid():
        pytest.skip("says first that it needs root")
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err == "fluxpool-cluster: no cluster is up\nremedy: make cluster-up\n"


def test_status_without_a_cluster_is_not_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 1
    assert capsys.readouterr().out == "no cluster is up\n"


def test_logs_of_an_unknown_component_name_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["logs", "kubelet"]) == 1
    assert "there is no component kubelet; there are: none" in capsys.readouterr().err
