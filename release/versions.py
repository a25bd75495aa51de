"""The version of the program, and each other place that names it.

`src/jibe_sqs/__init__.py` decides. Tags of images, documents and the files of a chart cannot read it there, so they repeat it:
`make release-prepare` writes all of them, and a test holds them equal.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SOURCE: Final = Path("src/jibe_sqs/__init__.py")
_ASSIGNED: Final = re.compile(r'(?<=^__version__ = ")[^"]+(?="$)', re.MULTILINE)
_PART: Final = r"(?:0|[1-9][0-9]*)"
_NUMBER: Final = rf"{_PART}\.{_PART}\.{_PART}(?:(?:a|b|rc){_PART}|\.dev{_PART})?"
VERSION: Final = re.compile(_NUMBER)
"""As the names of wheels write it: 1.0.0rc1, not 1.0.0rc01."""

MENTIONS: Final = (
    (("README.md", ".github", "docs", "infra", "tests"), rf"(?<=\bjibe-sqs[:@=]){_NUMBER}(?![\w.]*\.whl)"),
    (("docs/how-to", "docs/quickstart.md"), rf'(?<="version": "){_NUMBER}(?=")'),
    (("docs", "infra"), rf"(?<=\bnewTag: ){_NUMBER}"),
    (("docs", "infra"), rf'(?<=\bnewTag: "){_NUMBER}(?=")'),
    (("infra",), rf'(?<=^appVersion: "){_NUMBER}(?=")'),
    (("infra",), rf"(?<=^appVersion: ){_NUMBER}"),
    (("docs", "infra"), rf"(?<=\bimage\.version=){_NUMBER}"),
    (("docs",), rf'(?<=^IMAGE="\$REPOSITORY:){_NUMBER}'),
    (("docs",), rf"(?<=--build-arg VERSION=){_NUMBER}"),
)
"""Files and folders, and what names the version in them."""
MEASURED: Final = ("docs/explanation", "docs/reference", "tests/release")
"""Pages of these folders say what was measured with a certain version, or quote logs. Tests of a release invent versions."""
FOREIGN: Final = {"node_modules", "__pycache__", "package-lock.json"}


@dataclass(frozen=True, slots=True, order=True)
class Mention:
    path: Path
    line: int
    version: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} says {self.version}"


def current(root: Path) -> str:
    """The version of the program. Raises ValueError if its module does not assign one."""
    text = (root / SOURCE).read_text(encoding="utf-8")
    found = _ASSIGNED.search(text)
    if found is None:
        raise ValueError(f'{SOURCE} has no line `__version__ = "…"`')
    return found[0]


def mentions(root: Path) -> list[Mention]:
    """Each place outside the program that names its version."""
    found = set()
    for path, pattern in _searched(root):
        text = path.read_text(encoding="utf-8", errors="replace")
        for match in pattern.finditer(text):
            found.add(Mention(path.relative_to(root), text.count("\n", 0, match.start()) + 1, match[0]))
    return sorted(found)


def write(root: Path, version: str) -> list[Path]:
    """Write the version to each place. Returns the files that changed."""
    changed = []
    searched = [(root / SOURCE, _ASSIGNED), *_searched(root)]
    for path, pattern in searched:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        new = pattern.sub(version, text)
        if new != text:
            path.write_text(new, encoding="utf-8", errors="surrogateescape")
            changed.append(path.relative_to(root))
    return sorted(set(changed))


def _searched(root: Path) -> Iterator[tuple[Path, re.Pattern[str]]]:
    for places, text in MENTIONS:
        pattern = re.compile(text, re.MULTILINE)
        for place in places:
            top = root / place
            for path in [top] if top.is_file() else sorted(top.rglob("*")):
                if path.is_file() and not _is_left_out(path.relative_to(root)):
                    yield path, pattern


def _is_left_out(path: Path) -> bool:
    is_measured = path.as_posix().startswith(MEASURED)
    return is_measured or not FOREIGN.isdisjoint(path.parts) or path.suffix in {".png", ".svg", ".pyc", ".lock"}
