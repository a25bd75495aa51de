"""Templates: only known fields are replaced, and their values are inserted unchanged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from jibe_sqs.core.decisions import Decisions, Place
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.core.model import UNKNOWN_TIME, Actor, Folder, Kind, ObjectEvent
from jibe_sqs.core.templates import FIELDS, Template, templates

EVENT = ObjectEvent(
    Kind.WRITTEN,
    "my-bucket",
    "reports/2026/may.pdf",
    1_767_225_600.25,
    event_id="e-1",
    region="eu-west-1",
    actor=Actor("arn:aws:iam::111122223333:user/ana"),
    version="v7",
    name="PutObject",
)
FOLDER = Folder("/Amazon S3/my-bucket/reports/2026")
BARE = ObjectEvent(Kind.DELETED, "my-bucket", "may.pdf", 0.0)


def rendered(text, event=EVENT, folder=FOLDER):
    return Template(text).render(event, folder)


def path_of(key, *, root="/S3/b", prefix=""):
    """The path for a key and the folder that was decided for it."""
    event = ObjectEvent(Kind.WRITTEN, "b", key, 0.0)
    (folder,) = Decisions({"b": [Place(root, prefix)]}).decide(event).folders
    return rendered("{path}", event, folder)


@pytest.mark.parametrize(
    ("field", "value", "bare"),
    [
        ("bucket", "my-bucket", "my-bucket"),
        ("key", "reports/2026/may.pdf", "may.pdf"),
        ("kind", "written", "deleted"),
        ("name", "PutObject", ""),
        ("time", "2026-01-01T00:00:00.250Z", "1970-01-01T00:00:00.000Z"),
        ("timestamp", "1767225600", "0"),
        ("event_id", "e-1", ""),
        ("region", "eu-west-1", ""),
        ("version", "v7", ""),
        ("principal", "arn:aws:iam::111122223333:user/ana", ""),
        ("folder", "/Amazon S3/my-bucket/reports/2026", "/S3"),
        ("path", "/Amazon S3/my-bucket/reports/2026/may.pdf", "/S3/may.pdf"),
    ],
)
def test_a_field_has_its_value_and_is_empty_if_the_event_lacks_it(field, value, bare):
    assert rendered(f"{{{field}}}") == value
    assert rendered(f"{{{field}}}", BARE, Folder("/S3")) == bare


def test_an_unknown_time_is_empty():
    event = replace(EVENT, time=UNKNOWN_TIME)
    assert rendered("{time}|{timestamp}|{name}", event) == "||PutObject"


def test_every_field_is_tested_above():
    (mark,) = test_a_field_has_its_value_and_is_empty_if_the_event_lacks_it.pytestmark
    assert [field for field, *_ in mark.args[1]] == list(FIELDS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain text", "plain text"),
        ("s3://{bucket}/{key}", "s3://my-bucket/reports/2026/may.pdf"),
        ("{bucket}{bucket}", "my-bucketmy-bucket"),
        ("{{bucket}}", "{bucket}"),
        ("{{{bucket}}}", "{my-bucket}"),
        ('{{"b": "{bucket}"}}', '{"b": "my-bucket"}'),
    ],
)
def test_other_text_is_unchanged_and_a_double_brace_gives_a_brace(text, expected):
    assert rendered(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{}", "{0}", "{buckett}", "{Bucket}", "{ bucket }", "{key.__class__}", "{key[0]}", "{key!r}", "{key:>5}",
        "{key:{bucket}}", "{key", "key}", "{", "}", "{{key}", '{"b": 1}',
    ],
)  # fmt: skip
def test_a_malformed_field_is_a_settings_error_with_a_remedy(text):
    with pytest.raises(SettingsError) as caught:
        templates({"object": text, "fine": "{key}"}, "sync.parameters")
    (problem,) = caught.value.problems
    assert problem.startswith("sync.parameters.object: ")
    assert "write it twice" in problem


def test_the_error_of_an_unknown_field_lists_the_known_fields():
    with pytest.raises(SettingsError, match=r"\{buckett\} is not one of .*\{bucket\}.*\{path\}"):
        templates({"object": "{buckett}"}, "sync.parameters")


def test_all_mistakes_are_in_one_error():
    with pytest.raises(SettingsError) as caught:
        templates({"a": "{x}", "b": "{y}"}, "sync.batch.item")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "sync.batch.item.a",
        "sync.batch.item.b",
    ]


def test_a_text_without_fields_is_constant():
    assert Template("{{2}}").constant == "{2}"
    assert Template("").constant == ""
    assert Template("{key}").constant is None


@given(key=st.text(st.sampled_from("{}a/!:.") | st.characters(), min_size=1))
def test_any_key_is_inserted_unchanged(key):
    """`{bucket}` is a valid name of a file."""
    event = ObjectEvent(Kind.WRITTEN, "b", key, 0.0)
    assert Template("<{key}>{{{bucket}}}").render(event, Folder("/b")) == f"<{key}>{{b}}"


@given(name=st.text(), place=st.sampled_from(["{}", "{{{}}}", "a{}b"]))
def test_a_template_with_any_field_is_refused_or_can_be_rendered(name, place):
    text = place.format("{" + name + "}")
    try:
        template = Template(text)
    except ValueError as error:
        assert "write it twice" in str(error)  # noqa: PT017 - most texts are refused
    else:
        template.render(EVENT, FOLDER)


@pytest.mark.parametrize(
    ("key", "place", "path"),
    [
        ("x", {}, "/S3/b/x"),
        ("a/b/x", {}, "/S3/b/a/b/x"),
        ("a/b/", {}, "/S3/b/a/b"),
        ("p/a/x", {"prefix": "p/"}, "/S3/b/a/x"),
        ("x", {"root": "/"}, "/x"),
        ("a//x", {}, "/S3/b/a//x"),
        ("a//b/x", {}, "/S3/b/a//b/x"),
        ("/x", {}, "/S3/b//x"),
        ("p//x", {"prefix": "p/"}, "/S3/b//x"),
        ("a//", {}, "/S3/b/a/"),
    ],
)
def test_the_path_is_that_of_the_object_in_access_anywhere(key, place, path):
    assert path_of(key, **place) == path


@given(st.lists(st.sampled_from(["", "a", "b", "ab"]), min_size=1, max_size=6).map("/".join).filter(bool))
def test_the_path_ends_with_the_key(key):
    assert path_of(key) == f"/S3/b/{key.removesuffix('/')}"
