"""Every error of the operator that is its own.

    OperatorError
    ├── SettingsError           a setting that cannot be used; ends the process with code 2
    ├── StoppedError            a part that must run forever has ended; ends the process with code 1
    └── ClusterError            what the API server answered, or that it did not
        ├── ConflictError       the object has changed since it was read; read again, then try again
        ├── ExistsError         the object to be created is there already
        ├── NotFoundError       the object, its kind or its namespace is not there
        ├── ForbiddenError      a rule of RBAC (or an admission plugin) forbids it; the message names what is missing
        ├── NamespaceEndsError  the namespace is being deleted: nothing can be made in it any more
        ├── UnauthorizedError   the credentials are not accepted
        ├── InvalidError        the object itself is refused; the same object will be refused again
        ├── ThrottledError      the API server asks to slow down
        └── UnavailableError    no answer, or an internal error; nothing is known about the effect

A `ClusterError` says in `str()` what was tried on which object, and what the API server said about it.
"""


class OperatorError(Exception):
    """The root of all errors of the operator."""


class SettingsError(OperatorError):
    """A setting that cannot be used. The message is one line that names the setting."""


class StoppedError(OperatorError):
    """A part that must run as long as the process has ended."""


class ClusterError(OperatorError):
    """What the API server answered, or that it did not.

    Attributes:
        detail: the API server's own message.
    """

    def __init__(self, action: str, detail: str) -> None:
        super().__init__(f"{action}: {detail}")
        self.detail = detail


class ConflictError(ClusterError):
    """The object has changed since it was read."""


class ExistsError(ClusterError):
    """The object to be created is there already."""


class NotFoundError(ClusterError):
    """The object, its kind or its namespace is not there."""


class ForbiddenError(ClusterError):
    """A rule of RBAC or an admission plugin forbids it."""


class NamespaceEndsError(ClusterError):
    """The namespace is being deleted, so nothing can be made in it any more."""


class UnauthorizedError(ClusterError):
    """The credentials are not accepted."""


class InvalidError(ClusterError):
    """The object is refused, and the same object will be refused again."""


class ThrottledError(ClusterError):
    """The API server asks to slow down.

    Attributes:
        retry_after_seconds: for how long at least.
    """

    def __init__(self, action: str, detail: str, retry_after_seconds: float) -> None:
        super().__init__(action, detail)
        self.retry_after_seconds = retry_after_seconds


class UnavailableError(ClusterError):
    """No answer, or an internal error of the API server; the write may or may not have happened."""
