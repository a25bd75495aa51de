"""The versions of the AWS CLI that are installed and tried. Version 2 is Debian's."""

import shutil
import subprocess
from functools import cache

import pytest
from tests.examples import SHARE


@cache
def version(path: str) -> str:
    """Such as `2.9.19`."""
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=60)
    return (said.stdout or said.stderr).split()[0].partition("/")[2]


def _found() -> list[str]:
    """The path of one AWS CLI of each version."""
    paths = [path for path in (shutil.which("aws"), shutil.which("aws", path="/usr/bin")) if path]
    return list({version(path).partition(".")[0]: path for path in paths}.values())


_SKIPPED = pytest.param("", marks=pytest.mark.skip(reason="not installed: the AWS CLI"), id="no-aws-cli")
_TRIED = sorted(_found(), key=version) if SHARE == 1 else sorted(_found(), key=version)[-1:]
CLIS = [pytest.param(path, id=f"aws-cli-{version(path)}") for path in _TRIED] or [_SKIPPED]
"""Each version with `make tests EXAMPLES=1`, otherwise the newest."""
