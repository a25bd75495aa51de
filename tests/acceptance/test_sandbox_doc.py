"""The commands of docs/how-to/use-the-sandbox.md, pasted into a shell as they are."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from tests.processes import PATIENCE, finished

BLOCK = r"```bash\n(.*?)```"
TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "use-the-sandbox.md").read_text(encoding="utf-8")
RCLONE, AWS = "Work through Access Anywhere with rclone", "Change something and see it refreshed"


@pytest.mark.parametrize(("section", "program"), [(RCLONE, "rclone"), (AWS, "aws")])
def test_a_session_prints_what_the_page_shows(tmp_path, section, program):
    needed = ("bash", "jq", "curl", program)
    if missing := [each for each in needed if finished(["sh", "-c", f"{each} --version"]).returncode]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    head, after = TEXT.partition(f"## {section}\n")[::2]
    (start,) = re.findall(BLOCK, head.partition("\n## ")[0], re.DOTALL)
    (commands,) = re.findall(BLOCK, after.partition("\n## ")[0], re.DOTALL)
    printed = after.partition("\n## ")[0].partition(commands)[2]
    shown = [line.removeprefix("    ") for line in printed.splitlines() if line.startswith("    ")]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = f"{start}\n{commands}\nkill %1; wait"
    done = finished(["bash", "-e", "-c", script], within=3 * PATIENCE, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    # rclone copies several files at a time, in no order.
    assert sorted(done.stdout.splitlines()) == sorted(shown), done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_wait_for_the_sandbox_ends_when_the_sandbox_has_died(tmp_path):
    start = re.findall(BLOCK, TEXT, re.DOTALL)[0]
    wait = start.partition("\nAA=")[0]
    broken = tmp_path / ".venv" / "bin" / "jibe-sqs"
    broken.parent.mkdir(parents=True)
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert finished(["bash", "-c", wait], cwd=tmp_path).stdout == ""
