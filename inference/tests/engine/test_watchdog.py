"""Looks of the watchdog on a clock of their own."""

from fluxpool_inference.engine.watchdog import GENEROUS, LOOK_SECONDS, Watchdog


def looks(watchdog: Watchdog, times: list[float], since: float | None, expected: float = 0.1) -> list[bool]:
    return [watchdog.barks(now, since, expected) for now in times]


def every_second(seconds: int, start: float = 100.0) -> list[float]:
    return [start + LOOK_SECONDS * look for look in range(seconds + 1)]


def test_silence_longer_than_the_floor_is_a_hang() -> None:
    watchdog = Watchdog(floor_seconds=10)
    assert looks(watchdog, every_second(11), since=99.0) == [False] * 11 + [True]
    assert watchdog.silence_seconds == 11


def test_work_that_should_take_long_has_many_times_that() -> None:
    assert not any(looks(Watchdog(floor_seconds=10), every_second(40), since=99.0, expected=2.0))
    assert looks(Watchdog(floor_seconds=10), every_second(41), since=99.0, expected=2.0)[-1]
    assert GENEROUS * 2.0 == 40


def test_each_word_of_the_worker_begins_anew() -> None:
    watchdog = Watchdog(floor_seconds=10)
    for report in range(100):
        assert not watchdog.barks(100.0 + report, 99.5 + report, 0.1)
    assert watchdog.silence_seconds == 0


def test_a_worker_with_nothing_to_do_may_be_silent_for_ever() -> None:
    assert not any(looks(Watchdog(floor_seconds=10), every_second(1000), since=None))


def test_time_in_which_this_process_itself_was_stopped_is_not_held_against_the_worker() -> None:
    watchdog = Watchdog(floor_seconds=10)
    assert not any(looks(watchdog, [100.0, 101.0, 4000.0, 4001.0], since=99.0))
    assert watchdog.silence_seconds == 4
