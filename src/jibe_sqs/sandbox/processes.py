"""Starts and stops the processes of a sandbox: its servers and the service."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from jibe_sqs.sandbox.environment import of_server

START_TIMEOUT: Final = 60.0
"""Seconds that a server may take to start."""
STOP_TIMEOUT: Final = 60.0
"""Seconds from SIGTERM to SIGKILL."""


@contextmanager
def server(module: str, *arguments: str) -> Iterator[str]:
    """Run a server of the sandbox until the block ends. Yields its endpoint. Raises `RuntimeError` if it does not start."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--exit-with-parent", *arguments],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=of_server(),
        # Ctrl-C must reach only this process, which then stops the servers in order.
        start_new_session=True,
    )
    try:
        yield _read_endpoint(process, module)
    finally:
        stop(process)
        if process.stdout is not None:
            process.stdout.close()


def start_consumer(
    config: Path, environment: Mapping[str, str], output: IO[bytes] | None = None
) -> "subprocess.Popen[bytes]":
    """Start `jibe-sqs run`. The caller stops it; otherwise it ends with this process.

    `environment` is the whole environment; `output` receives the log.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "jibe_sqs.sandbox.consumer", "run", "--config", str(config)],
        stderr=output,
        stdin=subprocess.DEVNULL,
        env=environment,
        # Ctrl-C must reach only this process. With a second signal from `stop`, the consumer would end without draining.
        start_new_session=True,
    )


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Stop a process with SIGTERM, and with SIGKILL if it takes longer than `STOP_TIMEOUT`."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _read_endpoint(process: "subprocess.Popen[bytes]", module: str) -> str:
    """Read the endpoint that the server prints as soon as it accepts connections."""
    if process.stdout is None:
        raise RuntimeError(f"{module}: standard output is not a pipe, so its endpoint cannot be read")
    timer = threading.Timer(START_TIMEOUT, process.kill)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        # Also if a signal interrupts `readline`: the process could not exit before this thread ends.
        timer.cancel()
    if not line:
        code = process.wait()
        timed_out = code == -signal.SIGKILL
        reason = f"no endpoint within {START_TIMEOUT:g} s" if timed_out else f"it ended with exit code {code}"
        raise RuntimeError(f"{module} did not start: {reason}")
    endpoint: str = json.loads(line)["endpoint"]
    return endpoint
