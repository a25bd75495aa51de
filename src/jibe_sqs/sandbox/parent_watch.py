"""For a process of the sandbox: it ends when the process that started it has ended."""

import os
import signal
import threading
import time


def exit_with_parent(every: float = 0.25) -> None:
    """Send this process SIGTERM when the process that started it is gone, even if that one was killed.

    It polls. Linux's parent-death signal is not used: it comes when the *thread* that started this process ends.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
