"""Standard error is broken, and the program does its work all the same: a message is done, SIGTERM works, exit codes stay."""

import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from tests.processes import eventually, finished

COMMAND = [sys.executable, "-m", "jibe_sqs"]


@pytest.fixture
def unread(tmp_path):
    """A full pipe that is not read. Yields its path."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, bytes(4096))
    yield str(path)
    os.close(pipe)


@pytest.fixture(params=["not read", "full disk", "closed"])
def broken(request):
    """A broken standard error: what follows `2>` in a shell."""
    if request.param == "not read":
        return request.getfixturevalue("unread")
    return {"full disk": "/dev/full", "closed": "&-"}[request.param]


def test_the_service_does_its_work_and_obeys_sigterm(small_service, broken):
    with small_service.started(stderr=broken) as service:
        small_service.announce_change()
        small_service.send("nonsense")
        eventually(lambda: small_service.dead_letters() == 1, lambda: f"the dead letter\n{service.everything}")
        eventually(lambda: not small_service.messages(), "the end of the messages")
        assert service.stop() == 0
    assert service.said == ""


def test_the_lines_that_waited_are_written_when_the_pipe_is_read_again(small_service, tmp_path, unread):
    with small_service.started(stderr=unread) as service:
        small_service.announce_change()
        eventually(lambda: not small_service.messages(), "the end of the message")
        pipe = os.open(unread, os.O_RDONLY | os.O_NONBLOCK)
        data = b""

        def read(until):
            nonlocal data
            with suppress(BlockingIOError):
                data += os.read(pipe, 1 << 20)
            return until in data

        eventually(lambda: read(b'"message_done"'), "the line of the message")
        assert service.stop() == 0
        eventually(lambda: read(b'"stopped"'), "the last line")
        os.close(pipe)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the descriptors of a process are shown by Linux only")
def test_no_socket_or_file_gets_the_number_of_a_closed_standard_error(small_service):
    with small_service.started(stderr="&-") as service:
        small_service.announce_change()
        eventually(lambda: not small_service.messages(), "the end of the message")
        assert Path(f"/proc/{service.process.pid}/fd/2").readlink() == Path(os.devnull)
        assert service.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "stderr"),
    [
        (["run"], "/dev/full"),
        (["run"], "&-"),
        (["run"], "reader is gone"),
        (["dead-letters", "list"], "/dev/full"),
        (["nonsense"], "&-"),
        (["run", "--nonsense"], "reader is gone"),
    ],
)
def test_a_mistake_ends_with_2(tmp_path, arguments, stderr):
    if stderr == "reader is gone":
        code = (
            "import os, sys; reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 2);"
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        wrapped = [sys.executable, "-c", code]
    else:
        wrapped = ["sh", "-c", f'exec "$@" 2>{stderr}', "sh"]
    done = finished([*wrapped, *COMMAND, *arguments], cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""


def test_a_mistake_ends_with_2_although_the_pipe_is_not_read(tmp_path, unread):
    """The service waits for its last lines for a bounded time."""
    done = finished(["sh", "-c", 'exec "$@" 2>' + unread, "sh", *COMMAND, "run"], cwd=tmp_path)
    assert done.returncode == 2
