"""The helper of all generators: fills a template, and builds Markdown tables."""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

REFERENCE: Final = Path(__file__).parents[1] / "reference"

_PLACEHOLDER: Final = re.compile(r"\{\{([a-z][a-z0-9_ .-]*)\}\}")


class Page(NamedTuple):
    """A page of docs/reference, and the facts for the `{{placeholders}}` in its template."""

    name: str
    facts: Callable[[], Mapping[str, str]]

    @property
    def path(self) -> Path:
        """The generated file."""
        return REFERENCE / f"{self.name}.md"

    def text(self) -> str:
        """The page. Raises `ValueError` if the template and the facts do not match."""
        template = (REFERENCE / f"{self.name}.in.md").read_text(encoding="utf-8")
        facts = self.facts()
        names = set(_PLACEHOLDER.findall(template))
        if names != facts.keys():
            raise ValueError(f"{self.name}.in.md: placeholders without facts, or the reverse: {names ^ facts.keys()}")
        return _PLACEHOLDER.sub(lambda found: facts[found[1]], template)

    def is_current(self) -> bool:
        """Whether the committed file is the generated text."""
        return self.text() == self.path.read_text(encoding="utf-8")


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table. `|` in a cell is escaped."""
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def handwritten(name: str) -> dict[str, Any]:
    """A hand-written table of this folder."""
    return tomllib.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))


def same_names(written: Iterable[str], actual: Iterable[str], file: str) -> None:
    """Raises `ValueError` if a hand-written table lacks a name, or has a name that the program does not have."""
    found, known = set(written), set(actual)
    missing, unknown = known - found, found - known
    if missing or unknown:
        raise ValueError(f"{file}: missing: {sorted(missing)}; not in the program: {sorted(unknown)}")
