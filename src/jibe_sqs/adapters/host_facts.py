"""The versions, limits and variables of this machine and this process, for support."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from jibe_sqs import __version__
from jibe_sqs.adapters.usable_cores import usable_cores

_LIMITS: Final = ("memory.max", "memory.current", "memory.peak", "cpu.max", "pids.max")
"""Files of control groups, version 2."""
_CGROUP: Final = Path("/sys/fs/cgroup")


def versions() -> dict[str, Any]:
    """The versions of the program, Python, its packages and the operating system, and the limits of the container."""
    return {
        "jibe-sqs": __version__,
        "python": sys.version,
        "implementation": platform.python_implementation(),
        "kernel": platform.platform(),
        "machine": platform.machine(),
        "os": _os_release(),
        "host": platform.node(),
        "user_id": os.getuid(),
        "usable_cores": usable_cores(),
        "limits": {name: text for name in _LIMITS if (text := _line(_CGROUP / name))},
        "packages": dict(sorted((each.name, each.version) for each in metadata.distributions())),
    }


def variables() -> list[str]:
    """The names of all environment variables. Their values may be secrets."""
    return sorted(os.environ)


def _os_release() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
