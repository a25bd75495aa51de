"""The number of CPU cores that this process may use: of the machine, or of its container."""

import os
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")


def usable_cores(cgroups: Path = CGROUPS) -> int:
    """The cores that the scheduler gives to this process, but not more than the whole cores of its CPU quota; 1 or more."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroups)
    return max(1, affinity if quota is None else min(affinity, int(quota)))


def _quota(cgroups: Path) -> float | None:
    """The CPU quota in cores, by version 2 or 1 of Linux's cgroups. None without a quota."""
    try:
        allowed, period = _text(cgroups / "cpu.max").split()
    except (OSError, ValueError):
        allowed, period = _version_1(cgroups)
    try:
        return int(allowed) / int(period) if int(allowed) > 0 else None
    except (ValueError, ZeroDivisionError):
        return None  # "max"


def _version_1(cgroups: Path) -> tuple[str, str]:
    try:
        return _text(cgroups / "cpu" / "cpu.cfs_quota_us"), _text(cgroups / "cpu" / "cpu.cfs_period_us")
    except OSError:
        return "", ""


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()
