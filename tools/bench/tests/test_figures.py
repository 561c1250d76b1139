"""How records become figures."""

import math

import pytest

from fluxpool_bench import report, rows, table
from fluxpool_bench.client import Outcome, Record
from fluxpool_bench.session import Closed, Load, Open, Run
from fluxpool_bench.summary import compare, median_ratio, quantile, summarize

ONE = Closed(1)
RATE = Open((0.0, 1.0), "1/s")


def record(index: int, due: float, done: float, outcome: Outcome = Outcome.OK, sent: float | None = None) -> Record:
    return Record(
        index,
        "k",
        due,
        due if sent is None else sent,
        done,
        outcome,
        int(outcome is Outcome.OK),
        10,
        "" if outcome is Outcome.OK else "500",
    )


def run(target: str, number: int, latency: float, load: Load = ONE) -> Run:
    return Run(target, load, number, tuple(record(i, i * latency, (i + 1) * latency) for i in range(10)), {})


def test_latency_counts_from_when_a_request_was_due_not_from_when_it_was_sent() -> None:
    summary = summarize([record(0, due=0.0, sent=3.0, done=4.0)])
    assert summary.p50 == 4.0
    assert summary.send_delay_p99 == 3.0


def test_refused_and_failed_requests_are_counted_and_lend_no_latency() -> None:
    summary = summarize([record(0, 0, 2), record(1, 0, 0.1, Outcome.REFUSED), record(2, 0, 0.1, Outcome.FAILED)])
    assert (summary.ok, summary.refused, summary.failed, summary.max, summary.throughput) == (1, 1, 1, 2, 0.5)


def test_nothing_answered_has_no_latency() -> None:
    assert summarize([record(0, 0, 1, Outcome.FAILED)]).p95 is None
    with pytest.raises(ValueError, match="no request"):
        summarize([])


def test_for_a_limit_those_that_were_not_answered_took_longer_than_any() -> None:
    answered = [record(number, 0, 1 + number / 100) for number in range(95)]
    refused = [record(95 + number, 0, 0.1, Outcome.REFUSED) for number in range(5)]
    assert summarize(answered + refused).p95_of_all == 1.94
    assert summarize([*answered, *refused, record(100, 0, 0.1, Outcome.FAILED)]).p95_of_all is None
    gave_up = [record(95 + number, 0, 0.1, Outcome.GAVE_UP) for number in range(50)]
    assert summarize(answered + gave_up).p95_of_all == summarize(answered).p95


def test_a_quantile_is_a_value_that_was_seen() -> None:
    assert quantile([1, 2, 3, 4], 0.5) == 2
    assert quantile([1, 2, 3, 4], 0.95) == 4
    assert quantile([], 0.5) is None


def test_the_ratio_of_a_clear_difference_excludes_one_and_that_of_noise_does_not() -> None:
    median, low, high = median_ratio([(2.0 + i / 10, 1.0) for i in range(10)])
    assert low > 1
    assert low <= median <= high
    _, low, high = median_ratio([(1.1, 1.0), (1.0, 1.1)] * 5)
    assert low < 1 < high


def test_what_is_better_decides_who_is_ahead() -> None:
    double = [(2.0 + i / 10, 1.0) for i in range(10)]
    assert compare(double, higher_is_better=True).verdict == "ahead"
    assert compare(double, higher_is_better=False).verdict == "behind"
    assert compare([(1.1, 1.0), (1.0, 1.1)] * 5, higher_is_better=True).verdict == "tie"
    with pytest.raises(ValueError, match="no pair"):
        compare([], higher_is_better=True)


@pytest.mark.parametrize(("rounds", "verdict"), [(1, "too few rounds"), (5, "too few rounds"), (6, "ahead")])
def test_rounds_that_chance_alone_could_have_won_have_no_verdict(rounds: int, verdict: str) -> None:
    found = compare([(1.001 + i / 1000, 1.0) for i in range(rounds)], higher_is_better=True)
    assert (found.verdict, found.interval is None) == (verdict, verdict == "too few rounds")
    [throughput, _] = report.comparison([run(t, n, s) for n in range(rounds) for t, s in (("a", 1.0), ("b", 2.0))])
    assert (throughput["verdict"], throughput["interval"] is None) == (verdict, verdict == "too few rounds")
    [*_, intervals, verdicts] = table.comparison([throughput]).columns
    assert list(verdicts.cells) == [verdict]
    assert list(intervals.cells) == ["2.000 to 2.000" if verdict == "ahead" else "-"]


def test_a_comparison_names_who_is_ahead() -> None:
    runs = [run(target, number, latency) for number in range(1, 11) for target, latency in (("a", 1.0), ("b", 2.0))]
    rows = {row["figure"]: row for row in report.comparison(runs)}
    assert rows["throughput"]["verdict"] == "ahead"
    assert math.isclose(rows["throughput"]["ratio"], 2.0)
    assert rows["p50"]["verdict"] == "ahead"
    behind = {row["figure"]: row["verdict"] for row in report.comparison(sorted(runs, key=lambda r: r.target == "a"))}
    assert behind == {"throughput": "behind", "p50": "behind"}
    assert report.comparison(runs[:1]) == []


def test_steps_are_counted_by_their_rows() -> None:
    before, after = {1.0: 2.0, 2.0: 4.0, math.inf: 4.0}, {1.0: 5.0, 2.0: 9.0, math.inf: 10.0}
    assert rows.steps_by_rows(before, after) == {"1": 3.0, "2": 2.0, "inf": 1.0}
    assert rows.steps_by_rows(after, before) == {}, "another process answered"
    assert rows.steps_by_rows({}, after) == {}, "these are all steps since the server's start"
    assert rows.histogram("# no such metric\n") == rows.histogram(None) == {}


def test_a_reader_is_told_what_to_know_before_believing() -> None:
    records = (
        record(0, 0, 2),
        record(1, 0, 1, Outcome.REFUSED),
        record(2, 0, 1, sent=0.5),
        record(3, 0, 1, Outcome.FAILED),
    )
    notes = " ".join(table.warnings([Run("t", RATE, 1, records, {})]))
    assert "1 refused" in notes
    assert "this machine was the limit" in notes
    assert "1 failed, the first with: 500" in notes


def test_a_reader_is_told_how_late_the_latest_request_left() -> None:
    punctual = [record(number, 0, 1, sent=0.01) for number in range(199)]
    [note] = table.warnings([Run("t", RATE, 1, (*punctual, record(199, 0, 3, sent=2.5)), {})])
    assert "requests left up to 2.50 s late (p99 0.01 s)" in note
    assert table.warnings([Run("t", RATE, 1, tuple(punctual), {})]) == []


def test_a_reader_of_closed_runs_is_told_once_what_their_latencies_hide() -> None:
    [note] = table.warnings([run("t", number, 1.0, load) for number in (1, 2) for load in (ONE, Closed(2))])
    assert "coordinated omission" in note
    assert table.warnings([run("t", 1, 1.0, RATE)]) == []


def test_the_table_says_from_when_its_latencies_count() -> None:
    titles = [table.results([run("t", 1, 1.0, load)]).title for load in (ONE, RATE)]
    assert titles == [
        f"latency in seconds, from when a request was {since} to its last byte" for since in ("sent", "due")
    ]
