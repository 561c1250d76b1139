"""Over the whole run: no request lost, none failed, and every pod on its pace."""

from e2e.day import Day
from e2e.ledger import Ledger
from e2e.stage import Stage
from fluxpool_demo.record import Pacing
from fluxpool_demo.verdict import OVERRUN_SHARE_LIMIT


async def test_no_request_of_the_whole_run_failed(day: Day, ledger: Ledger) -> None:
    assert len(ledger.records) > 200
    assert [record.error for record in ledger.failed] == []


async def test_no_request_of_the_whole_run_was_lost(day: Day, ledger: Ledger) -> None:
    assert ledger.lost == 0


async def test_no_pod_of_the_whole_run_was_too_slow_for_its_pace(day: Day, stage: Stage, ledger: Ledger) -> None:
    async with stage.prometheus() as prometheus:
        steps, overruns = [
            sum(reading.value for reading in await prometheus.query(f"max_over_time(fluxpool_pace_{what}_total[1h])"))
            for what in ("steps", "overruns")
        ]
    ledger.pacing = Pacing(round(steps), round(overruns))
    assert ledger.pacing.steps > 100
    assert ledger.pacing.overrun_share <= OVERRUN_SHARE_LIMIT
