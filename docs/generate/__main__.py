"""Writes the generated pages of docs/reference. From the root of the repository: `python -m docs.generate`."""

import sys

from .pages import PAGES

for page in PAGES:
    page.path.write_text(page.text(), encoding="utf-8")
    sys.stdout.write(f"wrote {page.path}\n")
