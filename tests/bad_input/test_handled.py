"""Each case through the real handler, with doubles in memory around it."""

import re
import tracemalloc
from collections import Counter

import pytest

from jibe_sqs.core import errors

from .cases import DONE, REJECT, RETRY, Case
from .corpus import CORPUS
from .handled import handled

MAX_REASON = 1_000
"""Characters."""
MAX_MEMORY = 32 * 1024 * 1024
"""Bytes, without the input. Decoding takes twelve times the size of a body, which is at most 2 MiB here."""


@pytest.mark.parametrize("case", CORPUS, ids=str)
async def test_a_case_has_its_verdict_and_reason_in_bounded_memory(case: Case):
    body, files = case.body(), case.files()
    tracemalloc.start()
    try:
        outcome = await handled(body, files)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outcome.verdict == case.end.verdict
    assert re.fullmatch(case.end.error, outcome.error)
    assert re.search(case.end.reason, outcome.reason, re.DOTALL)
    assert len(outcome.reason) <= MAX_REASON
    assert "Traceback" not in outcome.reason
    assert "object at 0x" not in outcome.reason
    assert peak < MAX_MEMORY


def test_the_names_and_keys_of_cases_are_unique():
    assert not [name for name, count in Counter(map(str, CORPUS)).items() if count > 1]
    assert not [key for key, count in Counter(case.key for case in CORPUS if case.key).items() if count > 1]


def test_every_case_that_is_not_done_names_an_existing_error():
    for case in CORPUS:
        assert case.end.reason
        named = case.end.error.split("|") if case.end.error else []
        assert all(issubclass(getattr(errors, name), errors.JibeError) for name in named)
        assert bool(named) == (case.end.verdict != DONE)
    assert {case.end.verdict for case in CORPUS} == {DONE, RETRY, REJECT}


def test_only_a_limit_or_a_bad_record_makes_the_error_of_a_file_permanent():
    """A file can be replaced, and a body cannot: ADR 0003. Beside a bad record, all others are done: ADR 0019."""
    of_files = {case.end.error for case in CORPUS if case.file and case.end.verdict == REJECT}
    assert of_files == {"LogLimitExceeded", "RecordMalformed"}


def test_every_error_of_a_body_and_of_a_file_is_in_the_corpus():
    families = (errors.AnnouncementError, errors.LogError)
    wanted = {each.__name__ for family in families for each in family.__subclasses__()}
    of_signatures = {
        "AnnouncementForged",
        "AnnouncementUnsigned",
        "SignatureUnavailable",
    }  # signatures are not checked here
    assert wanted - of_signatures <= {case.end.error for case in CORPUS}
