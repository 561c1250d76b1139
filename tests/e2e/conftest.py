"""One installation of the chart, one day of a pool and one ledger for all end-to-end tests, which run in this order."""

import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from e2e.day import Day, live_through
from e2e.ledger import Ledger
from e2e.pools import NAMESPACE, TROUBLE
from e2e.stage import Stage
from e2e.troubles import SpareGpus, apply_troubles, renumber_a_port, repeat_an_event
from e2e.waiting import answer
from fluxpool_cluster import layout
from fluxpool_demo import install
from fluxpool_demo.kube import Kube, Object, Ref, connect, current_context
from fluxpool_demo.platform import ROOT, Platform, prepare

ORDER = (
    "test_install",
    "test_day",
    "test_upgrade",
    "test_deletion",
    "test_problems",
    "test_people",
    "test_rules_are_used",
    "test_ledger",
    "test_uninstall",
    "test_listed_namespaces",
)
"""A file's tests use what the ones before have made; each file also works alone."""
LEDGER = pytest.StashKey[Ledger]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order of the story, and one event loop for all of it."""
    items.sort(key=_place)
    for item in items:
        if _place(item) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def _place(item: pytest.Item) -> int:
    ours = item.path.parent == Path(__file__).parent
    return 1 + ORDER.index(item.path.stem) if ours else 0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the ledger, and leave it in `out/`."""
    ledger = terminalreporter.config.stash.get(LEDGER, None)
    if ledger is not None and ledger.records:
        terminalreporter.section("end to end")
        for line in ledger.lines():
            terminalreporter.line(line)
        ledger.write(ROOT / "out" / "e2e" / "ledger.json")


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Ledger:
    """The count of the whole run."""
    return pytestconfig.stash.setdefault(LEDGER, Ledger())


@pytest.fixture(scope="session")
def began_at() -> datetime:
    """Before the operator was installed."""
    return datetime.now(UTC)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def platform() -> Platform:
    """How fluxpool runs on this cluster, which is the lab's or one that someone named."""
    context = current_context()
    assert context in {layout.CONTEXT, os.environ.get("CLUSTER_CONTEXT")}, (
        f"the current context is {context}, not the lab's: CLUSTER_CONTEXT={context} lets the tests change that cluster"
    )
    return await prepare()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(platform: Platform, ledger: Ledger, began_at: datetime) -> AsyncIterator[Stage]:
    """The chart, installed by Helm."""
    async with connect() as kube, platform.access(kube) as access:
        await install.require_own(kube, platform)
        try:
            started_at = time.monotonic()
            await install.install(kube, platform)
            ledger.figures["helm install --wait"] = time.monotonic() - started_at
            yield Stage(kube, platform, access, ledger)
        finally:
            await tidy_up(kube)


async def tidy_up(kube: Kube) -> None:
    """Pools before their namespaces: one that is deleted with pods in it waits for half of their grace period."""
    for namespace in (NAMESPACE, TROUBLE):
        for pool in await kube.list("FluxPool", namespace):
            await kube.delete(Ref("FluxPool", namespace, pool["metadata"]["name"]))
        await answer(partial(kube.list, "Pod", namespace), lambda pods: not pods, f"no pod in {namespace}", 60)
        await kube.delete(Ref("Namespace", None, namespace))
    await install.uninstall(kube)


@pytest.fixture(scope="session")
def spare_gpus(platform: Platform) -> Iterator[SpareGpus]:
    """A few devices that the pools in trouble share."""
    with SpareGpus().offered() as spares:
        yield spares


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def troubles(stage: Stage, spare_gpus: SpareGpus) -> Sequence[str]:
    """Names of pools that cannot work. What they say comes with time, so they are there from early on."""
    return await apply_troubles(stage)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def counted(stage: Stage, troubles: Sequence[str]) -> Sequence[Object]:
    """Events of one of them, of which one has been counted anew instead of written anew."""
    return await repeat_an_event(stage)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def made_anew(stage: Stage, troubles: Sequence[str]) -> tuple[Object, Object]:
    """The Service of one of them before and after somebody gave its port another number."""
    return await renumber_a_port(stage)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def day(stage: Stage, troubles: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Day:
    """A day of the pool that works, after which it is at rest."""
    lived = await live_through(stage, tmp_path_factory.mktemp("manifests"))
    figures = stage.ledger.figures
    figures["apply to Ready"] = lived.ready_at
    figures["apply to the first image"] = lived.first_image_at
    return lived
