"""The first part that ends takes the process with it."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest
from controller.virtual_time import now, run

from fluxpool_operator.controller.supervisor import listen_to_signals, run_until, supervise
from fluxpool_operator.errors import SettingsError, StoppedError

ended: list[str] = []


async def forever(name: str = "a part") -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(name)


async def failing(error: Exception | None) -> None:
    await asyncio.sleep(1)
    if error is not None:
        raise error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("no"), r"the tick: ValueError\('no'\)"),
        (StoppedError("the watch of pods hangs"), "^the watch of pods hangs$"),
        (None, "the tick has ended without an error"),
    ],
)
def test_a_part_that_ends_is_named_and_ends_the_others(error: Exception | None, words: str) -> None:
    ended.clear()
    with pytest.raises(StoppedError, match=words):
        run(supervise({"watches": forever("watches"), "the tick": failing(error), "worker": forever("worker")}))
    assert sorted(ended) == ["watches", "worker"]


def test_a_setting_found_to_be_of_no_use_stays_such_an_error() -> None:
    with pytest.raises(SettingsError):
        run(supervise({"the tick": failing(SettingsError("no such file"))}))


def test_a_part_that_will_not_end_is_not_waited_for_for_ever() -> None:
    async def stubborn() -> None:
        until = now() + 1000
        while now() < until:
            try:
                await asyncio.sleep(until - now())
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        with pytest.raises(StoppedError):
            await supervise({"stubborn": stubborn(), "the tick": failing(ValueError())})
        assert now() < 10

    run(main())


def test_stopping_cancels_the_work_and_is_no_error() -> None:
    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(5, stop.set)
        ended.clear()
        await run_until(stop, forever())
        assert now() == 5
        assert ended == ["a part"]

    run(main())


def test_an_error_of_the_work_comes_through() -> None:
    with pytest.raises(ValueError, match="no"):
        run(run_until(asyncio.Event(), failing(ValueError("no"))))


def test_a_part_that_stops_ends_the_process_whatever_else_goes_on() -> None:
    script = """
import asyncio, sys
from fluxpool_operator import __main__
from fluxpool_operator.controller import process
from fluxpool_operator.errors import StoppedError

async def stubborn():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue

async def run(settings):
    left = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    raise StoppedError("a watch has ended")

process.run = run
sys.exit(__main__.main(["run", "--inference-image", "fluxpool:1", "--log-format", "text"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith("a watch has ended; the process ends, and shall be started again")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_stop(number: signal.Signals) -> None:
    async def main() -> None:
        stop = asyncio.Event()
        listen_to_signals(stop)
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), 10)

    asyncio.run(main())
