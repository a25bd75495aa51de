"""docs/how-to/why.md has every code of a reason, and no other."""

import re
from pathlib import Path

from jibe_sqs.commands.object_verdict import Cause, Verdict

PAGE = Path(__file__).parents[2] / "docs/how-to/why.md"


def test_the_page_describes_each_verdict_and_each_cause():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [*Verdict, *Cause]
