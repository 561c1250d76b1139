"""What stops a benchmark before it measures anything, each with one line.

UsageError      an option or a file says something that cannot be run: exit 2
NoAnswerError   a server answers no request of the warm-up: exit 1
"""


class UsageError(Exception):
    """The command line, the workload file or the arrival file is wrong; the message is one sentence for its author."""


class NoAnswerError(Exception):
    """A server answered none of its warm-up's requests; the message names it and says what the first one met."""


def reason(error: Exception) -> str:
    """What went wrong with a file, without its name, which the message has already."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
