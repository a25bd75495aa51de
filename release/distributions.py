"""The wheel and the source distribution: what they must contain, what they must not, and their metadata."""

import re
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Final

from packaging.metadata import Metadata

PACKAGE: Final = "jibe_sqs/"
IN_WHEEL: Final = (
    "jibe_sqs/py.typed",
    "jibe_sqs/adapters/web/templates/page.html",
    "jibe_sqs/adapters/web/static/page.js",
    "jibe_sqs/sandbox/cloudformation/region.yaml",
)
IN_SDIST: Final = (
    "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "src/jibe_sqs/py.typed", "tests/conftest.py",
)  # fmt: skip
SOURCES: Final = (("jibe_sqs/sandbox/cloudformation/", "infra/cloudformation/"), (PACKAGE, "src/jibe_sqs/"))
"""Folders of the wheel, and what they are copied from."""
MADE: Final = {"PKG-INFO"}
"""What the build adds to the source distribution."""
UNWANTED: Final = re.compile(
    r"(^|/)(\.venv|\.git|node_modules|__pycache__|\.env|dist|site)(/|$)|\.(pyc|sqlite|pem|key|p12|whl)$"
)
SECRETS: Final = {
    "an access key of AWS": re.compile(rb"\b(?:AKIA|ASIA)(?![A-Z0-9]*EXAMPLE)[A-Z2-7]{16}\b"),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]{40}"),
    "a token": re.compile(rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{80,})"),
}


def contents(path: Path) -> dict[str, bytes]:
    """The files of a wheel or of a source distribution; without the folder around the latter."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}
    with tarfile.open(path) as archive:
        files = ((each, archive.extractfile(each)) for each in archive.getmembers() if each.isfile())
        return {each.name.partition("/")[2]: file.read() for each, file in files if file}


def wheel_problems(files: Mapping[str, bytes], version: str) -> list[str]:
    information = f"jibe_sqs-{version}.dist-info"
    expected = (*IN_WHEEL, f"{information}/licenses/LICENSE", f"{information}/METADATA")
    foreign = [name for name in files if not name.startswith((PACKAGE, f"{information}/"))]
    return [
        *(f"the wheel does not contain {name}" for name in expected if name not in files),
        *(f"the wheel contains {name}, which is not part of the package" for name in foreign),
        *_unwanted("the wheel", files),
    ]


def sdist_problems(files: Mapping[str, bytes]) -> list[str]:
    missing = [f"the source distribution does not contain {name}" for name in IN_SDIST if name not in files]
    return [*missing, *_unwanted("the source distribution", files)]


def untracked(wheel: Iterable[str], sdist: Iterable[str], tracked: set[str]) -> list[str]:
    """Files that git does not track. What a user's own rules ignore is not in `git status`, but the build packs it."""
    sources = {name: _source(name) for name in wheel if name.startswith(PACKAGE)}
    return [
        *(f"the wheel contains {name}, which git does not track" for name in sources if sources[name] not in tracked),
        *(
            f"the source distribution contains {name}, which git does not track"
            for name in sdist
            if name not in tracked | MADE
        ),
    ]


def _source(name: str) -> str:
    return next(name.replace(folder, source, 1) for folder, source in SOURCES if name.startswith(folder))


def _unwanted(what: str, files: Mapping[str, bytes]) -> list[str]:
    return [
        *(f"{what} contains {name}" for name in files if UNWANTED.search(name)),
        *(
            f"{name} in {what} looks as if it contains {secret}"
            for name, content in files.items()
            for secret, pattern in SECRETS.items()
            if not name.startswith("tests/") and pattern.search(content)
        ),
    ]


def metadata_problems(text: bytes, version: str) -> list[str]:
    """Why an index would refuse this METADATA, or what a user misses in it."""
    try:
        found = Metadata.from_email(text, validate=True)
    except ExceptionGroup as group:
        return [f"metadata: {error}" for error in group.exceptions]
    wanted = {
        "Version": str(found.version) == version,
        "Summary": bool(found.summary),
        "License-Expression": bool(found.license_expression),
        "Requires-Python": found.requires_python is not None,
        "Author": bool(found.author or found.author_email),
        "Description": bool(found.description),
        "Classifier": bool(found.classifiers),
    }
    wrong = [f"metadata: {name} is missing or wrong" for name, is_right in wanted.items() if not is_right]
    kind = BytesHeaderParser().parsebytes(text).get("Description-Content-Type", "")
    return wrong if kind.startswith("text/markdown") else [*wrong, "metadata: the description is not Markdown"]
