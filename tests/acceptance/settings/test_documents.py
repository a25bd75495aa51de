"""Configuration files, secret files and variables with JSON: repeated keys, deep nesting, large files, pipes."""

import json
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.acceptance.settings.minimal import JIBE, MINIMAL, OKERA, changed, problems

from jibe_sqs.adapters import s3_configuration
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.settings import Settings, load, sources
from jibe_sqs.settings.documents import MAX_DEPTH
from jibe_sqs.settings.sources import MAX_BYTES, parsed

REPEATED = "given more than once in the same object: keep one of them"
DEEP = f"more than {MAX_DEPTH} lists and objects inside each other: not a configuration"


def with_repeated(name, values):
    """The JSON of an object, with one more value for a key."""
    return json.dumps(values)[:-1] + f', "{name}": "CANARY"}}'


# Repeated keys


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (with_repeated("queues", MINIMAL), "queues"),
        (with_repeated("password", JIBE), "password"),
        (with_repeated("sqsUrl", {**JIBE, **OKERA}), "sqsUrl"),
        (
            json.dumps({**MINIMAL, "access_anywhere": 0}).replace("0", with_repeated("password", JIBE), 1),
            "access_anywhere.password",
        ),
        (
            json.dumps({**JIBE, "sources": [{"name": "a"}, 7]}).replace("7", with_repeated("name", {"name": "b"}), 1),
            "sources.1.name",
        ),
    ],
    ids=["ours", "Jibe's", "Okera's", "in a group", "in a list"],
)
def test_a_repeated_key_of_a_file_is_reported_with_its_path(write, text, path):
    """`problems` asserts that no value is shown."""
    file = write(text)
    assert problems(config=file) == [f"{file}: {path}: {REPEATED}"]


def test_all_repeated_keys_are_reported(write):
    file = write('{"a": 1, "b": [{"c": 1, "c": 2}], "a": 2, "a": 3}')
    assert sorted(problems(config=file)) == [f"{file}: a: {REPEATED}", f"{file}: b.0.c: {REPEATED}"]


def test_a_repeated_key_of_a_file_in_s3_is_reported():
    found = problems(config="s3://config/jibe.json", fetch=lambda *_: with_repeated("queues", MINIMAL).encode())
    assert found == [f"s3://config/jibe.json: queues: {REPEATED}"]


@pytest.mark.parametrize(
    ("variable", "value", "path"),
    [
        ("JIBE_LOGS", '[{"bucket": "one", "bucket": "CANARY"}]', "0.bucket"),
        ("JIBE_AWS", '{"region": "one", "region": "CANARY"}', "region"),
        ("JIBE_BUCKETS__MEDIA", '[{"folder": "/a", "folder": "/CANARY"}]', "0.folder"),
        ("jibe_key_encodings", '{"ceph:s3": "raw", "ceph:s3": "CANARY"}', "ceph:s3"),
    ],
)
def test_a_repeated_key_of_a_variable_or_a_secret_file_is_reported(
    write, monkeypatch, secret_files, variable, value, path
):
    file = write(MINIMAL)
    with monkeypatch.context() as patch:
        patch.setenv(variable, value)
        assert problems(config=file) == [f"{variable.upper()}: {path}: {REPEATED}"]
    secret_files(**{variable: value})
    assert problems(config=file) == [f"{variable.upper()}: {path}: {REPEATED}"]


def test_a_repeated_key_or_table_of_toml_is_reported(write):
    for text in ('[a]\nb = "CANARY"\nb = "x"', "[a]\n[a]", "a.b = 1\na = 2"):
        file = write(text, "config.toml")
        (problem,) = problems(config=file)
        assert problem.startswith(f"{file}: not TOML: Cannot ")
        assert " (at " in problem
        assert problem.endswith("is a key or a table given twice?")


def test_a_text_that_looks_like_json_stays_a_text(write, monkeypatch):
    monkeypatch.setenv("JIBE_ACCESS_ANYWHERE__PASSWORD", '{"a": 1, "a": 2}')
    assert load(Settings, config=write(MINIMAL)).access_anywhere.password.get_secret_value() == '{"a": 1, "a": 2}'


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), values))
def test_any_object_without_repeated_keys_is_read_as_json_reads_it(document):
    assert parsed("x.json", json.dumps(document).encode()) == document


@given(st.dictionaries(st.text(), values, min_size=1), st.data())
def test_any_repeated_key_is_found(document, data):
    name = data.draw(st.sampled_from(sorted(document)))
    text = f"{json.dumps(document)[:-1]}, {json.dumps(name)}: 7}}"
    with pytest.raises(SettingsError, match="more than once") as raised:
        parsed("x.json", text.encode())
    assert raised.value.problems == [f"x.json: {name}: {REPEATED}"]


# Nesting


@pytest.mark.parametrize("depth", [MAX_DEPTH, 500, 100_000])
@pytest.mark.parametrize(
    ("name", "begin", "end"),
    [
        ("config.json", "[", "]"),
        ("config.json", '{"a":', "}"),
        ("config.toml", "[", "]"),
        ("config.toml", "{a=", "}"),
    ],
)
def test_deep_nesting_in_a_file_is_a_mistake(write, name, begin, end, depth):
    value = begin * depth + "1" + end * depth
    file = write(f"a = {value}" if name == "config.toml" else f'{{"a": {value}}}', name)
    assert problems(config=file) == [f"{file}: {DEEP}"]


@pytest.mark.parametrize(
    "text", ["a{} = 1", "[a{}]\nb = 1", "[[ a{} ]]\nb = 1", "x = 1\n 'a' {} = 1", 'y = 1\n"a"{}=1']
)
@pytest.mark.parametrize("depth", [MAX_DEPTH, 100_000])
def test_a_long_dotted_key_of_toml_is_a_mistake(write, text, depth):
    """tomllib would need minutes for the longer ones."""
    file = write(text.format(".b" * depth), "config.toml")
    assert problems(config=file) == [f"{file}: {DEEP}"]


@pytest.mark.parametrize("depth", [MAX_DEPTH, 500, 60_000])
def test_deep_nesting_in_a_variable_or_a_secret_file_is_a_mistake(write, monkeypatch, secret_files, depth):
    value, file = "[" * depth + "[]" + "]" * depth, write(MINIMAL)
    with monkeypatch.context() as patch:
        patch.setenv("JIBE_LOGS", value)
        assert problems(config=file) == [f"JIBE_LOGS: {DEEP}"]
    secret_files(JIBE_OWN_WRITES__PRINCIPALS=value)
    assert problems(config=file) == [f"JIBE_OWN_WRITES__PRINCIPALS: {DEEP}"]


def test_nesting_below_the_limit_is_left_to_the_validation(write):
    value = "[" * (MAX_DEPTH - 2) + "1" + "]" * (MAX_DEPTH - 2)
    (problem,) = problems(config=write(json.dumps(changed(drain_timeout=0)).replace(": 0", f": {value}")))
    assert problem.startswith("drain_timeout: ")


def test_the_process_reports_deep_nesting_without_a_traceback(jibe, write):
    result = jibe("run", "--config", str(write("[" * 100_000 + "]" * 100_000)))
    assert result.returncode == 2
    assert DEEP in result.stderr
    assert "Traceback" not in result.stderr


# Size, pipes and devices


def test_a_large_file_is_a_mistake(write):
    text = json.dumps(MINIMAL)
    assert load(Settings, config=write(text + " " * (MAX_BYTES - len(text)))).queues
    file = write(text + " " * (MAX_BYTES + 1 - len(text)))
    assert problems(config=file) == [f"{file}: larger than {MAX_BYTES} bytes, so it is not a file with settings"]


def test_files_on_disk_and_in_s3_have_the_same_limit():
    assert MAX_BYTES == s3_configuration.MAX_BYTES


def test_an_endless_device_is_a_mistake():
    (problem,) = problems(config="/dev/zero")
    assert problem.startswith("/dev/zero: larger than")


def test_a_pipe_is_read_to_its_end(tmp_path):
    """A shell gives `--config <(command)` as a pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(json.dumps(changed(drain_timeout=50)) + " " * 200_000))
    writer.start()
    assert load(Settings, config=pipe).drain_timeout == 50
    writer.join()


@pytest.mark.parametrize("begun", [False, True])
def test_a_pipe_without_an_end_is_given_up(tmp_path, monkeypatch, begun):
    monkeypatch.setattr(sources, "PATIENCE", 0.1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    try:
        if begun:
            os.write(writer, b"{")
        assert problems(config=pipe) == [f"{pipe}: cannot be read: its end is not reached after 0.1 s: is it a pipe?"]
    finally:
        os.close(writer)


def test_a_secret_file_that_cannot_be_a_secret_is_a_mistake(write, secret_files):
    """Found by this test: a folder with the name of a setting was ignored."""
    folder = secret_files()
    large, no_text, directory = (folder / f"JIBE_{name}" for name in ("PASSWORD", "LOGIN", "ENDPOINT"))
    large.write_bytes(b"x" * (MAX_BYTES + 1))
    no_text.write_bytes(b"CANARY\xff")
    directory.mkdir()
    (folder / "README").write_bytes(b"\xff" * 100)
    assert problems(config=write(MINIMAL)) == [
        f"JIBE_SECRETS_DIR: {directory}: cannot be read: Is a directory",
        f"JIBE_SECRETS_DIR: {no_text}: cannot be read: not UTF-8",
        f"JIBE_SECRETS_DIR: {large}: larger than {MAX_BYTES} bytes, so it is not a file with settings",
    ]
