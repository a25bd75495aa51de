"""Redaction: known secrets in every form, and what looks like a secret; and names, if they are hidden."""

import base64
import html
import json
import re
from urllib.parse import quote

import pytest

from jibe_sqs.core.redaction import REDACTED, Redaction

SECRET = 'CANARY "x"/ü&+%\\'
HOOK = "https://hooks.example.com/services/T000/CANARY-B000-XXXX"


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps(json.dumps({"body": "no"}) + SECRET.strip("\\")),
        quote(SECRET, safe=""),
        quote(SECRET),
        repr(SECRET),
        json.dumps({"answer": json.dumps({"token": SECRET})}),
        json.dumps({"answer": repr({"given": SECRET})}),
        quote(quote(SECRET)),
        re.sub("%..", lambda found: found[0].lower(), quote(SECRET, safe="")),
        html.escape(SECRET),
        html.escape(SECRET, quote=False),
    ],
)
def test_a_known_secret_is_removed_in_the_forms_in_which_programs_write_it(shown):
    assert "CANARY" not in Redaction([SECRET, SECRET.strip("\\")]).text(f"error: refused {shown} at once")


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_known_secret_is_removed_wherever_it_is_in_base64(before, encode):
    """Such as behind a login and a colon. At most the characters that it shares with its neighbours stay."""
    shown = encode(f"{before}{SECRET}?x".encode()).decode()
    left = Redaction([SECRET]).text(f"sent {shown}").replace(REDACTED, "")
    assert len(left) <= len("sent ") + 12


@pytest.mark.parametrize("shown", ["first CANARY 1\r\nthen CANARY 2", "| first CANARY 1 |\n| then CANARY 2 |"])
def test_each_line_of_a_known_secret_is_removed(shown):
    """A traceback indents lines, and a container's log has something before each of them."""
    assert "CANARY" not in Redaction(["first CANARY 1\nthen CANARY 2\n"]).text(shown)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "word", ["a", "ABCDEF01", "a.b-", "token", "webhook.", "https://webhook", "x://", '"password=\\"']
)
def test_long_words_do_not_hold_up_the_redaction(word):
    """A log may have megabytes of base64. A pattern that looks at them again from each character takes hours."""
    assert Redaction([SECRET]).text(word * (300_000 // len(word)))


@pytest.mark.parametrize("part", [HOOK, "/services/T000/CANARY-B000-XXXX", "CANARY-B000-XXXX"])
def test_the_parts_of_a_secret_address_are_secret_too(part):
    """Log lines of clients show the path alone."""
    assert "CANARY" not in Redaction([HOOK]).text(f"POST {part} 404")


def test_the_longer_of_two_secrets_is_removed_whole():
    """One password may be the beginning of another."""
    assert Redaction(["secret", "secret-CANARY"]).text("a secret-CANARY b") == f"a {REDACTED} b"


@pytest.mark.parametrize(
    "text",
    [
        "AKIACANARYCANARYCANA",
        "https://b.s3.amazonaws.com/k?X-Amz-Credential=CANARY%2F1&X-Amz-Signature=CANARY&x=1",
        "https://b.s3.amazonaws.com/k?X-Amz-Security-Token=CANARY",
        "Authorization: AWS4-HMAC-SHA256-CANARY",
        '{"Authorization": "Basic CANARY=="}',
        "Authorization: Digest a CANARY, b=CANARY",
        '{"header": "Authorization: Bearer CANARY"}',
        r'{"body": "{\"Authorization\": \"Bearer CANARY\"}"}',
        "Bearer CANARY.CANARY",
        "Basic CANARYCANARY==",
        "http://ana:CANARY@proxy.example.com:3128",
        "https://CANARY@sqs.us-east-1.amazonaws.com/1/q",
        "https://hooks.slack.com/services/T0/B0/CANARY",
        "https://example.webhook.office.com/CANARY",
        '{"password": "CANARY"}',
        '{"password": "a \\"CANARY"}',
        "{'us_pwd': 'CANARY'}",
        "password=CANARY&x=1",
        "JIBE_ACCESS_ANYWHERE__PASSWORD=CANARY",
        "aws_secret_access_key = CANARY",
        "authtoken: CANARY",
        "permanent_token=CANARY",
        "xoxb-CANARY-CANARY",
        "eyJCANARYCANARY.eyJCANARYCANARY.CANARY",
        "-----BEGIN RSA PRIVATE KEY-----\nCANARY\nCANARY\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nCANARY",
    ],
)
def test_what_looks_like_a_secret_is_removed_although_it_is_not_known(text):
    assert "CANARY" not in Redaction([]).text(f"before {text}\nafter")


@pytest.mark.parametrize(
    "text",
    [
        '{"event": "message_done", "queue": "jibe", "messages": 3}',
        '{"password": ""}',
        '{"session_token": null}',
        '{"calls": {"gettoken": 17}}',
        '{"password": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:jibe#password"}',
        "AccessDeniedException: arn:aws:secretsmanager:eu-west-1:123456789012:secret:jibe/aa: allow kms:Decrypt",
        '{"name": "access_anywhere.password", "value": "********"}',
        "https://sqs.us-east-1.amazonaws.com/111122223333/jibe",
        "check the login and password, or the permanent token",
    ],
)
def test_ordinary_texts_and_references_stay_as_they_are(text):
    """A bundle in which everything is redacted helps nobody."""
    assert Redaction(["not-there"]).text(text) == text


def test_json_stays_json():
    """Programs read the bundle."""
    text = json.dumps({"password": 'x "y', "a": [{"authorization": "Basic abcdefgh"}], "token": None, "n": 1})
    assert json.loads(Redaction([]).text(text))["n"] == 1


def test_json_within_a_text_of_json_stays_json():
    """Notes of the ledger and bodies of messages are such texts."""
    text = json.dumps({"note": json.dumps({"access_keys": "CANARY", "password": "CANARY", "n": 1})})
    redacted = Redaction([]).text(text)
    assert "CANARY" not in redacted
    assert json.loads(json.loads(redacted)["note"])["n"] == 1


def test_values_are_redacted_by_their_names_and_their_texts():
    found = Redaction(["known"]).value({
        "password": "CANARY", "a": ["is known", 1], "token": "", "known": None, "secret": ["CANARY", {"x": "y"}],
    })  # fmt: skip
    assert found == {
        "password": REDACTED, "a": [f"is {REDACTED}", 1], "token": "", REDACTED: None, "secret": [REDACTED, {"x": "y"}],
    }  # fmt: skip
    assert Redaction([], [], b"key").value({"bucket": "media"})["bucket"].startswith("name-")


def test_hidden_names_are_replaced_by_the_same_hash_everywhere():
    text = '{"bucket": "media", "key": "a/b c.txt"} s3://media/a/b%20c /Amazon S3/media is stale; other'
    hidden = Redaction([], ["media", "/Amazon S3/media"], b"key").text(text)
    assert "media" not in hidden
    assert "a/b" not in hidden
    name = json.loads(hidden.partition("}")[0] + "}")["bucket"]
    assert f"s3://{name}/" in hidden
    assert Redaction([], ["media", "/Amazon S3/media"], b"key").text(text) == hidden
    assert Redaction([], ["media", "/Amazon S3/media"], b"other").text(text) != hidden
