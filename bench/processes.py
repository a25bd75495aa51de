"""CPU time and memory of a process and its children, as Linux counts them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TICKS: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(process_id: int) -> float:
    """User and system time so far, to a hundredth of a second. Children that have ended count, if they were waited for."""
    return sum(_ticks(each) for each in tree(process_id)) / TICKS


def memory(process_id: int, *, peak: bool = False) -> int:
    """Resident bytes now, or at their peak. Of several processes the sum, in which shared pages count for each."""
    return sum(_status(each, "VmHWM" if peak else "VmRSS") for each in tree(process_id))


def tree(process_id: int) -> Iterator[int]:
    """The process and all its living descendants."""
    waiting = [process_id]
    while waiting:
        yield (each := waiting.pop())
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                waiting.extend(map(int, children.read_text().split()))
            except FileNotFoundError:  # the thread has ended
                continue


def _ticks(process_id: int) -> int:
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    return sum(map(int, fields[11:15]))


def _status(process_id: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)
