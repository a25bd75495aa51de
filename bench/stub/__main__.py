"""Run the stub. It prints its port, and serves until its standard input ends."""

import asyncio
import gc
import os
import sys
import threading

import uvloop

from bench.stub.server import serve


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=_end_with_parent, daemon=True).start()
gc.freeze()
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(serve())
