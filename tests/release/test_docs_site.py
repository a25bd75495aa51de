"""The documentation as a site: complete, and without anything from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def build(folder: Path, *, config: Path = ROOT / "mkdocs.yml") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", config, "--site-dir", folder]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = build(folder)
    assert built.returncode == 0, built.stderr
    return folder


def test_each_page_is_in_the_site_and_nothing_that_is_no_page(site):
    for page in (ROOT / "docs").rglob("*.md"):
        path = page.relative_to(ROOT / "docs").as_posix()
        if not path.endswith(".in.md"):
            assert (site / re.sub(r"README\.md$", "index.md", path)).with_suffix(".html").is_file(), path
    assert not list(site.rglob("*.py"))
    assert not list(site.rglob("*.in.*"))


def test_a_page_loads_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"""<(?:script|img|iframe)[^>]+src=["']?(?:https?:)?//""", text), page
        assert not re.findall(r"""<link[^>]+rel=["']?(?:stylesheet|preconnect)[^>]+(?:https?:)//""", text), page
        assert "mermaid" not in text, "Material fetches mermaid from elsewhere"
