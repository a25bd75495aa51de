"""The locks in requirements/: what they pin, and whether it is what pyproject.toml asks for."""

import re
import shutil
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?: ; ([^\\\n]+?))?[ \t]*\\?$", re.MULTILINE)
_HASH: Final = re.compile(r"--hash=sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Pin:
    name: str
    version: str
    marker: str
    has_hash: bool

    @property
    def applies(self) -> bool:
        """Whether this machine and this Python install it."""
        return not self.marker or Marker(self.marker).evaluate()


def pins(lock: str) -> list[Pin]:
    found = list(_PIN.finditer(lock))
    ends = [*(match.start() for match in found[1:]), len(lock)]
    return [
        Pin(canonicalize_name(match[1]), match[2], (match[3] or "").strip(), bool(_HASH.search(lock, match.end(), end)))
        for match, end in zip(found, ends, strict=True)
    ]


def requirements(pyproject: str) -> dict[str, list[Requirement]]:
    """The direct requirements of each lock."""
    project: dict[str, Any] = tomllib.loads(pyproject)
    needed = project["project"]["dependencies"]
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    development = [line for name in ("sandbox", "inventory", "tracing", "dev") for line in extras[name]]
    lines = {
        "runtime": needed,
        "dev": [*needed, *(line for line in development if not line.startswith("jibe-sqs["))],
        "sandbox": [*needed, *extras["sandbox"], *groups["build"]],
        "uv": groups["uv"],
        "build": groups["build"],
        "tracing": [*needed, *extras["tracing"]],
        "inventory": [*needed, *extras["inventory"]],
    }
    return {lock: [Requirement(line) for line in each] for lock, each in lines.items()}


def problems(name: str, lock: str, needed: list[Requirement]) -> list[str]:
    """What is not pinned, or pinned to a version that pyproject.toml excludes, or without hashes."""
    pinned: dict[str, list[Pin]] = {}
    for pin in pins(lock):
        pinned.setdefault(pin.name, []).append(pin)
    wrong = [f"{name}.lock has no hash of {pin.name}" for each in pinned.values() for pin in each if not pin.has_hash]
    for requirement in needed:
        found = pinned.get(canonicalize_name(requirement.name), [])
        if not found:
            wrong.append(f"{name}.lock does not pin {requirement.name}")
        elif not any(requirement.specifier.contains(pin.version, prereleases=True) for pin in found):
            wrong.append(
                f"{name}.lock pins {requirement.name} {found[0].version}, which is not {requirement.specifier}"
            )
    return wrong


def resolved_differently(root: Path) -> list[str] | None:
    """The locks that `make lock` would change. None: uv is missing, or it cannot reach an index."""
    if shutil.which("uv") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        for lock in (root / "requirements").glob("*.lock"):
            shutil.copy(lock, folder)
        command = ["make", "--no-print-directory", "--silent", "lock", f"LOCKS={folder}"]
        if subprocess.run(command, cwd=root, capture_output=True, check=False).returncode:
            return None
        locks = sorted((root / "requirements").glob("*.lock"))
        return [lock.name for lock in locks if _pinned(lock) != _pinned(Path(folder) / lock.name)]


def _pinned(lock: Path) -> str:
    """A lock without comments, which name the files it was made from."""
    return re.sub(r"^\s*#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
