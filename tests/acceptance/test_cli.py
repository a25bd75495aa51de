"""The command line: what it imports, and the words of its options."""

import subprocess
import sys
from typing import get_args

import pytest

from jibe_sqs.cli import service_options
from jibe_sqs.cli.sandbox import Feed, LogsVia, Strategy
from jibe_sqs.sandbox import scenario
from jibe_sqs.sandbox.change_feeds import ChangeFeed


def test_no_command_but_the_sandboxes_imports_the_sandbox():
    code = (
        "import sys, jibe_sqs.cli.app\n"
        "found = [name for name in sys.modules if name.startswith(('jibe_sqs.sandbox', 'moto', 'boto3', 'aiobotocore'))]\n"
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_service_starts_without_libraries_that_it_needs_later_or_never(tmp_path):
    """They would be half of its start. A configuration that cannot be loaded ends it after all of its own imports."""
    code = (
        "import sys, jibe_sqs.cli\n"
        "sys.argv[1:] = ['run', '--config', 'missing.json']\n"
        "try:\n    jibe_sqs.cli.main()\nexcept SystemExit as end:\n    assert end.code == 2\n"
        "import jibe_sqs.compose.service\n"
        "late = ['aiobotocore', 'aiohttp', 'cryptography', 'httpx', 'prometheus_client', 'pygments', 'rich', 'starlette']\n"
        "late += ['typer', 'uvicorn']\n"
        "found = [name for name in late if sys.modules.get(name)]\n"
        "assert not found, found"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["run"], {}),
        (["run", "--config", "a.json"], {"config": "a.json"}),
        (["run", "--config=a.json"], {"config": "a.json"}),
        (["run", "-c", "a.json", "--worker", "0/2"], {"config": "a.json", "worker": "0/2"}),
        (["run", "--config"], None),
        (["run", "--config", "--worker"], None),
        (["run", "--config", "a", "--config", "b"], None),
        (["run", "--help"], None),
        (["run", "more"], None),
        (["--config", "a.json"], None),
        (["check"], None),
    ],
)
def test_only_the_services_own_options_are_read_without_the_library(arguments, options):
    assert service_options(arguments) == options


def test_the_options_of_the_sandbox_have_the_words_of_its_enums():
    assert set(get_args(Feed)) == set(ChangeFeed)
    assert set(get_args(Strategy)) == set(scenario.Strategy)
    assert set(get_args(LogsVia)) == set(scenario.Via)


@pytest.mark.parametrize(
    "arguments",
    [
        ["why", "s3://media/\udcff"],
        ["refresh", "s3://media/\udcff"],
        ["backfill", "--since", "1h", "--prefix", "\udcff"],
    ],
)
def test_an_argument_that_is_no_text_is_a_wrong_use(jibe, arguments):
    done = jibe(*arguments, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("jibe-sqs: an argument is not UTF-8: ")
    assert done.stderr.count("\n") == 1
