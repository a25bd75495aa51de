"""Writes docs/reference/bad-input.md, and prints where. From the root of the repository: `python -m tests.bad_input`."""

import sys

from .table import DOCUMENT, generated

DOCUMENT.write_text(generated(), encoding="utf-8")
sys.stdout.write(f"wrote {DOCUMENT}\n")
