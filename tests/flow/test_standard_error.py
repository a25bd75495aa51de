"""The stream that log lines go to: it never raises, in the background it never blocks, and it counts what it loses."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest
from tests.processes import PATIENCE, eventually

from jibe_sqs.telemetry.standard_error import CLOSED, NOT_READ, StandardError

PIPE_SIZE = 65536


def notice(lost):
    return f"lost {lost.count}: {lost.reason}\n"


class Pipe:
    """A pipe whose reading end belongs to the test."""

    def __init__(self):
        self.reader, self.writer = os.pipe()

    def read(self, until: bytes) -> bytes:
        """Read until the data ends with `until`."""
        data = b""
        while not data.endswith(until):
            data += os.read(self.reader, 1 << 20)
        return data

    def read_lines(self, count: int) -> list[str]:
        data = b""
        while data.count(b"\n") < count:
            data += os.read(self.reader, 1 << 20)
        return data.decode().splitlines()

    def close_reader(self):
        os.close(self.reader)
        self.reader = -1

    def become(self, path):
        """Let the descriptor of the writing end be the file `path` from now on."""
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, self.writer)
        os.close(file)


def fill(stream):
    """Write more than a pipe takes, until the thread is stuck."""
    stream.write("x" * (10 * PIPE_SIZE) + "\n")
    eventually(lambda: stream._waiting_lines == 0, "the write of the first line")


@pytest.fixture
def pipe():
    pipe = Pipe()
    yield pipe
    # The writer of a stuck thread gets an error now.
    if pipe.reader >= 0:
        pipe.close_reader()
    # Not closed: another file would get the number, and a thread could write into it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), pipe.writer)


@pytest.fixture
def background(pipe):
    """A stream that writes into the pipe in the background."""
    opened = []

    def background(**bounds):
        stream = StandardError(pipe.writer, notice, **bounds)
        stream.start()
        opened.append(stream)
        return stream

    yield background
    if pipe.reader >= 0:
        pipe.close_reader()
    for stream in opened:
        stream.wait_until_written(60)


@pytest.mark.parametrize("blocks", [True, False])
def test_a_line_longer_than_the_pipe_is_written_to_its_end(pipe, background, blocks):
    os.set_blocking(pipe.writer, blocks)
    stream = background()
    line = "x" * (10 * PIPE_SIZE) + "\n"
    stream.write(line)
    assert pipe.read(b"\n") == line.encode()
    assert stream.lost.total == 0


def test_lines_are_written_in_their_order(pipe, background):
    stream = background()
    lines = [f"line {number}\n" for number in range(1000)]
    for line in lines:
        stream.write(line)
    assert pipe.read(lines[-1].encode()).decode() == "".join(lines)


@pytest.mark.parametrize("bounds", [{"max_lines": 100}, {"max_bytes": 100_000}])
def test_a_pipe_that_is_not_read_holds_up_no_write_and_its_lost_lines_are_counted(pipe, background, bounds):
    stream = background(**bounds)
    fill(stream)
    lines = [f"{number:4} {'x' * 1000}" for number in range(1000)]
    for line in lines:
        stream.write(f"{line}\n")
    lost = stream.lost
    assert lost.reason == NOT_READ
    assert lost.since is not None
    assert 0 < lost.count == lost.total < 1000
    kept = lines[: 1000 - lost.count]
    # Now the pipe is read.
    _, *found = pipe.read_lines(1 + len(kept) + 1)
    report = f"lost {lost.count}: {NOT_READ}"
    assert report in found
    assert [line for line in found if line != report] == kept
    eventually(lambda: stream.lost.count == 0, "the end of the loss")
    assert stream.lost.reason == ""
    assert stream.lost.total == lost.total


def test_the_lines_that_wait_are_bounded_in_bytes(background):
    stream = background(max_bytes=100_000)
    fill(stream)
    for _ in range(1000):
        stream.write("x" * 999 + "\n")
    assert stream.lost.count == 1000 - 100


def test_a_line_longer_than_the_bound_is_written_if_no_other_waits(pipe, background):
    stream = background(max_bytes=10)
    stream.write("x" * 100 + "\n")
    assert len(pipe.read(b"\n")) == 101


def test_waiting_for_the_lines_ends_although_the_thread_is_stuck(background):
    stream = background()
    stream.write("x" * (10 * PIPE_SIZE) + "\n")
    stream.wait_until_written(0.01)
    assert stream.lost.count == 0


@pytest.mark.parametrize("started", [True, False])
def test_a_full_disk_costs_only_the_lines_and_the_first_written_line_is_followed_by_a_report(pipe, tmp_path, started):
    pipe.become("/dev/full")
    stream = StandardError(pipe.writer, notice)
    if started:
        stream.start()
    for number in range(3):
        stream.write(f"{number}\n")
    stream.wait_until_written(60)
    assert stream.lost.count == 3
    assert stream.lost.reason == f"standard error cannot be written: {os.strerror(errno.ENOSPC)}"
    pipe.become(tmp_path / "log")
    stream.write("3\n")
    stream.write("4\n")
    stream.wait_until_written(60)
    expected = f"3\nlost 3: standard error cannot be written: {os.strerror(errno.ENOSPC)}\n4\n"
    assert (tmp_path / "log").read_text() == expected
    assert stream.lost.count == 0


def test_a_reader_that_is_gone_costs_only_the_lines(pipe, background):
    stream = background()
    pipe.close_reader()
    stream.write("a\n")
    stream.wait_until_written(60)
    assert stream.lost.reason == f"standard error cannot be written: {os.strerror(errno.EPIPE)}"


def test_the_line_after_a_cut_line_begins_on_a_line_of_its_own(pipe, background, tmp_path):
    stream = background()
    stream.write("x" * (10 * PIPE_SIZE) + "\n")
    # Some of the line is read, and then the reader goes.
    assert os.read(pipe.reader, 10) == b"x" * 10
    pipe.close_reader()
    eventually(lambda: stream.lost.count, "the lost line")
    pipe.become(tmp_path / "log")
    stream.write("next\n")
    stream.wait_until_written(60)
    assert (tmp_path / "log").read_text().startswith("\nnext\nlost 1: ")


def test_a_report_that_fails_is_repeated_with_the_whole_count(pipe, tmp_path):
    texts = []

    def failing_once(lost):
        texts.append(notice(lost))
        pipe.become("/dev/full" if len(texts) == 1 else tmp_path / "log")
        return texts[-1]

    pipe.become("/dev/full")
    stream = StandardError(pipe.writer, failing_once)
    stream.write("lost\n")
    pipe.become(os.devnull)
    stream.write("written\n")
    assert stream.lost.count == 1
    pipe.become(os.devnull)
    stream.write("written\n")
    assert (tmp_path / "log").read_text() == texts[1]
    assert texts[0] == texts[1]
    assert stream.lost.count == 0


def test_without_a_descriptor_each_line_is_lost(capfd):
    stream = StandardError(None, notice)
    stream.write("a\nb\n")
    stream.flush()
    assert stream.lost.count == 2
    assert stream.lost.reason == CLOSED
    assert not stream.isatty()
    assert capfd.readouterr() == ("", "")


def test_text_that_cannot_be_encoded_is_written_with_escapes(pipe):
    stream = StandardError(pipe.writer, notice, encoding="ascii")
    print("é \udcff", file=stream)
    assert pipe.read(b"\n") == b"\\xe9 \\udcff\n"


def test_the_stream_cannot_be_closed(pipe):
    """A library that closes `sys.stderr` must not end the log."""
    stream = StandardError(pipe.writer, notice)
    stream.close()
    stream.write("a\n")
    assert pipe.read(b"\n") == b"a\n"


# Several processes

WRITER = """
import sys
from jibe_sqs.telemetry.standard_error import StandardError

name, lock = sys.argv[1:]
stream = StandardError(2, lambda lost: "")
stream.share(int(lock))
for _ in range(20):
    stream.write(name * 50_000 + "\\n")
"""


def test_long_lines_of_several_processes_are_not_torn_while_the_reader_is_slow(pipe):
    """A pipe takes only part of such a line. Then another process could write into its middle."""
    lock = os.memfd_create("lock") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, name, str(lock)], stderr=pipe.writer, pass_fds=[lock])
        for name in "ab"
    ]
    lines = pipe.read_lines(40)
    for writer in writers:
        assert writer.wait(PATIENCE) == 0
    os.close(lock)
    assert sorted(lines) == ["a" * 50_000] * 20 + ["b" * 50_000] * 20


def test_a_lock_that_cannot_be_taken_costs_no_line(pipe):
    stream = StandardError(pipe.writer, notice)
    stream.share(pipe.reader)
    stream.write("a\n")
    assert pipe.read(b"\n") == b"a\n"


ENDING = """
import atexit, sys
from jibe_sqs.telemetry.standard_error import StandardError

stream = StandardError(2, lambda lost: "")
stream.share(int(sys.argv[1]))
atexit.register(stream.write, "the last line\\n")
stream.start()
"""


def test_a_process_ends_although_another_one_is_stopped_while_it_writes(pipe, tmp_path):
    """A stopped worker, with SIGSTOP or in a debugger, must not keep the others from ending."""
    with (tmp_path / "lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-c", ENDING, str(lock.fileno())]
        with subprocess.Popen(command, stderr=pipe.writer, pass_fds=[lock.fileno()]) as process:
            try:
                assert process.wait(PATIENCE) == 0
            finally:
                process.kill()
    assert pipe.read(b"\n") == b"the last line\n"
