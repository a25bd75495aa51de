"""Signals while the service starts, and signals that it ignores. `Service.run` handles the stop of a running service."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

log = structlog.get_logger()

IGNORED: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that are logged only. By default they would kill the process, without a drain."""
CLOSE_TIMEOUT: Final = 5.0
"""Seconds for closing what a stopped start has opened, and for sending its alerts."""


def ignore_other_signals() -> None:
    """Log the signals that do not stop the service, and go on."""
    loop = asyncio.get_running_loop()
    for number in IGNORED:
        loop.add_signal_handler(number, _log_ignored, number)


@contextmanager
def on_hangup(act: Callable[[], None]) -> Iterator[None]:
    """Call this at each SIGHUP during the block."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, act)
    try:
        yield
    finally:
        loop.add_signal_handler(signal.SIGHUP, _log_ignored, signal.SIGHUP)


@contextmanager
def stoppable_start() -> Iterator[None]:
    """SIGTERM and SIGINT cancel the body, which then ends without an error, until the body handles them itself.

    A service that starts holds no message. So the process ends after `CLOSE_TIMEOUT` in any case, with exit code 0, and
    a second signal ends it at once.
    """
    loop, start = asyncio.get_running_loop(), asyncio.current_task()
    is_stopped = False

    def stop() -> None:
        nonlocal is_stopped
        if is_stopped:
            os._exit(0)
        is_stopped = True
        if start is not None:
            start.cancel()
        _exit_later()
        log.info("stopped_while_starting")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    except asyncio.CancelledError:
        if not is_stopped:
            raise


def end_undisturbed() -> None:
    """The service has stopped, and holds nothing. From now on a further signal must not turn its end into a kill.

    The loop resets its handlers when it closes, which takes up to seconds. If that takes longer than `CLOSE_TIMEOUT`, the
    process ends all the same.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, *IGNORED):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    _exit_later()


def _exit_later() -> None:
    # A thread, since closing the loop may be what takes long: it waits for threads, for example for a name server.
    timer = threading.Timer(CLOSE_TIMEOUT, os._exit, (0,))
    timer.daemon = True
    timer.start()


def _log_ignored(number: signal.Signals) -> None:
    log.info("signal_ignored", signal=number.name)
