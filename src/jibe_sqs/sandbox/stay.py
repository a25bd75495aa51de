"""`jibe-sqs sandbox`: the world, kept until somebody stops it."""

import json
import shlex
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack

from jibe_sqs.sandbox import world
from jibe_sqs.sandbox.demo import make_changes
from jibe_sqs.sandbox.scenario import ORDINARY, Scenario
from jibe_sqs.sandbox.world import World


def stay(*, consume: bool, changes: int, seed: int, as_json: bool, scenario: Scenario = ORDINARY) -> None:
    """Start the world, say where it is once all that was asked for is there, and wait for SIGTERM or SIGINT."""
    stopped = threading.Event()

    def stop(*_: object) -> None:
        if stopped.is_set():
            raise SystemExit(1)
        stopped.set()
        # In the middle of starting or changing things there is nobody to look at the event.
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
        print(json.dumps(running.described()) if as_json else _words(running), flush=True)
        ready = True
        if not stopped.is_set():
            stopped.wait()
    sys.exit(0)


def _words(running: World) -> str:
    here = running.described()
    lines = [
        "The sandbox is running; Ctrl-C stops it.",
        "",
        f"  AWS               {here['aws']} (with --endpoint-url), or under its real host names:",
        *(f"                      {line}" for line in _exports(here["environment"])),
        f"  Access Anywhere   {here['access_anywhere']}",
        f"  its login         {here['login']} / {here['password']}",
        f"  configuration     {here['config']}",
        "",
        "  A consumer, with that environment:",
        "                    jibe-sqs run --config " + here["config"],
        "  What AA shows:    rclone lsf -R :filefabric: --filefabric-url " + here["access_anywhere"] + " \\",
        "                      --filefabric-permanent-token " + here["permanent_token"],
        "",
        "  Queues:",
        *(f"    {url}" for url in here["queues"].values()),
        "  Buckets, and their folders in Access Anywhere:",
        *(f"    {bucket}  {folder}" for bucket, folder in here["buckets"].items()),
    ]
    return "\n".join(lines)


def _exports(environment: Mapping[str, str]) -> list[str]:
    """Lines to paste into a shell."""
    return [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
