"""`jibe-sqs sandbox`: runs a sandbox until it is stopped. Changes in its S3 are logged within a second."""

import json
import shlex
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from jibe_sqs.sandbox import world
from jibe_sqs.sandbox.demo import make_changes
from jibe_sqs.sandbox.logged_calls import foreign_calls, own_calls
from jibe_sqs.sandbox.scenario import ORDINARY, Scenario
from jibe_sqs.sandbox.world import World

DELIVERY_INTERVAL: Final = 1.0
"""Seconds between two deliveries of changes by Access Anywhere and by other programs."""


def stay(*, consume: bool, changes: int, seed: int, as_json: bool, scenario: Scenario = ORDINARY) -> None:
    """Start the sandbox, print its description when everything is ready, and wait for SIGTERM or SIGINT."""
    stopped = threading.Event()

    def stop(*_: object) -> None:
        if stopped.is_set():
            raise SystemExit(1)
        stopped.set()
        # Before that, the main thread does not look at the event.
        if not ready:
            raise SystemExit(0)

    ready = False
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with ExitStack() as stack:
        running = stack.enter_context(world.running(seed=seed, scenario=scenario))
        if consume:
            stack.enter_context(world.consumer(running))
        if changes:
            make_changes(running, changes, seed)
        logged = [own_calls(running), foreign_calls(running)]
        rclone = _rclone_config(running)
        print(json.dumps(running.description()) if as_json else _instructions(running, rclone), flush=True)
        ready = True
        while not stopped.wait(DELIVERY_INTERVAL):
            for calls in logged:
                calls.deliver()
    sys.exit(0)


def _rclone_config(running: World) -> Path:
    """Write a configuration file for rclone, with Access Anywhere as the remote `aa`, beside the service's
    configuration.
    """
    path = running.config.with_name("rclone.conf")
    path.touch(mode=0o600)
    lines = ["[aa]", "type = filefabric", f"url = {running.access_anywhere}"]
    path.write_text("\n".join([*lines, f"permanent_token = {running.permanent_token}", ""]), encoding="utf-8")
    return path


def _instructions(running: World, rclone: Path) -> str:
    description = running.description()
    lines = [
        "The sandbox is running. Press Ctrl-C to stop it.",
        "",
        f"  AWS               {description['aws']} (for --endpoint-url)",
        "                    Object changes at this endpoint are not logged. They are logged",
        "                    under AWS's real host names, with these variables:",
        *(f"                      {line}" for line in _export_lines(description["environment"])),
        f"  Access Anywhere   {description['access_anywhere']}",
        f"  its login         {description['login']} / {description['password']}",
        f"  configuration     {description['config']}",
        "",
        "  A service, with the variables above:",
        "                    jibe-sqs run --config " + description["config"],
        f"  rclone:           export RCLONE_CONFIG={rclone}",
        "                    rclone lsf -R aa:          # lists Access Anywhere's index",
        "",
        "  Queues:",
        *(f"    {url}" for url in description["queues"].values()),
        "  Buckets and their folders in Access Anywhere:",
        *(f"    {bucket}  {folder}" for bucket, folder in description["buckets"].items()),
    ]
    return "\n".join(lines)


def _export_lines(environment: Mapping[str, str]) -> list[str]:
    """Lines for a shell."""
    return [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
