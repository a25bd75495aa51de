"""Digests: their content, and that each kind of tampering is found, with the right reason."""

import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core import digests
from jibe_sqs.core.digest_checks import LogHash, check_log, check_previous, check_signature, public_key
from jibe_sqs.core.digest_names import candidates, digest_name, log_name, search_folders
from jibe_sqs.core.digests import Fault, read_digest
from jibe_sqs.core.errors import DigestInvalid, LogCorrupt, LogTampered, LogTruncated
from jibe_sqs.sandbox.aws.digests import SigningKey, write_digest

SAMPLES = Path(__file__).parents[2].parent / "shared" / "samples"
BUCKET, ACCOUNT, REGION = "example-trail", "111122223333", "eu-west-1"
NINE = datetime(2026, 1, 1, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
LOGS = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/01"
LOG = f"{LOGS}/{ACCOUNT}_CloudTrail_{REGION}_20260101T0930Z_9nYN7gp2eWAJHIfT.json.gz"
TEXT = b'{"Records":[{"eventTime":"2026-01-01T09:25:00Z"}]}'
SHA = hashlib.sha256(TEXT).hexdigest()


@cache
def a_key(number=0):
    del number
    return SigningKey(NINE - 30 * 24 * HOUR, NINE + 30 * 24 * HOUR)


def a_digest(hours=0, *, key=None, logs=((BUCKET, LOG, TEXT),), previous=None, **more):
    start = NINE + hours * HOUR
    fields = {"bucket": BUCKET, "account": ACCOUNT, "region": REGION, "trail": "the_trail", "home": "us-east-1"} | more
    return write_digest(key or a_key(), start=start, end=start + HOUR, logs=logs, previous=previous, **fields)


def read(written, *, bucket=None, key=None, body=None, metadata=None):
    return read_digest(
        bucket or written.bucket,
        key or written.key,
        written.body if body is None else body,
        written.metadata if metadata is None else metadata,
    )


def changed(written, **fields):
    return gzip.compress(json.dumps(json.loads(written.text) | fields).encode())


def fault(reading, *checks):
    def checked():
        digest = reading()
        for check in checks:
            check(digest)

    with pytest.raises(DigestInvalid) as caught:
        checked()
    return Fault(caught.value.fault)


def signed_by(key):
    return lambda digest: check_signature(digest, public_key(key.der))


# Valid digests


def test_a_digest_signed_by_cloudtrail_passes_and_lists_its_logs():
    digest = read(a_digest())
    check_signature(digest, public_key(a_key().der))
    assert check_log(digest, BUCKET, LOG, SHA)
    assert (digest.start, digest.end, digest.previous) == (NINE, NINE + HOUR, None)
    assert digest.fingerprint == a_key().fingerprint


def test_a_digest_of_an_hour_without_logs_passes():
    digest = read(a_digest(logs=()))
    check_signature(digest, public_key(a_key().der))
    assert not check_log(digest, BUCKET, LOG, SHA)


def test_a_chain_passes():
    first = a_digest()
    second = read(a_digest(1, previous=first))
    check_signature(second, public_key(a_key().der))
    check_previous(read(first), second)


def test_a_digest_that_a_proxy_decompressed_passes():
    written = a_digest()
    check_signature(read(written, body=written.text), public_key(a_key().der))


def test_a_backfill_needs_the_key_of_the_time_when_it_was_written():
    backfill = read(a_digest(backfill=True))
    check_signature(backfill, public_key(a_key().der))
    assert backfill.name.backfill
    assert backfill.written == NINE + 25 * HOUR
    assert read(a_digest()).written == NINE + HOUR


def test_the_signed_text_is_the_documented_one():
    written = a_digest(logs=())
    sha = hashlib.sha256(written.text).hexdigest()
    assert read(written).signed.decode() == f"2026-01-01T10:00:00Z\n{BUCKET}/{written.key}\n{sha}\nnull"


@pytest.mark.parametrize("name", ["digest", "digest_empty"])
def test_the_examples_of_aws_are_read(name):
    if not SAMPLES.is_dir():
        pytest.skip("the samples are not part of the repository")
    (path,) = SAMPLES.glob(f"awsdocs__*digest-file-structure__{name}.json")
    text = path.read_bytes()
    wire = json.loads(text)
    digest = read_digest(wire["digestS3Bucket"], wire["digestS3Object"], text, {"signature": "ab"})
    assert len(digest.logs) == len(wire["logFiles"])
    assert digest.end - digest.start == HOUR
    assert digest.previous.signature == wire["previousDigestSignature"]
    assert digest.name.trail in ("your-trail-name", "example-trail-name")
    assert digest.name.end == digest.end
    # Only AWS has the key of the example of 2015.
    assert fault(lambda: digest, signed_by(a_key())) is Fault.SIGNATURE


# Tampering


def test_a_changed_log_is_found():
    with pytest.raises(LogTampered, match="not what CloudTrail delivered"):
        check_log(read(a_digest()), BUCKET, LOG, hashlib.sha256(TEXT + b" ").hexdigest())


def test_a_changed_digest_is_found():
    written = a_digest()
    listed = json.loads(written.text)["logFiles"]
    forged = changed(written, logFiles=[{**listed[0], "hashValue": "0" * 64}])
    assert fault(lambda: read(written, body=forged), signed_by(a_key())) is Fault.SIGNATURE


@pytest.mark.parametrize(
    "field",
    ["digestEndTime", "digestStartTime", "previousDigestSignature", "previousDigestHashValue", "awsAccountId"],
)
def test_a_change_of_any_field_is_found(field):
    written = a_digest(1, previous=a_digest())
    other = {"digestEndTime": "2026-01-01T12:00:00Z", "digestStartTime": "2026-01-01T08:00:00Z"}.get(field, "00")
    assert fault(lambda: read(written, body=changed(written, **{field: other})), signed_by(a_key())) is Fault.SIGNATURE


@pytest.mark.parametrize("signature", ["00" * 256, "abc", "not hex", "00", "ü" * 512])
def test_a_wrong_signature_is_found(signature):
    written = a_digest()
    metadata = written.metadata | {"signature": signature}
    assert fault(lambda: read(written, metadata=metadata), signed_by(a_key())) is Fault.SIGNATURE


def test_the_signature_of_another_digest_is_found():
    metadata = a_digest(1).metadata
    assert fault(lambda: read(a_digest(), metadata=metadata), signed_by(a_key())) is Fault.SIGNATURE


@pytest.mark.parametrize("metadata", [{}, {"signature": ""}, {"signature-algorithm": "SHA256withRSA"}])
def test_a_missing_signature_is_found(metadata):
    assert fault(lambda: read(a_digest(), metadata=metadata)) is Fault.UNSIGNED


def test_another_signature_algorithm_is_found():
    written = a_digest()
    assert fault(lambda: read(written, metadata=written.metadata | {"signature-algorithm": "none"})) is Fault.SIGNATURE


def test_a_digest_signed_with_another_key_is_found():
    assert fault(lambda: read(a_digest(key=a_key(1))), signed_by(a_key())) is Fault.SIGNATURE


def test_a_digest_in_another_bucket_is_found():
    assert fault(lambda: read(a_digest(), bucket="another")) is Fault.MOVED


def test_a_digest_under_another_key_is_found():
    assert fault(lambda: read(a_digest(), key=a_digest(1).key)) is Fault.MOVED


def test_a_digest_whose_hash_differs_in_the_next_digest_is_found():
    """The signature is valid, but the content is another, as if CloudTrail's key had signed twice."""
    first, other = a_digest(), a_digest(logs=())
    after = read(a_digest(1, previous=other))
    assert fault(lambda: read(first), lambda digest: check_previous(digest, after)) is Fault.PREVIOUS_HASH


def test_a_signature_that_differs_in_the_next_digest_is_found():
    first, other = a_digest(), a_digest(key=a_key(1))
    changes = other.previous_fields | {"previousDigestHashValue": first.previous_fields["previousDigestHashValue"]}
    second = a_digest(1, previous=first)
    after = read(second, body=changed(second, **changes))
    assert fault(lambda: read(first), lambda digest: check_previous(digest, after)) is Fault.PREVIOUS_SIGNATURE


@pytest.mark.parametrize(
    "fields",
    [
        {"digestEndTime": "yesterday"},
        {"digestEndTime": "0001-01-01T00:00:00Z"},
        {"digestStartTime": "9999-12-31T23:59:59Z"},
        {"logFiles": None},
        {"logFiles": [{"s3Bucket": "b"}]},
        {"logFiles": [{"s3Bucket": "b", "s3Object": "o", "hashValue": "00", "hashAlgorithm": "MD5"}]},
        {"previousDigestS3Bucket": "only-this"},
        {"digestPublicKeyFingerprint": 7},
    ],
)
def test_json_that_is_not_a_digest_is_malformed(fields):
    written = a_digest()
    assert fault(lambda: read(written, body=changed(written, **fields))) is Fault.MALFORMED


@pytest.mark.parametrize("body", [b"", b"\x1f\x8b", b"[]", b"[" * 100_000, gzip.compress(b"{}", mtime=0) + b"more"])
def test_data_that_is_not_json_is_malformed(body):
    assert fault(lambda: read(a_digest(), body=body)) is Fault.MALFORMED


def test_a_decompression_bomb_is_malformed(monkeypatch):
    monkeypatch.setattr(digests, "MAX_DIGEST_SIZE", 1024)
    assert fault(lambda: read(a_digest(), body=gzip.compress(b" " * 2048))) is Fault.MALFORMED


@given(st.binary(max_size=300), st.booleans(), st.dictionaries(st.just("signature"), st.text(max_size=20)))
def test_any_bytes_are_a_digest_or_an_error(data, gzipped, metadata):
    body = gzip.compress(data) if gzipped else data
    assert fault(lambda: read(a_digest(logs=()), body=body, metadata=metadata)) in Fault


@given(st.data())
def test_a_digest_with_any_one_byte_changed_is_an_error(data):
    written = a_digest(1, previous=a_digest())
    text = bytearray(written.text)
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != text[at]))
    assert fault(lambda: read(written, body=bytes(text)), signed_by(a_key()))


# Keys


def test_data_that_is_not_an_rsa_key_gives_none():
    elliptic = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert public_key(elliptic.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)) is None
    assert public_key(b"") is None
    assert public_key(b"\x30\x03\x02\x01\x01") is None


# Names


def test_the_trail_in_a_digests_name_may_contain_underscores():
    name = digest_name(f"p/q/{a_digest().key}")
    assert (name.base, name.account, name.region) == (f"p/q/AWSLogs/{ACCOUNT}/", ACCOUNT, REGION)
    assert (name.trail, name.home, name.end, name.backfill) == ("the_trail", "us-east-1", NINE + HOUR, False)
    assert digest_name(a_digest(backfill=True).key).backfill


def test_the_names_of_an_organization_are_read():
    digest = a_digest().key.replace("AWSLogs/", "AWSLogs/o-abc123/")
    log = LOG.replace("AWSLogs/", "AWSLogs/o-abc123/")
    assert digest_name(digest).base == log_name(log).base == f"AWSLogs/o-abc123/{ACCOUNT}/"


@pytest.mark.parametrize(
    "key",
    [
        "",
        LOG,
        "20260101T100000Z.json.gz",
        f"AWSLogs/{ACCOUNT}/CloudTrail-Digest/{REGION}/2026/01/01/",
        a_digest().key.replace("20260101T", "20261301T"),
        a_digest().key.replace(f"Digest_{REGION}", "Digest_us-west-1"),
    ],
)
def test_other_keys_are_not_digests(key):
    assert digest_name(key) is None


@pytest.mark.parametrize("key", ["", f"{LOGS}/", f"{LOGS}/renamed.json.gz", LOG.replace("T0930Z", "T9930Z")])
def test_other_keys_are_not_logs(key):
    assert log_name(key) is None


# Candidates


def test_the_most_likely_digest_comes_first():
    keys = [a_digest(hours).key for hours in (-3, 2, 1, 0, 30)] + [a_digest(backfill=True).key, LOG, "odd"]
    assert candidates(log_name(LOG), keys, 24 * HOUR) == [
        a_digest(0).key,
        a_digest(backfill=True).key,
        a_digest(1).key,
        a_digest(2).key,
    ]


def test_digests_of_other_regions_and_accounts_are_not_candidates():
    keys = [a_digest(region="us-east-1").key, a_digest(account="444455556666").key, a_digest(prefix="p/").key]
    assert candidates(log_name(LOG), keys, 24 * HOUR) == []


def test_a_digest_that_ends_just_before_the_logs_time_is_the_last_candidate():
    late = log_name(LOG.replace("T0930Z", "T1002Z"))
    assert candidates(late, [a_digest(0).key, a_digest(1).key], HOUR) == [a_digest(1).key, a_digest(0).key]


def test_digests_are_searched_for_on_the_logs_day_and_the_next():
    folder = f"AWSLogs/{ACCOUNT}/CloudTrail-Digest/{REGION}/2026/01"
    assert search_folders(log_name(LOG), 24 * HOUR) == [f"{folder}/01/", f"{folder}/02/"]
    assert search_folders(log_name(LOG), HOUR) == [f"{folder}/01/"]


# Hash of a log


@given(st.binary(min_size=2, max_size=200), st.integers(1, 50))
def test_a_logs_hash_is_of_its_text_for_any_chunks(text, size):
    body = gzip.compress(text)
    log = LogHash(limit=1000)
    for at in range(0, len(body), size):
        log.feed(body[at : at + size])
    assert log.finish() == hashlib.sha256(text).hexdigest()


def test_appended_data_changes_a_logs_hash_or_is_an_error():
    log = LogHash(limit=1000)
    log.feed(gzip.compress(TEXT) + gzip.compress(b"more"))
    assert log.finish() == hashlib.sha256(TEXT + b"more").hexdigest()
    with pytest.raises(LogCorrupt):
        LogHash(limit=1000).feed(gzip.compress(TEXT) + b"more")


def test_a_truncated_log_is_an_error():
    log = LogHash(limit=1000)
    log.feed(gzip.compress(TEXT)[:-4])
    with pytest.raises(LogTruncated):
        log.finish()
