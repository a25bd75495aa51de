"""Shells complete the command line: they run the script that `--show-completion` prints."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
COMPLETE = 'COMP_WORDS=({words} "$1"); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _jibe_sqs_completion jibe-sqs; '


def run(command: list[str], **variables: str) -> str:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def script_of_bash() -> str:
    return run(["jibe-sqs"], _JIBE_SQS_COMPLETE="source_bash")


def in_bash(words: str, begun: str) -> list[str]:
    """What bash offers for the last word."""
    script = script_of_bash()
    complete = COMPLETE.format(words=words)
    return run(["bash", "-c", f'{script}\n{complete}printf "%s\\n" "${{COMPREPLY[@]}}"', "bash", begun]).split()


@pytest.mark.parametrize(
    ("words", "begun", "offered"),
    [
        ("jibe-sqs", "su", ["support-bundle"]),
        ("jibe-sqs dead-letters", "redr", ["redrive"]),
        ("jibe-sqs explain", "--bo", ["--body"]),
        ("jibe-sqs demo --strategy", "", ["refresh", "provider-event"]),
        ("jibe-sqs demo --format", "cloudt", ["cloudtrail"]),
    ],
)
def test_bash_completes_commands_options_and_choices(words, begun, offered):
    assert in_bash(words, begun) == offered


def test_where_the_program_offers_nothing_bash_offers_file_names():
    assert in_bash("jibe-sqs explain --config", "jibe") == []
    script = script_of_bash()
    assert "complete -o default -F _jibe_sqs_completion jibe-sqs" in script


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is missing")
def test_fish_completes_a_command(tmp_path):
    script = run(["jibe-sqs"], _JIBE_SQS_COMPLETE="source_fish")
    offered = run(["fish", "--no-config", "-c", f"{script}\ncomplete --do-complete 'jibe-sqs su'"], HOME=str(tmp_path))
    assert offered.split()[0] == "support-bundle"


def test_a_completion_does_not_load_what_it_does_not_need():
    code = (
        "import sys, jibe_sqs.cli\nsys.argv[1:] = []\n"
        "try:\n    jibe_sqs.cli.main()\nexcept SystemExit:\n    pass\n"
        "late = ['aiobotocore', 'aiohttp', 'cryptography', 'httpx', 'jibe_sqs.sandbox', 'starlette']\n"
        "found = [name for name in late if sys.modules.get(name)]\nassert not found, found\n"
    )
    run(
        [sys.executable, "-c", code],
        _JIBE_SQS_COMPLETE="complete_bash",
        COMP_WORDS="jibe-sqs\nsu",
        COMP_CWORD="1",
    )
