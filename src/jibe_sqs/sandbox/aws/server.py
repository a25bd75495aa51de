"""moto as a process of its own: AWS's APIs on a free loopback port, until it is told to stop.

A process and not a thread, so that the program under test shares neither interpreter nor lock with its world, and can be
killed without it. Werkzeug closes each connection after one answer, by design; on loopback that costs nothing worth having.
"""

import json
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from jibe_sqs.sandbox.aws import digests, gaps


def serve(host: str = "127.0.0.1", port: int = 0) -> None:
    """Serve until SIGTERM or SIGINT. Says where, in one JSON line on stdout, once connections are accepted."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    # moto opens a boto3 session of its own, which must not stumble over a profile of its user's.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    gaps.fill()
    digests.teach()
    server = make_server(
        host, port, DomainDispatcherApplication(create_backend_app), threaded=True, request_handler=_Quiet
    )
    print(json.dumps({"endpoint": f"http://{host}:{server.server_port}"}), flush=True)
    server.serve_forever()


def exit_with_parent(every: float = 0.25) -> None:
    """Leave when the process that started this one is gone, also when it was killed and could tell nobody.

    By looking, not by Linux's parent-death signal, which comes when the *thread* that started this process ends.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


class _Quiet(MotoRequestHandler):
    """No line for each request; errors are still told, on stderr."""

    def log_request(self, *_: Any) -> None:
        pass


def _stop(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)
