"""The commands of a page of the documentation, run as a reader runs them: one shell, block after block.

Between two blocks the test may act for the world outside, such as ECS or CloudTrail.
"""

import os
import re
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.processes import PATIENCE

ROOT = Path(__file__).parents[2]
WHOLE_PAGE = 900
"""Seconds after which the commands of a page are stopped."""
FENCE = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Change:
    """A text of a page that the test replaces before it runs the page, and the reason."""

    text: str
    by: str
    reason: str


def blocks(page: Path, changes: list[Change]) -> list[str]:
    """The blocks, in order. Each change must be needed: its text occurs in a block."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    for change in changes:
        assert any(change.text in block for block in found), f"{page.name} does not contain {change.text!r}"
        found = [block.replace(change.text, change.by) for block in found]
    return found


def run(
    found: list[str], *, cwd: Path, env: Mapping[str, str], after: Callable[[int, str], None], answers: str = ""
) -> str:
    """Run the blocks in one bash with `set -euo pipefail`. Returns what they print.

    `after(number, block)` is called after each block, before the next one. `answers`: standard input.
    Raises `AssertionError` with the output if a command fails.
    """
    said, reader = os.pipe()
    script = cwd / "page.sh"
    told, writer = os.pipe()
    parts = [f"{block}\necho {number} >&{reader}; read -r _ <&{told}\n" for number, block in enumerate(found)]
    script.write_text("set -euo pipefail\n" + "".join(parts), encoding="utf-8")
    (cwd / "answers").write_text(answers, encoding="utf-8")
    output = cwd / "page.out"
    with (cwd / "answers").open() as stdin, output.open("wb") as out:
        bash = subprocess.Popen(
            ["bash", "--norc", script.name],
            cwd=cwd,
            env=dict(env),
            stdin=stdin,
            stdout=out,
            stderr=subprocess.STDOUT,
            pass_fds=(reader, told),
        )
    os.close(reader)
    os.close(told)
    late = threading.Timer(WHOLE_PAGE, bash.kill)
    late.start()
    try:
        with os.fdopen(said, encoding="utf-8") as done:
            for line in done:
                after(int(line), found[int(line)])
                os.write(writer, b"\n")
                if int(line) == len(found) - 1:
                    break
        code = bash.wait(PATIENCE)
    finally:
        late.cancel()
        bash.kill()
        bash.wait()
        os.close(writer)
    text = output.read_text(encoding="utf-8", errors="replace")
    assert code == 0, f"exit code {code}\n{text[-8000:]}"
    return text
