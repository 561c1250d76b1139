import pytest
from recordings import request, sample

from fluxpool_demo.figures import figures, in_one_line, sparkline
from fluxpool_demo.load import OpenLoop
from fluxpool_demo.schedule import Step


def loop(*seconds: float, sent: int = 0) -> OpenLoop:
    made = OpenLoop(None)  # type: ignore[arg-type]  # nothing is sent
    made.records += [request(second - 1) for second in seconds]
    made.sent = sent or len(seconds)
    return made


def test_rate_and_latency_are_of_the_last_ten_seconds() -> None:
    now = figures(20, 100, None, sample(0), loop(50, 80, 91, 95, 99))
    assert now.images_per_second == 0.3
    assert now.p95_seconds == 1
    assert now.answered == 5


def test_before_the_first_image_there_is_no_latency() -> None:
    now = figures(1, 1, Step("calm", 10, 1), sample(0, batch_size=None), loop(sent=3))
    assert now.p95_seconds is None
    assert now.in_flight == 3
    assert in_one_line(now) == (
        "    1 s  asked 1/s  answered 0.0/s  p95 - s  queue 1  batch size -  replicas 1 of 1  failed 0"
    )


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([0, 0], "▁▁"),
        ([0, 7], "▁█"),
        ([1, 2, 3, 4, 8], "▃▄▅█"),
        ([None, 8, None, 4], " █ ▅"),
    ],
)
def test_a_sparkline_ends_with_now_and_reaches_from_zero_to_its_maximum(values: list[float | None], drawn: str) -> None:
    assert sparkline(values, 4) == drawn
