"""`python -m jibe_sqs`, and the command `jibe-sqs`: signals and standard error work from the first moment.

The imports of the command line take a second or more. Nothing that they need may be imported here.
"""

import os
import signal
import sys
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT)
"""Signals that end the service."""
IGNORED = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that would kill the service without a drain."""


def main() -> None:
    """Run a command."""
    _occupy_standard_descriptors()
    if _is_service(sys.argv):
        _handle_signals()
    # The image starts Python with these signals blocked. A signal that has come meanwhile is delivered now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    from jibe_sqs.cli import main as command_line

    command_line()


def _occupy_standard_descriptors() -> None:
    """Open /dev/null for each of the descriptors 0, 1 and 2 that is closed.

    Otherwise a socket or the ledger's file gets the number, and log lines are written into it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _is_service(arguments: list[str]) -> bool:
    """Whether the command is `run`, which is also the default."""
    command = arguments[1] if len(arguments) > 1 else "run"
    return command == "run" or command.startswith("-")


def _handle_signals() -> None:
    """Until the service handles signals itself, it holds nothing, and may end at once.

    The kernel drops SIGTERM for PID 1, the first process of a container, as long as there is no handler and the signal is
    not blocked.
    """
    for number in ENDING:
        signal.signal(number, _end)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)


def _end(_number: int, _frame: FrameType | None) -> None:
    # Not an exception: Python drops those that a handler raises during a callback of the import system.
    os._exit(0)


if __name__ == "__main__":
    main()
