"""What many FluxPools cost the operator in memory, CPU and API calls. Recorded in `results/operator.json`.

Runs inside the lab's network, on fake nodes; nothing else of fluxpool may be on that cluster:

    tools/cluster/run tests/.venv/bin/python benchmarks/operator_scale.py

For each number of pools the operator is started anew, with the chart's settings and rights but for a resync that comes
twice a minute. The pools are created, and once all are Ready and nothing is written any more the operator is looked at
for a little longer than one resync. Their pods are fake and answer for themselves; Prometheus is real and scrapes them.
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS.parent / "operator" / "src")]

from record import Aim, Part, at_most, record, reported  # noqa: E402 - after the path

from fluxpool_cluster import fake_nodes  # noqa: E402
from fluxpool_cluster.console import Console  # noqa: E402
from integration import stage as staging  # noqa: E402
from integration.api import Api, Namespaces  # noqa: E402
from integration.audit import counted  # noqa: E402
from integration.background import Background  # noqa: E402
from integration.fake_pods import fake_pods  # noqa: E402
from integration.scale import settle, watch_at_rest  # noqa: E402
from integration.stage import Operator, Stage  # noqa: E402

SCRAPE_SECONDS = 2
RESYNC_SECONDS = 30
MOST_SECONDS = 600
RSS_AIM_MIB = 150
GPUS_PER_NODE = 64


@dataclass(frozen=True)
class Run:
    """One number of pools.

    Attributes:
        pools: how many.
        seconds_to_ready: from the first create to the last pool Ready.
        cpu_seconds_to_rest: of the operator, from its start until it wrote nothing any more.
        calls_to_rest: its requests until then, by verb and resource.
        rest_seconds: how long it was looked at after that.
        rest_cpu_share: of one core, meanwhile.
        rest_writes: requests meanwhile that were to change something.
        rss_mib: at the end.
    """

    pools: int
    seconds_to_ready: float
    cpu_seconds_to_rest: float
    calls_to_rest: dict[str, int]
    rest_seconds: float
    rest_cpu_share: float
    rest_writes: int
    rss_mib: float


@contextmanager
def theatre(most_pools: int) -> Iterator[tuple[Stage, Namespaces]]:
    """All that surrounds the operator, and nothing of it left afterwards."""
    api, background = Api.current(), Background()
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        stack.callback(background.close)
        fake_nodes.ensure(api.client, most_pools // GPUS_PER_NODE + 1, Console(), gpus=GPUS_PER_NODE)
        stack.callback(fake_nodes.ensure, api.client, 0, Console())
        stack.enter_context(background.hold(fake_pods()))
        namespaces = Namespaces(api)
        stack.callback(namespaces.end)
        namespaces.make(staging.NAMESPACE)
        stage = stack.enter_context(staging.stage(api, Path(folder)))
        prometheus = staging.prometheus(stage, SCRAPE_SECONDS)
        stack.callback(prometheus.end)
        prometheus.start()
        yield stage, namespaces


def measure(stage: Stage, namespaces: Namespaces, pools: int) -> Run:
    """Bring so many pools up, look at the operator at rest, and take them away."""
    operator = staging.operator(stage, prometheus_url=staging.PROMETHEUS_URL, resync_seconds=RESYNC_SECONDS)
    namespace = namespaces.make()
    try:
        operator.start()
        return _measured(stage.api, operator, namespace, pools)
    finally:
        operator.end()
        namespaces.end(namespace)


def _measured(api: Api, operator: Operator, namespace: str, pools: int) -> Run:
    settled = settle(api, namespace, pools, MOST_SECONDS)
    used = operator.cpu_seconds
    rest = watch_at_rest(operator, namespace, RESYNC_SECONDS + 5)
    return Run(
        pools=pools,
        seconds_to_ready=round(settled.seconds_to_ready, 1),
        cpu_seconds_to_rest=round(used, 1),
        calls_to_rest=counted(settled.calls),
        rest_seconds=round(rest.seconds, 1),
        rest_cpu_share=round(rest.cpu_share, 4),
        rest_writes=len(rest.writes),
        rss_mib=round(rest.rss_mib, 1),
    )


def aims(runs: Sequence[Run]) -> Iterator[Aim]:
    """The figures that count."""
    for run in runs:
        of = f"at {run.pools} FluxPools" if run.pools > 1 else "at one FluxPool"
        if run.pools >= 200:
            yield at_most(f"operator RSS {of}, MiB", RSS_AIM_MIB, run.rss_mib)
            yield reported(f"seconds until all are Ready {of}", run.seconds_to_ready)
        else:
            yield reported(f"operator RSS {of}, MiB", run.rss_mib)
        yield reported(f"operator CPU at rest {of}, percent of a core", round(100 * run.rest_cpu_share, 1))
    yield at_most("API writes per reconcile when nothing changed", 0, max(run.rest_writes for run in runs))


def main(options: argparse.Namespace) -> int:
    """Measure, record, and print what was recorded."""
    with theatre(max(options.pools)) as (stage, namespaces):
        runs = [measure(stage, namespaces, pools) for pools in options.pools]
        versions = {"kubernetes": str(stage.api.client.get("/version")["gitVersion"])}
    part = Part(
        name="many pools",
        command=shlex.join(["tools/cluster/run", "tests/.venv/bin/python", *sys.argv]),
        versions=versions,
        aims=list(aims(runs)),
        figures={
            "scrape_seconds": SCRAPE_SECONDS,
            "resync_seconds": RESYNC_SECONDS,
            "runs": [asdict(run) for run in runs],
        },
    )
    for aim in part.aims:
        print(f"{aim.name}: {aim.value} ({aim.aim})")
    print(record("operator", part))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", type=int, nargs="+", default=[1, 200], metavar="N")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main(_options()))
