"""What a script needs to start a server: a port, and an environment that tells the server nothing by itself."""

import os
import socket


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
        return port


def inherited() -> dict[str, str]:
    """This process's environment without options of our server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FLUXPOOL_")}
