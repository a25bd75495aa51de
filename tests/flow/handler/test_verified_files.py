"""Files of a verified source are checked against CloudTrail's digests before anything is refreshed."""

import gzip
import hashlib

import pytest
from backports import zstd
from tests.flow.handler.log_files import DIGEST_POLICY

from jibe_sqs.core.errors import (
    DigestInvalid,
    DigestMissing,
    KeysUnavailable,
    LogTampered,
)
from jibe_sqs.core.model import Done, LogFile, Reject, Retry


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress, bytes], ids=["gzip", "zstd", "plain"])
async def test_a_file_is_verified_by_the_hash_of_its_text_before_anything_is_refreshed(flow, verified, compress):
    text = gzip.decompress(flow.log_of("a/file"))
    key = verified.put("a", compress(text))
    refreshed = []
    verified.verifier.on_verify = lambda file: refreshed.append(len(verified.target.runs))
    assert await verified.handle(flow.announcing(key)) == Done()
    assert verified.verifier.calls == [(LogFile(flow.LOG_BUCKET, key), hashlib.sha256(text).hexdigest())]
    assert refreshed == [0]
    assert len(verified.target.runs) == 1
    assert await verified.handle(flow.announcing(key)) == Done()
    assert len(verified.verifier.calls) == 1  # known: nothing to verify


async def test_a_file_without_events_is_verified_too(flow, verified):
    """Otherwise an attacker could hide changes by removing all records from the file."""
    key = verified.put("a", flow.log_of())
    verified.verifier.errors[key] = [LogTampered("changed")]
    assert isinstance(await verified.handle(flow.announcing(key)), Reject)


async def test_files_of_other_sources_are_not_verified(flow, verified):
    verified.logs.objects[flow.LOG_BUCKET, "other/x"] = flow.log_of("a/file")
    assert await verified.handle(flow.announcing("other/x")) == Done()
    assert not verified.verifier.calls


@pytest.mark.parametrize(
    "error", [LogTampered("changed"), DigestInvalid("forged", fault="signature")], ids=["log", "digest"]
)
async def test_a_tampered_file_is_rejected_and_nothing_is_refreshed(flow, verified, error):
    key = verified.put("a")
    verified.verifier.errors[key] = [error]
    verdict = await verified.handle(flow.announcing(key))
    assert isinstance(verdict, Reject)
    assert verdict.error == type(error).__name__
    assert not verified.target.runs
    assert not verified.ledger.finished
    assert await verified.ledger.principals() == {}
    assert (verified.counters.files, verified.counters.events) == (0, 0)
    assert verified.counters.errors == {type(error).__name__: 1}


async def test_a_file_whose_digest_is_missing_waits_the_longest_delay_and_is_done_when_the_digest_comes(flow, verified):
    key = verified.put("a")
    verified.verifier.errors[key] = [DigestMissing("not yet")] * 2
    for receive_count in (1, 2):
        verdict = await verified.handle(flow.announcing(key), receive_count=receive_count)
        assert verdict == Retry(DIGEST_POLICY.longest, "DigestMissing: not yet")
        assert not verified.target.runs
    assert await verified.handle(flow.announcing(key), receive_count=3) == Done()
    assert [run.folder.path for run in verified.target.runs] == ["/data/a"]


async def test_if_the_public_keys_are_unavailable_the_message_is_retried_soon(flow, verified):
    key = verified.put("a")
    verified.verifier.errors[key] = [KeysUnavailable("503")]
    assert await verified.handle(flow.announcing(key)) == Retry(DIGEST_POLICY.first, "KeysUnavailable: 503")
    assert not verified.target.runs


async def test_one_tampered_file_of_two_does_not_prevent_the_other(flow, verified):
    good, bad = verified.put("good"), verified.put("bad")
    verified.verifier.errors[bad] = [LogTampered("changed")]
    assert isinstance(await verified.handle(flow.announcing(good, bad)), Reject)
    assert [run.folder.path for run in verified.target.runs] == ["/data/good"]
    assert verified.ledger.finished == [(flow.LOG_BUCKET, good)]


async def test_a_truncated_file_is_not_verified(flow, verified):
    key = verified.put("a", flow.log_of("a/file")[:-10])
    assert isinstance(await verified.handle(flow.announcing(key)), Retry)
    assert not verified.verifier.calls
