"""Write docs/reference/bad-input.md. Run in the root of the repository: `python -m tests.bad_input`."""

import sys

from .table import DOCUMENT, generated

DOCUMENT.write_text(generated(), encoding="utf-8")
sys.stdout.write(f"wrote {DOCUMENT}\n")
