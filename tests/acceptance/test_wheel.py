"""The wheel that a user installs, built like a release."""

import sys
import zipfile
from pathlib import Path

import pytest
from tests.processes import finished

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    built = finished([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel)


def test_the_sandbox_in_the_wheel_deploys_the_templates_that_users_deploy(wheel):
    for template in (ROOT / "infra" / "cloudformation").glob("*.yaml"):
        assert wheel.read(f"jibe_sqs/sandbox/cloudformation/{template.name}") == template.read_bytes()


def test_the_wheel_holds_all_of_the_package_and_nothing_else(wheel):
    ours = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert ours <= names
    assert {name.split("/")[0] for name in names} == {"jibe_sqs"}
    assert "jibe_sqs/py.typed" in names


def test_the_wheel_brings_the_command(wheel):
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "jibe-sqs = jibe_sqs.__main__:main" in wheel.read(entry_points).decode()
