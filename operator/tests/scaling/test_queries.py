from scaling.stage import START

from fluxpool_operator import contract
from fluxpool_operator.scaling.intervals import ScrapeIntervals
from fluxpool_operator.scaling.prometheus import Sample
from fluxpool_operator.scaling.queries import PodReading, mean_work_query, read_mean_work, read_samples, samples_query

NOW = START.timestamp()
DEMO = ("default", "demo")


def sample(name: str, value: float, *, uid: str = "a", namespace: str = "default", pool: str = "demo") -> Sample:
    labels = {
        "__name__": name,
        contract.METRIC_LABEL_NAMESPACE: namespace,
        contract.METRIC_LABEL_POOL: pool,
        contract.METRIC_LABEL_POD_UID: uid,
    }
    return Sample(labels, value, NOW)


SCRAPED = "fluxpool_scraped_at_seconds"


def test_samples_are_sorted_by_pool_and_pod_with_their_age() -> None:
    pods = read_samples(
        [
            sample(contract.METRIC_REQUESTS_WAITING, 3),
            sample(SCRAPED, NOW - 1.5),
            sample(contract.METRIC_REQUESTS_WAITING, 5, uid="b"),
            sample(SCRAPED, NOW - 0.5, uid="b"),
            sample(SCRAPED, NOW, namespace="other"),
        ]
    )
    assert {pool: list(readings) for pool, readings in pods.items()} == {DEMO: ["a", "b"], ("other", "demo"): ["a"]}
    assert (pods[DEMO]["a"].sample.requests_waiting, pods[DEMO]["a"].sample.age_seconds) == (3, 1.5)
    assert pods[DEMO]["a"].sample.requests_running is None
    assert pods[DEMO]["b"].scraped_at == NOW - 0.5


def test_values_without_a_scrape_time_are_nobodys() -> None:
    assert read_samples([sample(contract.METRIC_REQUESTS_WAITING, 3)]) == {}


def test_series_without_our_labels_are_somebody_elses() -> None:
    assert read_samples([sample(SCRAPED, NOW, uid=""), sample(SCRAPED, NOW, pool=""), Sample({}, 1, NOW)]) == {}
    assert read_mean_work([Sample({}, 1, NOW)]) == {}


def test_mean_work_is_sorted_by_pool() -> None:
    assert read_mean_work([sample("", 2.5), sample("", 4, pool="other")]) == {DEMO: 2.5, ("default", "other"): 4}


def test_matchers_are_in_every_selector() -> None:
    for query in (samples_query('cluster="a"'), mean_work_query('cluster="a"')):
        assert query.count("{") == query.count('cluster="a"') > 0
    assert ", ," not in samples_query("")
    assert "{, " not in samples_query("") + mean_work_query("")


def scraped(*times: float) -> dict[tuple[str, str], dict[str, PodReading]]:
    answer = [sample(SCRAPED, at, uid=f"pod-{number}") for number, at in enumerate(times)]
    return dict(read_samples(answer))


def learned(*polls: dict[tuple[str, str], dict[str, PodReading]]) -> float | None:
    intervals = ScrapeIntervals()
    for poll in polls:
        intervals.learn(poll)
    return intervals.seconds(DEMO)


def test_the_interval_is_known_after_two_scrapes_of_one_pod() -> None:
    assert learned(scraped(100)) is None
    assert learned(scraped(100), scraped(100)) is None
    assert learned(scraped(100), scraped(100), scraped(130)) == 30


def test_the_interval_is_the_median_so_that_one_gap_does_not_count() -> None:
    assert learned(*[scraped(at) for at in (0, 2, 4, 64, 66, 68)]) == 2


def test_the_interval_is_learned_from_all_pods() -> None:
    assert learned(scraped(0, 1, 1.5), scraped(2, 3, 3.5)) == 2


def test_the_interval_follows_a_change() -> None:
    assert learned(*[scraped(2.0 * n) for n in range(30)], *[scraped(58 + 30.0 * n) for n in range(12)]) == 30


def test_a_pod_that_comes_back_after_a_time_makes_no_gap() -> None:
    assert learned(scraped(0), scraped(2), {DEMO: {}}, scraped(500)) == 2
    assert learned(scraped(0), scraped(2), {}, scraped(500)) == 2


def test_time_that_runs_backwards_teaches_nothing() -> None:
    assert learned(scraped(100), scraped(40)) is None


def test_a_pool_that_is_gone_is_forgotten() -> None:
    intervals = ScrapeIntervals()
    intervals.learn(scraped(0))
    intervals.learn(scraped(2))
    intervals.forget(DEMO)
    assert intervals.seconds(DEMO) is None
    intervals.forget(DEMO)
