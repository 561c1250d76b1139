import pytest

from fluxpool_inference.scheduling.deadlines import deadline
from fluxpool_inference.values import Priority


@pytest.mark.parametrize(("priority", "expected"), [("high", 104.0), ("normal", 108.0), ("low", 132.0)])
def test_patience_is_a_multiple_of_the_time_alone_by_priority(priority: str, expected: float) -> None:
    assert deadline(100.0, 2.0, Priority(priority)) == expected


def test_a_client_in_a_hurry_moves_its_deadline_forward() -> None:
    assert deadline(100.0, 2.0, Priority.NORMAL, client_seconds=3.0) == 103.0


def test_a_client_with_a_long_time_limit_is_no_less_urgent_than_one_that_says_nothing() -> None:
    assert deadline(100.0, 2.0, Priority.NORMAL, client_seconds=600.0) == deadline(100.0, 2.0, Priority.NORMAL)


def test_a_low_priority_image_is_more_urgent_than_a_high_one_that_comes_long_after() -> None:
    waiting = deadline(100.0, 1.0, Priority.LOW)
    assert waiting < deadline(115.0, 1.0, Priority.HIGH)
