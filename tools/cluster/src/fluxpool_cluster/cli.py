"""The command line: parses, calls, prints. Progress and failures go to standard error, results to standard output."""

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path

from fluxpool_cluster import (
    build,
    containerd,
    fake_nodes,
    health,
    layout,
    lifecycle,
    lock,
    machine,
    netns,
    packages,
    preflight,
    processes,
    target,
)
from fluxpool_cluster.api import ApiClient
from fluxpool_cluster.console import Console
from fluxpool_cluster.errors import ClusterError, NotUpError
from fluxpool_cluster.layout import Layer, Layout
from fluxpool_cluster.preflight import Room

_DESCRIPTION = """A real Kubernetes cluster in one network namespace of this machine, for tests and the demo.
Needs Linux and root; `setup` and `build` prepare the machine, `up` does what is left of it."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 failed, 130 interrupted."""
    options = _parser().parse_args(arguments)
    os.environ["PATH"] = layout.search_path()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that clean-up code runs
    try:
        return int(options.command(options) or 0)
    except ClusterError as error:
        print(f"fluxpool-cluster: {error}", file=sys.stderr)  # noqa: T201 - the command line's own output
        return 1
    except KeyboardInterrupt:
        print("fluxpool-cluster: interrupted", file=sys.stderr)  # noqa: T201 - the command line's own output
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fluxpool-cluster", description=_DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    _add_check(add("check", _check, "refuse, before anything long begins, where the cluster cannot be had"))
    add("setup", _setup, "install the Debian packages that are missing, as root")
    add("build", _build, "build the programs that are missing, about 12 minutes from nothing")
    add("binaries", _binaries, "print the folder of the programs")
    _add_up(add("up", _up, "start the cluster, or bring a running one to what is asked for"))
    add("down", _down, "stop the cluster and leave nothing behind")
    add("status", _status, "what runs, and whether it is well; status 1 when it is not, or not up")
    run = add("run", _run, "run a command inside the namespace, with KUBECONFIG and PATH set")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD …")
    add("kubeconfig", _kubeconfig, "print the path of the kubeconfig for the host")
    image = add("image", _image, "import a docker or OCI archive into the container runtime")
    image.add_argument("tar", type=Path)
    logs = add("logs", _logs, "print the end of a component's log; without a name, the names")
    logs.add_argument("name", nargs="?")
    logs.add_argument("-n", "--lines", type=int, default=50)
    restart = add("restart", _restart, "end one component and start it again")
    restart.add_argument("name")
    _add_fake_nodes(add("fake-nodes", _fake_nodes, "have exactly N fake nodes"))
    return parser


def _add_up(up: argparse.ArgumentParser) -> None:
    up.add_argument(
        "--layer",
        type=Layer,
        default=Layer.NODE,
        metavar="control|node",
        help="control: API server, controllers and fake nodes; node (the default): a real node as well",
    )
    up.add_argument("--gpus", type=int, metavar="N", help=f"of the node ({lifecycle.DEFAULT_COUNT})")
    up.add_argument("--resource", metavar="NAME", help=f"what a GPU is called ({lifecycle.DEFAULT_RESOURCE})")
    up.add_argument("--port", type=int, help=f"loopback port on the host ({layout.DEFAULT_HOST_PORT})")


def _add_check(command: argparse.ArgumentParser) -> None:
    command.add_argument("--unused", action="store_true", help="refuse as well if a cluster is up")
    command.add_argument(
        "--environments", type=int, default=0, metavar="GB", help="room that is needed in this folder as well"
    )


def _add_fake_nodes(command: argparse.ArgumentParser) -> None:
    command.add_argument("count", type=int, metavar="N")
    command.add_argument("--gpus", type=int, default=8)
    command.add_argument("--resource", default=lifecycle.DEFAULT_RESOURCE)


def _print(text: str) -> None:
    print(text)  # noqa: T201 - the command line's own output


def _where() -> Layout:
    return Layout(layout.state_folder())


def _check(options: argparse.Namespace) -> None:
    preflight.require_linux()
    preflight.require_root()
    if options.unused:
        preflight.require_unused(up=machine.load() is not None and not health.problems(_where()))
    environments = Room(Path.cwd(), options.environments * 10**9, "Python environments")
    preflight.require_rooms([*build.rooms(), environments])
    preflight.require_room_for_state(layout.state_folder())


def _setup(_: argparse.Namespace) -> None:
    preflight.require_linux()
    packages.install_missing(Console())


def _build(_: argparse.Namespace) -> None:
    preflight.require_linux()
    _print(str(build.ensure(Console())))


def _binaries(_: argparse.Namespace) -> None:
    _print(str(build.binaries_folder()))


def _up(options: argparse.Namespace) -> None:
    wish = lifecycle.Wish(options.layer, options.port, options.resource, options.gpus)
    where = lifecycle.up(wish, Console())
    _print(f"export KUBECONFIG={shlex.quote(str(where.kubeconfig))}")


def _down(_: argparse.Namespace) -> None:
    lifecycle.down(Console())


def _status(_: argparse.Namespace) -> int:
    where = _where()
    summary = health.load(where)
    if summary is not None:
        gpus = f", {summary.count} {summary.resource}" if summary.layer is Layer.NODE else ""
        _print(f"layer {summary.layer.value}{gpus}, kubeconfig {where.kubeconfig}")
    table = health.process_table(where)
    for process in table.all():
        name, alive = process.component.name, process.alive()
        memory = processes.resident_bytes(process.pid) // 2**20 if alive else 0
        _print(f"{name:24} {process.pid:>8}  {'up' if alive else 'DEAD':5} {memory:5} MiB  {table.log(name)}")
    wrong = health.problems(where) if where.state.exists() else ["no cluster is up"]
    for problem in wrong:
        _print(problem)
    return 1 if wrong else 0


def _run(options: argparse.Namespace) -> None:
    argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    chosen = target.choose()
    environment = target.command_environment(chosen)
    if chosen.lab:
        preflight.require_root()
        netns.enter()
    os.environ["PATH"] = environment["PATH"]  # execvpe looks in this one for the command
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - to be that command is what `run` is for
    except (IndexError, FileNotFoundError, PermissionError):
        raise ClusterError(f"no such command: {' '.join(argv)}", "tools/cluster/run kubectl get nodes") from None


def _kubeconfig(_: argparse.Namespace) -> None:
    health.require_up(_where())
    _print(str(_where().kubeconfig))


def _image(options: argparse.Namespace) -> None:
    preflight.require_root()
    if health.require_up(_where()).layer is not Layer.NODE:
        raise NotUpError("only the node layer has a container runtime", "make cluster-up")
    _print(containerd.import_image(_where(), options.tar))


def _logs(options: argparse.Namespace) -> None:
    table = health.process_table(_where())
    names = [process.component.name for process in table.all()]
    if options.name is None:
        _print("\n".join(names))
    elif options.name in names:
        _print(table.tail(options.name, options.lines))
    else:
        raise NotUpError(f"there is no component {options.name}; there are: {', '.join(names) or 'none'}")


def _restart(options: argparse.Namespace) -> None:
    lifecycle.restart(options.name, Console())


def _fake_nodes(options: argparse.Namespace) -> None:
    where = _where()
    health.require_up(where)
    client = ApiClient.from_kubeconfig(where.kubeconfig)
    with lock.exclusive("fluxpool-cluster fake-nodes"):
        fake_nodes.ensure(client, options.count, Console(), gpus=options.gpus, resource=options.resource)
