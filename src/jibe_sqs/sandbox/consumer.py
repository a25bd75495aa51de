"""`jibe-sqs` as a process of the sandbox: it ends with the process that started it."""

import runpy

from jibe_sqs.sandbox.parent_watch import exit_with_parent

if __name__ == "__main__":
    exit_with_parent()
    # The sandbox stands outside the service: it runs it as `python -m jibe_sqs` does, and does not import it.
    runpy.run_module("jibe_sqs", run_name="__main__", alter_sys=True)
