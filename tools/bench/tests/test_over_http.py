"""The whole command against a real HTTP server."""

import json
from pathlib import Path

import pytest
from conftest import ImageServer
from PIL import Image

from fluxpool_bench.__main__ import main


def results(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "result.json").read_text()))


def test_a_closed_loop_keeps_as_many_requests_in_flight_as_asked_and_no_more(
    server: ImageServer, tmp_path: Path
) -> None:
    server.delay = 0.05
    assert main([server.url, "--requests", "12", "--concurrent", "3", "--warm-up", "0", "--out", str(tmp_path)]) == 0
    assert server.most_in_flight == 3
    [run] = results(tmp_path)["runs"]
    assert run["summary"]["ok"] == run["summary"]["images"] == len(run["requests"]) == len(server.bodies) == 12
    assert run["steps_by_rows"] == {"1": 6.0, "2": 6.0, "inf": 0.0}


def test_an_open_loop_sends_when_due_though_nothing_was_answered(server: ImageServer, tmp_path: Path) -> None:
    server.delay = 0.5
    assert (
        main([server.url, "--requests", "10", "--rate", "100", "--constant", "--warm-up", "0", "--out", str(tmp_path)])
        == 0
    )
    assert server.most_in_flight == 10
    [run] = results(tmp_path)["runs"]
    assert [round(r["due"], 3) for r in run["requests"]] == [i / 100 for i in range(10)]


def test_refusals_are_shown_and_never_retried(
    server: ImageServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.statuses = [429, 503, 500]
    assert main([server.url, "--requests", "5", "--concurrent", "1", "--warm-up", "0", "--out", str(tmp_path)]) == 0
    [run] = results(tmp_path)["runs"]
    assert [r["outcome"] for r in run["requests"]] == ["refused", "refused", "failed", "ok", "ok"]
    assert len(server.bodies) == 5
    assert "2 refused" in capsys.readouterr().out


def test_clients_that_give_up_hang_up_and_are_no_failures(
    server: ImageServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.delay = 0.3
    mix = tmp_path / "mix.toml"
    mix.write_text("[[kind]]\nsteps = 1\n[[kind]]\nsteps = 2\ngive_up_seconds = 0.05\n")
    args = ["--workload", str(mix), "--requests", "8", "--concurrent", "8", "--warm-up", "0", "--out", str(tmp_path)]
    assert main([server.url, *args]) == 0
    [run] = results(tmp_path)["runs"]
    outcomes = {(request["kind"].count("gives up"), request["outcome"]) for request in run["requests"]}
    assert outcomes == {(0, "ok"), (1, "gave up")}
    assert run["summary"]["failed"] == 0
    assert "given up by the clients" in capsys.readouterr().out


def test_a_comparison_runs_both_servers_in_turn_in_every_round(
    server: ImageServer, other_server: ImageServer, tmp_path: Path
) -> None:
    server.delay, other_server.delay = 0.005, 0.03
    args = [
        server.url,
        "--compare",
        other_server.url,
        "--requests",
        "4",
        "--rounds",
        "4",
        "--concurrent",
        "1,2",
        "--out",
        str(tmp_path),
    ]
    assert main(args) == 0
    document = results(tmp_path)
    order = [(run["round"], run["load"], run["target"] == server.url) for run in document["runs"]]
    one, two = "closed, 1 at once", "closed, 2 at once"
    assert order[:4] == [(1, one, True), (1, one, False), (1, two, True), (1, two, False)]
    assert order[4:8] == [(2, one, False), (2, one, True), (2, two, False), (2, two, True)]
    assert {row["verdict"] for row in document["comparison"]} == {"ahead"}
    for name in ("latency.png", "throughput.png", "rows.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.size == (1080, 600)


def test_limits_make_the_exit_code(server: ImageServer, capsys: pytest.CaptureFixture[str]) -> None:
    quick = [server.url, "--requests", "3", "--concurrent", "1", "--warm-up", "0"]
    assert main([*quick, "--max-p95", "60", "--min-throughput", "0.001"]) == 0
    assert main([*quick, "--max-p95", "0"]) == 1
    assert main([*quick, "--min-throughput", "1000000"]) == 1
    assert "missed" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_a_failure_not_a_crash(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:9/v1", "--requests", "2", "--warm-up", "1"]) == 1
    assert "nothing was answered" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args",
    [
        ["--concurrent", "x"],
        ["--concurrent", "0"],
        ["--rate", "0"],
        ["--requests", "0"],
        ["--workload", "absent.toml"],
        ["--arrivals", "absent.csv"],
        ["--compare", "http://127.0.0.1:9/v1"],
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:9/v1", *args]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_address_that_is_no_url_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["127.0.0.1:8000"]) == 2
    assert "base URL" in capsys.readouterr().err
