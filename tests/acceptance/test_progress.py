"""tests/progress.py: what `make test` shows while it runs."""

import sys
from pathlib import Path

from tests.processes import finished

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

@pytest.mark.parametrize("number", range(20))
def test_number(number):
    assert number != 2
"""


def test_progress_and_each_failure_are_shown_while_the_tests_run(tmp_path):
    (tmp_path / "test_numbers.py").write_text(TESTS)
    options = ["-p", "tests.progress", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    result = finished([sys.executable, "-m", "pytest", *options, "-n", "1", str(tmp_path)], cwd=ROOT)
    lines = result.stdout.splitlines()
    progress = [line for line in lines if " of 20 tests, " in line]
    assert progress[0].startswith("  5 %  1 of 20 tests, 0 failed, 0:")
    assert progress[-1].startswith("100 %  20 of 20 tests, 1 failed, ")
    assert max(map(len, progress)) < 80
    (failed,) = [number for number, line in enumerate(lines) if line.startswith("FAILED ") and "in its call" in line]
    assert lines.index(progress[0]) < failed < lines.index(progress[-1])
    assert any("assert 2 != 2" in line for line in lines[failed : lines.index(progress[-1])])
    assert lines[-1].startswith("=")
    assert "1 failed, 19 passed" in lines[-1]
    assert result.returncode == 1
