"""Up, down, restart: the order of things. Every one of them holds the machine's lock while it works."""

import sys
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import fluxpool_cluster
from fluxpool_cluster import (
    build,
    control_plane,
    credentials,
    health,
    layout,
    lock,
    machine,
    netns,
    node,
    preflight,
    teardown,
)
from fluxpool_cluster.api import ApiClient
from fluxpool_cluster.console import Console
from fluxpool_cluster.errors import NotUpError, PreconditionError, StartError
from fluxpool_cluster.health import FORWARDER, Summary
from fluxpool_cluster.layout import Layer, Layout
from fluxpool_cluster.processes import Component


@dataclass(frozen=True)
class Wish:
    """What `up` was asked for; None leaves a running cluster as it is and means the default for a new one."""

    layer: Layer
    host_port: int | None = None
    resource: str | None = None
    count: int | None = None


DEFAULT_RESOURCE = "nvidia.com/gpu"
DEFAULT_COUNT = 4
# The API server would wait longer for the watches of its clients.
_RESTART_GRACE_SECONDS = 3


def up(wish: Wish, console: Console) -> Layout:
    """Bring the cluster to what was asked for, with as little change as possible.

    A healthy cluster that has the layer already is left alone; one with the control layer gets the node layer; the
    remains of a crash are cleaned up before a new start.

    Raises:
        PreconditionError: a precondition is missing.
        BusyError: another command is at work.
        BuildError: the programs cannot be built.
        StartError: a component does not become ready.
    """
    preflight.require_linux()
    preflight.require_root()
    preflight.require_layer_programs(wish.layer)
    where = Layout(layout.state_folder())
    with lock.exclusive("fluxpool-cluster up"):
        running = _running(where, console)
        if running is None:
            running = _start_control(where, wish, console)
        if wish.layer is Layer.NODE and running.layer is Layer.CONTROL:
            running = _add_node(where, running, wish, console)
        _settle(where, running, wish, console)
    return where


def _running(where: Layout, console: Console) -> Summary | None:
    """The healthy cluster that is up already; the remains of an unhealthy one are removed."""
    record = machine.load()
    if record is None:
        preflight.require_free_namespace()
        preflight.require_no_other_node([teardown.describe(pid) for pid in teardown.node_processes()])
        return None
    preflight.require_own_state(record, where.state)
    if wrong := health.problems(where):
        console.say(f"what is there is not well ({'; '.join(wrong)}): cleaning up")
        teardown.tear_down(record, console)
        return None
    summary = health.require_up(where)
    if summary.binaries != build.binaries_folder():
        raise PreconditionError(
            "the cluster that is up runs other versions of the programs than this checkout names",
            "make cluster-down, then make cluster-up",
        )
    console.say(f"a healthy cluster is up already (layer {summary.layer.value})")
    return summary


def _start_control(where: Layout, wish: Wish, console: Console) -> Summary:
    host_port = wish.host_port or layout.DEFAULT_HOST_PORT
    preflight.require_free_port(host_port)
    preflight.require_room_for_state(where.state)
    binaries = build.ensure(console)
    machine.save(machine.capture(where.state))
    machine.remove_tree(where.state)
    where.state.mkdir(parents=True, mode=0o700)
    netns.create()
    credentials.create(where, host_port)
    console.say(f"network namespace {layout.NAMESPACE} and certificates")
    processes = health.process_table(where)
    processes.spawn(forwarder(where, host_port))
    with netns.inside():
        control_plane.start(where, binaries, processes, console)
    summary = Summary(Layer.CONTROL, binaries, host_port, wish.resource or DEFAULT_RESOURCE, 0)
    health.save(where, summary)
    return summary


def _add_node(where: Layout, running: Summary, wish: Wish, console: Console) -> Summary:
    where.summary.unlink()  # until it is complete, it is not healthy
    with netns.inside():
        node.start(where, running.binaries, health.process_table(where), console)
    count = DEFAULT_COUNT if wish.count is None else wish.count
    summary = replace(running, layer=Layer.NODE, count=count)
    health.save(where, summary)
    return summary


def _settle(where: Layout, running: Summary, wish: Wish, console: Console) -> None:
    """Give the node its resource, also where somebody has taken it away, and check that all is well."""
    if running.layer is Layer.NODE:
        count = running.count if wish.count is None else wish.count
        running = replace(running, resource=wish.resource or running.resource, count=count)
        _advertise(where, running, console)
        health.save(where, running)
    if wrong := health.problems(where):
        raise StartError(f"the cluster is not well: {'; '.join(wrong)}", "make cluster-down, then make cluster-up")


def _advertise(where: Layout, running: Summary, console: Console) -> None:
    client = ApiClient.from_kubeconfig(where.kubeconfig)
    if node.allocatable(client, running.resource) == running.count:
        return
    node.advertise(client, running.resource, running.count)
    health.process_table(where).wait(
        f"node {layout.NODE} has {running.count} {running.resource}",
        node.KUBELET,
        lambda: node.allocatable(client, running.resource) == running.count,
        console,
    )


def forwarder(where: Layout, host_port: int) -> Component:
    """The process that lets the host in; it needs this package, installed or not."""
    package = Path(fluxpool_cluster.__file__).parent.parent
    argv = (sys.executable, "-m", "fluxpool_cluster.forwarder", str(host_port), str(layout.API_PORT))
    environment = (("PYTHONPATH", str(package)), ("PYTHONDONTWRITEBYTECODE", "1"), ("HOME", str(where.state)))
    return Component(FORWARDER, argv, environment)


def down(console: Console) -> None:
    """Remove the cluster, or what a crash has left of it; nothing to do is fine."""
    preflight.require_linux()
    preflight.require_root()
    with lock.exclusive("fluxpool-cluster down"):
        record = machine.load()
        if record is None:
            console.say("no cluster is up")
            return
        preflight.require_own_state(record, Layout(layout.state_folder()).state)
        teardown.tear_down(record, console)


def restart(name: str, console: Console) -> None:
    """End one component and start it again as it was; for tests of what happens then.

    Raises:
        NotUpError: no cluster is up, or it has no such component.
    """
    preflight.require_root()
    where = Layout(layout.state_folder())
    with lock.exclusive(f"fluxpool-cluster restart {name}"):
        running = health.require_up(where)
        processes = health.process_table(where)
        process = processes.get(name)
        if process is None:
            names = ", ".join(health.component_names(running.layer))
            raise NotUpError(f"the cluster has no component {name}; it has {names}")
        processes.stop([name], _RESTART_GRACE_SECONDS)
        _start_again(where, process.component, console)
        _settle(where, running, Wish(running.layer), console)


def _start_again(where: Layout, component: Component, console: Console) -> None:
    name = component.name
    processes = health.process_table(where)
    client = ApiClient.from_kubeconfig(where.kubeconfig)
    # The node stays Ready for a while without its kubelet: only a new report shows that it is back.
    last_report = node.heartbeat(client) if name == node.KUBELET else None
    with nullcontext() if name == FORWARDER else netns.inside():
        processes.spawn(component)
    processes.wait(
        f"{name} is back",
        name,
        lambda: not health.problems(where) and (last_report is None or node.heartbeat(client) != last_report),
        console,
    )
