"""The file of results: machine, versions, and every measurement with its spread."""

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from bench.behaviour import Fact
from bench.growth import Curve
from bench.workloads import Result

FOLDER: Final = Path(__file__).parent / "results"
PACKAGES: Final = ("jibe-sqs", "aiobotocore", "aiohttp", "boto3", "httptools", "httpx", "isal", "msgspec", "uvloop")


def machine() -> dict[str, str]:
    """What the times depend on: processor, cores, system. The load is of the last 15 minutes."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "load": f"{os.getloadavg()[2]:.1f}",
    }


def versions() -> dict[str, str]:
    """The versions of Python, of Node, and of the packages that the contenders use."""
    return {"python": platform.python_version(), "node": _node()} | {name: version(name) for name in PACKAGES}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _node() -> str:
    if shutil.which("node") is None:
        return ""
    return subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()


class Results(msgspec.Struct):
    """All that one run has measured. What is absent was not measured."""

    date: str = msgspec.field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d}")
    machine: dict[str, str] = msgspec.field(default_factory=machine)
    versions: dict[str, str] = msgspec.field(default_factory=versions)
    workloads: list[Result] = []
    behaviour: list[Fact] = []
    growth: list[Curve] = []


def write(found: Results, *, is_whole: bool) -> Path:
    """Write `bench/results/<date>.json`, or `part.json` if not everything was measured. An earlier one is replaced."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / (f"{found.date}.json" if is_whole else "part.json")
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    return path
