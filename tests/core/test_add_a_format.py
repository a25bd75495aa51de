"""The example in docs/how-to/add-a-format.md works: its code is applied to a copy of the source, and tested there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "how-to" / "add-a-format.md"


def insert_before(file: Path, marker: str, text: str) -> None:
    """Insert the text before the only place where the marker is."""
    before = file.read_text(encoding="utf-8")
    assert before.count(marker) == 1, f"{marker!r} must be once in {file.name}"
    file.write_text(before.replace(marker, text + marker), encoding="utf-8")


def apply_guide(copy: Path) -> None:
    """Do what the guide says, in a copy of the source."""
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    parser, member, parser_import, row, samples, tests = blocks
    formats, core_tests = copy / "src/jibe_sqs/core/formats", copy / "tests/core"
    (formats / "yandex_log.py").write_text(parser, encoding="utf-8")
    with (formats / "format.py").open("a", encoding="utf-8") as file:
        file.write(member)
    insert_before(formats / "registry.py", "\nBEGINNING_SIZE: Final", parser_import)
    insert_before(formats / "registry.py", "}\n\nMAX_DECOMPRESSED_SIZE", row)
    insert_before(core_tests / "test_formats.py", "}\nKEYS = ", samples)
    (core_tests / "test_yandex_log.py").write_text(tests, encoding="utf-8")


def test_the_example_of_the_guide_passes_the_tests_of_the_registry_and_its_own(tmp_path):
    shutil.copytree(ROOT / "src/jibe_sqs/core", tmp_path / "src/jibe_sqs/core")
    (tmp_path / "src/jibe_sqs/__init__.py").touch()
    (tmp_path / "tests/core").mkdir(parents=True)
    shutil.copy(ROOT / "tests/core/test_formats.py", tmp_path / "tests/core")
    apply_guide(tmp_path)
    # The guide does not change the generated document, so the test of the documented defaults is left out.
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not documented", "tests/core")
    environment = {"PYTHONPATH": str(tmp_path / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "YANDEX_LOG" in (tmp_path / "src/jibe_sqs/core/formats/registry.py").read_text(encoding="utf-8")
