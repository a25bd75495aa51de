"""What a pause says of itself, and which folders belong to which provider."""

import pytest

from jibe_sqs.core.pauses import Pause, decoded, encoded, provider_named, provider_of

NOON = 1_767_268_800.0
"""2026-01-01 12:00 UTC."""
HOUR = 3600.0


@pytest.mark.parametrize(
    ("pause", "sentence"),
    [
        (Pause("", NOON, NOON + 2 * HOUR, "update"), "paused by an operator until 14:00 (UTC): update"),
        (Pause("", NOON, NOON + 2 * HOUR), "paused by an operator until 14:00 (UTC)"),
        (Pause("", NOON, NOON + 36 * HOUR), "paused by an operator until 2026-01-03 00:00 (UTC)"),
        (Pause("Amazon S3", NOON, NOON + HOUR), "Amazon S3: paused by an operator until 13:00 (UTC)"),
    ],
)
def test_an_operator_reads_until_when_and_why(pause, sentence):
    assert pause.sentence == sentence


@pytest.mark.parametrize(
    ("path", "provider"), [("/", ""), ("/Amazon S3", "amazon s3"), ("/Amazon S3/b/c", "amazon s3"), ("/a", "a")]
)
def test_the_provider_of_a_folder_is_the_top_level_folder(path, provider):
    assert provider_of(path) == provider
    assert provider_named(path.split("/")[1]) == provider


def test_pauses_survive_in_a_note():
    pauses = [Pause("", NOON, NOON + HOUR, "é"), Pause("b", NOON, NOON + 1)]
    assert decoded(encoded(pauses)) == pauses
    assert decoded("") == []


@pytest.mark.parametrize("text", ["{", "[1]", '[{"provider": 1}]'])
def test_a_note_of_another_release_is_an_error(text):
    with pytest.raises(ValueError, match=r"."):
        decoded(text)
