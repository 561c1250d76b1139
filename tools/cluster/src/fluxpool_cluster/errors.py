"""Every failure this package reports on purpose.

ClusterError
├── PreconditionError   the machine lacks something, or something else is in the way
├── BusyError           another command is working on this machine's cluster
├── BuildError          a program could not be built
├── StartError          a process did not become ready; the message ends with the last lines of its log
├── TeardownError       something of the cluster could not be removed
├── NotUpError          the command needs a running cluster
├── TargetError         the chosen cluster is not one that may be touched
└── ApiError            the API server answered with an error
"""


class ClusterError(Exception):
    """A failure with one sentence for what is wrong and, where there is one, a remedy."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\nremedy: {self.remedy}" if self.remedy else self.message


class PreconditionError(ClusterError):
    """The machine lacks something, or something else is in the way."""


class BusyError(ClusterError):
    """Another command is working on this machine's cluster."""


class BuildError(ClusterError):
    """A program could not be built."""


class StartError(ClusterError):
    """A process did not become ready."""


class TeardownError(ClusterError):
    """Something of the cluster could not be removed."""


class NotUpError(ClusterError):
    """The command needs a running cluster."""


class TargetError(ClusterError):
    """The chosen cluster is not one that may be touched."""


class ApiError(ClusterError):
    """The API server answered with an error; `status` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
