"""The whole command against a real HTTP server."""

import json
from pathlib import Path

import pytest
from conftest import PIXEL, ImageServer
from PIL import Image

from fluxpool_bench import arrivals
from fluxpool_bench.__main__ import main
from fluxpool_bench.session import Session


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


def test_arrivals_of_a_file_are_kept_though_nothing_was_answered(server: ImageServer, tmp_path: Path) -> None:
    server.delay = 0.3
    (tmp_path / "times.csv").write_text("t_s\n0.0\n0.05\n0.05\n0.2\n")
    args = ["--arrivals", str(tmp_path / "times.csv"), "--warm-up", "0", "--out", str(tmp_path)]
    assert main([server.url, *args]) == 0
    [run] = results(tmp_path)["runs"]
    assert run["load"] == "open, times.csv"
    assert [r["due"] for r in run["requests"]] == [0.0, 0.05, 0.05, 0.2]
    assert all(r["sent"] >= r["due"] for r in run["requests"])
    assert server.most_in_flight == 4


def test_poisson_arrivals_are_those_of_the_seed(server: ImageServer, tmp_path: Path) -> None:
    args = ["--rate", "200", "--requests", "20", "--seed", "3", "--warm-up", "0", "--out", str(tmp_path)]
    assert main([server.url, *args]) == 0
    [run] = results(tmp_path)["runs"]
    assert run["load"] == "open, 200/s Poisson"
    assert [r["due"] for r in run["requests"]] == arrivals.poisson(200, 20, seed=3)
    assert all(r["sent"] >= r["due"] for r in run["requests"])


def test_what_the_command_line_says_of_a_request_is_in_each_of_them(
    server: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    options = ["--model", "flux", "--size", "64x32", "--steps", "7", "--images", "2", "--format", "webp", "--seed", "9"]
    assert main([server.url, *options, "--requests", "3", "--warm-up", "1"]) == 0
    wanted = {"model": "flux", "size": "64x32", "num_inference_steps": 7, "n": 2, "output_format": "webp"}
    assert [body | wanted for body in server.bodies] == server.bodies
    assert sorted(body["seed"] for body in server.bodies) == [9, 10, 11, 12]
    assert server.authorizations == {"Bearer sk-mine"}


def test_a_request_that_takes_longer_than_the_time_limit_has_failed(
    server: ImageServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.delay = 0.5
    assert main([server.url, "--timeout", "0.05", "--requests", "2", "--warm-up", "0"]) == 1
    assert "2 failed, the first with: no whole answer within 0.05 s" in capsys.readouterr().out


def test_an_answer_that_trickles_takes_longer_than_the_time_limit(
    server: ImageServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.trickle = 0.01
    assert main([server.url, "--timeout", "0.3", "--requests", "2", "--warm-up", "0"]) == 1
    assert "2 failed, the first with: no whole answer within 0.3 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([], "0 of 2"),
        ([{"b64_json": PIXEL}], "1 of 2"),
        ([{"b64_json": PIXEL}, {"b64_json": ""}], "1 of 2"),
        ([{"b64_json": PIXEL}, {}], "1 of 2"),
    ],
)
def test_an_answer_without_as_many_images_as_were_asked_for_has_failed(
    server: ImageServer, capsys: pytest.CaptureFixture[str], images: list[dict[str, str]], said: str
) -> None:
    server.images = images
    assert main([server.url, "--images", "2", "--requests", "2", "--warm-up", "0"]) == 1
    assert f"2 failed, the first with: 200, but only {said} images" in capsys.readouterr().out


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
        "6",
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


def test_a_request_that_was_refused_misses_a_limit_of_the_latency(
    server: ImageServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.statuses = [429]
    assert main([server.url, "--requests", "3", "--concurrent", "1", "--warm-up", "0", "--max-p95", "60"]) == 1
    assert "p95 - s with 1 unanswered, limit 60 s" in capsys.readouterr().err


def test_limits_are_those_of_the_first_server_and_not_of_the_one_it_is_compared_with(
    server: ImageServer, other_server: ImageServer
) -> None:
    other_server.statuses = [429]
    args = ["--requests", "3", "--warm-up", "0", "--max-p95", "60"]
    assert main([server.url, "--compare", other_server.url, *args]) == 0
    other_server.statuses = [429]
    assert main([other_server.url, "--compare", server.url, *args]) == 1


def test_a_server_that_is_not_there_is_a_failure_not_a_crash(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:9/v1", "--requests", "2", "--warm-up", "0"]) == 1
    assert "nothing was answered" in capsys.readouterr().err


@pytest.mark.parametrize(("status", "said"), [(404, "404: "), (400, "400: ")])
def test_a_server_that_answers_no_request_of_the_warm_up_is_told_in_one_line_and_not_measured(
    server: ImageServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, said: str
) -> None:
    server.statuses = [status] * 3
    assert main([server.url, "--requests", "50", "--out", str(tmp_path)]) == 1
    assert len(server.bodies) == 3
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1
    assert f"{server.url} answers no request of the warm-up: {said}" in captured
    assert not (tmp_path / "result.json").exists()


def test_a_server_that_is_not_there_ends_in_the_warm_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:9/v1", "--requests", "2"]) == 1
    captured = capsys.readouterr().err
    assert "answers no request of the warm-up: ConnectError" in captured
    assert captured.count("\n") == 1


def test_a_server_that_refuses_in_the_warm_up_is_measured(server: ImageServer) -> None:
    server.statuses = [429] * 3
    assert main([server.url, "--requests", "2"]) == 0


def test_an_interrupt_ends_it_in_one_line(
    server: ImageServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(self: Session, progress: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "run", interrupt)
    assert main([server.url]) == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_a_mix_has_a_table_of_its_kinds(
    server: ImageServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    mix = tmp_path / "mix.toml"
    mix.write_text("[[kind]]\nsteps = 4\n[[kind]]\nsteps = 28\n")
    assert main([server.url, "--requests", "8", "--workload", str(mix)]) == 0
    shown = capsys.readouterr().out
    assert "by kind of request" in shown
    assert "default size, 28 steps" in shown


def test_no_request_is_made_twice_and_both_servers_are_asked_the_same(
    server: ImageServer, other_server: ImageServer
) -> None:
    args = ["--compare", other_server.url, "--requests", "3", "--concurrent", "1,2", "--rounds", "2"]
    assert main([server.url, *args]) == 0
    seeds = [body["seed"] for body in server.bodies]
    assert sorted(seeds) == list(range(3 + 2 * 2 * 3))
    assert sorted(body["seed"] for body in other_server.bodies) == sorted(seeds)


def test_two_servers_behind_compare_are_the_first_and_the_second(
    server: ImageServer, other_server: ImageServer, tmp_path: Path
) -> None:
    options = ["--requests", "2", "--out", str(tmp_path)]
    assert main(["--compare", server.url, other_server.url, *options]) == 0
    runs = json.loads((tmp_path / "result.json").read_text())["runs"]
    assert [run["target"] for run in runs] == [server.url, other_server.url]


@pytest.mark.parametrize(
    ("args", "says"),
    [([], "the following arguments are required: url"), (["--compare", "http://127.0.0.1:9/v1"], "and 1 are given")],
)
def test_a_command_line_without_its_servers_is_one_line_and_exit_2(
    args: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == 2
    said = capsys.readouterr().err
    assert (said.count("\n"), says in said) == (1, True)


@pytest.mark.parametrize(
    "args",
    [
        ["--concurrent", "x"],
        ["--concurrent", "0"],
        ["--rate", "0"],
        ["--rate", "nan"],
        ["--requests", "0"],
        ["--timeout", "0"],
        ["--steps", "0"],
        ["--constant"],
        ["--requests", "5", "--arrivals", "absent.csv"],
        ["--workload", "absent.toml", "--size", "64x64"],
        ["--workload", "absent.toml"],
        ["--arrivals", "absent.csv"],
        ["--compare", "http://127.0.0.1:9/v1"],
        ["--compare", ""],
        ["--compare", "http://127.0.0.1:9/v1", "http://127.0.0.1:8/v1"],
        ["--concurrent", ""],
        ["--max-p95", "nan"],
        ["--max-p95", "-1"],
        ["--min-throughput", "nan"],
        ["--min-throughput", "inf"],
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:9/v1", *args]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["http://127.0.0.1:9/v1", "--requests", "many"], "argument --requests: invalid int value: 'many'"),
        (["http://127.0.0.1:9/v1", "--format", "gif"], "argument --format: invalid choice: 'gif'"),
        (["http://127.0.0.1:9/v1", "--max-p", "4"], "unrecognized arguments: --max-p 4"),
        (["http://127.0.0.1:9/v1", "--rate", "3", "--concurrent", "5"], "not allowed with argument --rate"),
    ],
)
def test_a_command_line_that_does_not_parse_is_one_line_and_exit_2(
    args: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(args)
    told = capsys.readouterr().err
    assert says in told
    assert told.startswith("fluxpool-bench: ")
    assert told.count("\n") == 1


def test_a_key_that_no_header_can_hold_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "é")
    assert main(["http://127.0.0.1:9/v1"]) == 2
    assert capsys.readouterr().err == "fluxpool-bench: OPENAI_API_KEY must be ASCII\n"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1:8000",
        "http://",
        "http://h:x/v1",
        "ftp://h/v1",
        "http://[::1/v1",
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1:0/v1",
        f"http://{'h' * 64}/v1",
        "http://a..b/v1",
        "http://xn--/v1",
        "http://h/v1?key=1",
        "http://h/v1#top",
    ],
)
def test_an_address_that_is_no_url_is_exit_2(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([address]) == 2
    assert "base URL" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_measured(
    server: ImageServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main([server.url, "--out", str(tmp_path / "file" / "out")]) == 2
    assert capsys.readouterr().err == f"fluxpool-bench: --out {tmp_path / 'file' / 'out'}: Not a directory\n"
    assert server.bodies == []


def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_measured(
    server: ImageServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([server.url, "--out", "/proc/self"]) == 2
    assert capsys.readouterr().err.startswith("fluxpool-bench: --out /proc/self: ")
    assert server.bodies == []


def test_a_folder_that_can_be_written_to_has_the_results_and_nothing_else(server: ImageServer, tmp_path: Path) -> None:
    assert main([server.url, "--requests", "2", "--out", str(tmp_path / "new" / "out")]) == 0
    names = {path.name for path in (tmp_path / "new" / "out").iterdir()}
    assert names == {"result.json", "latency.png", "throughput.png", "rows.png"}


def test_a_table_that_goes_into_a_file_is_not_cut(
    server: ImageServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main([server.url, "--requests", "3", "--concurrent", "1,2"]) == 0
    shown = capsys.readouterr().out
    assert "closed, 2 at once │" in shown
    assert "…" not in shown
