"""What stops a benchmark before it measures anything.

UsageError    an option or a file says something that cannot be run: exit 2, one line
"""


class UsageError(Exception):
    """The command line, the workload file or the arrival file is wrong; the message is one sentence for its author."""
