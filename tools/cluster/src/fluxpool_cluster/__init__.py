"""A real Kubernetes cluster in one network namespace, for tests and the demo.

The modules, from the bottom up:

    errors · console · layout           what a failure looks like, how progress is shown, where everything lies
    processes · netns · lock · machine  the machine: processes, the namespace, one command at a time, what to put back
    programs · build · packages         the programs: which, how they are built, what Debian provides
    credentials · api · images          certificates and tokens, a small API client, images without a builder
    control_plane · node · forwarder    the two layers of the cluster, and the way in from the host
    preflight · health · teardown       may it start, is it well, take it all away again
    lifecycle                           up, down, restart
    paths · pods · fake_nodes · target  what tests and the demo use
    cli                                 the command line
"""
