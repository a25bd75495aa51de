"""Hooks of MkDocs: the navigation comes from docs/README.md, and links to the repository's other files lead to copies of them."""

import os
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
COPIES: Final = "repository"
LINK: Final = re.compile(r"\]\(([^)\s#:]+)((?:#[^)\s]*)?)\)")
CODE: Final = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
BEFORE_A_LIST: Final = re.compile(r"^(?![-|>#\s])(.+)\n(?=- )", re.MULTILINE)
_sources: Final[dict[str, Path]] = {}
"""Path in the site -> the file of the repository that is shown there."""


def on_config(config: Any) -> Any:
    config.nav = navigation((DOCS / "README.md").read_text(encoding="utf-8"))
    return config


def navigation(index: str) -> list[Any]:
    """The sections of the index, each with its groups and pages. Decisions are listed after the page that lists them."""
    nav: list[Any] = [
        {"Documentation": "README.md"},
        {"Quickstart": "quickstart.md"},
        {"Frequent questions": "faq.md"},
        {"Glossary": "glossary.md"},
    ]
    for section in re.split(r"^## ", index, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        entries: list[Any] = []
        into = entries
        for line in text.splitlines():
            if line.endswith(":") and not line.startswith("-"):
                into = []
                entries.append({line[:-1]: into})
            elif line.startswith("- "):
                into += [
                    {name: path} for name, path in re.findall(r"\[([^\]]+)\]\(([^)#]+)\)", line) if not _has(nav, path)
                ]
        nav.append({title: entries})
    decisions = sorted((DOCS / "explanation" / "adr").glob("0*.md"))
    return [*nav, {"Decisions": [path.relative_to(DOCS).as_posix() for path in decisions]}]


def _has(entries: list[Any], path: str) -> bool:
    return any(
        path == value if isinstance(value, str) else _has(value, path) for each in entries for value in each.values()
    )


def on_files(files: Files, config: Any) -> Files:
    """Add each file outside docs/ that a page links to, and those that these link to."""
    _sources.clear()
    left = [DOCS / file.src_uri for file in files.documentation_pages()]
    while left:
        page = left.pop()
        for target, _ in LINK.findall(page.read_text(encoding="utf-8")):
            found = Path(os.path.normpath(page.parent / target))
            uri = _uri(found)
            if uri.startswith(COPIES) and uri not in _sources and found.is_file():
                _sources[uri] = found
                files.append(File.generated(config, uri, abs_src_path=str(found), inclusion=InclusionLevel.NOT_IN_NAV))
                left += [found] if found.suffix == ".md" else []
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    uri = page.file.src_uri
    source = _sources.get(uri, DOCS / uri)

    def link(match: re.Match[str]) -> str:
        found = Path(os.path.normpath(source.parent / match[1]))
        if not found.exists():
            return match[0]  # MkDocs warns of it
        return f"]({os.path.relpath(_uri(found), Path(uri).parent)}{match[2]})"

    return LINK.sub(link, with_lists(markdown))


def with_lists(markdown: str) -> str:
    """With an empty line between a paragraph and its list. GitHub needs none, but MkDocs would see one paragraph."""
    parts = CODE.split(markdown)
    parts[::2] = [BEFORE_A_LIST.sub(r"\1\n\n", text) for text in parts[::2]]
    return "".join(parts)


def _uri(path: Path) -> str:
    """Where the site shows a file of the repository."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    return f"{COPIES}/{os.path.relpath(path, ROOT)}"
