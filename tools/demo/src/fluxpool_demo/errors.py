"""What can go wrong, each as one sentence for the person at the terminal.

DemoError                what cannot go on; the message says what and what to do
├── CommandError         a program (helm, kubectl, fluxpool-cluster) ended with an error
├── KubernetesError      the API server said no
├── UnreachableError     the API server, Prometheus or the endpoint does not answer
└── WaitError            something did not happen in time
"""


class DemoError(Exception):
    """The demo cannot go on. The message is one sentence."""


class CommandError(DemoError):
    """A program ended with an error; the message ends with its last lines."""


class KubernetesError(DemoError):
    """The API server refused a request.

    Attributes:
        status: HTTP status code.
        reason: the API server's word for it, for example `NotFound` or `Invalid`.
    """

    def __init__(self, action: str, status: int, reason: str, message: str) -> None:
        super().__init__(f"cannot {action}: {message or reason} ({status})")
        self.status = status
        self.reason = reason


class UnreachableError(DemoError):
    """Nobody answers there now; trying again may help."""


class WaitError(DemoError):
    """Something did not happen in time; the message says what was there instead."""
