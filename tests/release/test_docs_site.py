"""The documentation as a site: complete, and without anything from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def build(folder: Path, *, config: Path = ROOT / "mkdocs.yml") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", config, "--site-dir", folder]
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


def test_a_list_is_a_list_on_each_page(site):
    """GitHub makes a list of lines right after a paragraph."""
    for page in site.rglob("*.html"):
        text = re.sub(r"<pre.*?</pre>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.findall(r"<p>[^<]*(?:<(?!/p>)[^<]*)*\n- ", text), page


@pytest.mark.parametrize(
    ("text", "is_right"),
    [("[x](#here)", True), ("[x](nowhere.md)", False), ("[x](#nowhere)", False), ("![x](nowhere.png)", False)],
    ids=["right", "no page", "no anchor", "no image"],
)
def test_make_fails_at_a_broken_link(tmp_path, text, is_right):
    """With the command of `make docs-site`, and what the site's own configuration says about links."""
    (recipe,) = re.findall(r"^docs-site:.*\n\t@.*/(mkdocs .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    (validation,) = re.findall(r"^validation:\n(?: .*\n)+", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\nsite_dir: out\n{validation}")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Here\n\n{text}\n")
    command = [sys.executable, "-m", *recipe.split(), "-f", tmp_path / "mkdocs.yml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode == 0) is is_right, done.stderr
