"""A backfill that is killed half-way and resumed: files a second, memory, and the files that were fetched twice.

The program is a process of its own; S3 and Access Anywhere are another one. `python -m bench backfill [--files N]`.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench.log_bucket import START, Endpoints, served, settings

FILES: Final = 100_000
FOLDERS: Final = 1000
POLL: Final = 0.2
"""Seconds between two looks at the number of fetched files."""


def run(files: int = FILES) -> None:
    """A backfill that is killed half-way and resumed: files a second, memory, and the files fetched twice."""
    print(f"  {files:,} log files, {FOLDERS:,} folders")
    with served(files, FOLDERS) as endpoints, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        config.write_text(json.dumps(settings(endpoints, str(Path(folder) / "ledger.sqlite"))))
        _report("killed half-way", endpoints, _run(config, endpoints, kill_at=files // 2))
        _report("resumed", endpoints, _run(config, endpoints))
        _report("once more", endpoints, _run(config, endpoints))


def _run(config: Path, endpoints: Endpoints, *, kill_at: int | None = None) -> dict[str, Any]:
    """Run the command, and kill it when so many files have been fetched. Returns its JSON, with time and memory."""
    command = [sys.executable, "-m", "jibe_sqs", "backfill", "--config", str(config), "--json"]
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, "--from", f"{START:%Y-%m-%d}"],
        cwd=config.parent,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        stdout=subprocess.PIPE,
        stderr=sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    if kill_at is not None:
        while process.poll() is None and endpoints.counts()["gets"] < kill_at:
            time.sleep(POLL)
        process.send_signal(signal.SIGKILL)
    text = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    taken = {"seconds": time.monotonic() - began, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024}
    return (json.loads(text) if text else {}) | taken | {"exit_code": process.returncode}


def _report(what: str, endpoints: Endpoints, found: dict[str, Any]) -> None:
    counts = endpoints.counts()
    print(
        f"  {what}: exit code {found['exit_code']}, {found['seconds']:.1f} s, of it {found['cpu']:.1f} s of its CPU, "
        f"{found['peak'] / 1e6:.0f} MB"
    )
    if "files" in found:
        rate = found["read"] / found["seconds"]
        print(
            f"    {found['files']:,} files, {found['read']:,} read ({rate:,.0f} a second), {found['events']:,} events, "
            f"{found['refreshes']:,} refreshes, {found['failed']:,} failed"
        )
    print(
        f"    so far: {counts['gets']:,} GETs of {counts['keys']:,} files, {counts['twice']:,} more than one of each; "
        f"{counts['lists']:,} LISTs",
        flush=True,
    )
