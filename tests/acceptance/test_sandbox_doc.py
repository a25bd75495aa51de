"""The commands of docs/sandbox.md, pasted into a shell as they are."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from tests.processes import PATIENCE, finished

DOC = Path(__file__).parents[2] / "docs" / "sandbox.md"
NEEDED = ("bash", "rclone", "jq", "curl")


@pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"one of {', '.join(NEEDED)} is not installed")
def test_the_rclone_session_prints_what_the_page_shows(tmp_path):
    text = DOC.read_text(encoding="utf-8")
    (commands,) = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    after = text.partition(commands)[2]
    shown = [line.removeprefix("    ") for line in after.splitlines() if line.startswith("    ")]
    stop = "kill %1; wait"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = finished(["bash", "-e", "-c", f"{commands}\n{stop}"], within=3 * PATIENCE, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    # rclone copies several files at a time, in no order.
    assert sorted(done.stdout.splitlines()) == sorted(shown), done.stderr
