"""Each case through the real handler, with everything around it in memory."""

import re
import tracemalloc
from collections import Counter

import pytest

from jibe_sqs.core import errors

from .cases import DONE, REJECT, RETRY, Case
from .corpus import CORPUS
from .handled import handled

LONGEST = 1_000
"""Characters of a reason."""
MEMORY = 32 * 1024 * 1024
"""Bytes, besides the input itself. A body costs twelve times its size to decode, and here has 2 MiB at most."""


@pytest.mark.parametrize("case", CORPUS, ids=str)
async def test_a_case_ends_as_it_should_with_its_reason_and_in_bounded_memory(case: Case):
    body, files = case.body(), case.files()
    tracemalloc.start()
    try:
        outcome = await handled(body, files)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outcome.verdict == case.end.verdict
    assert re.fullmatch(case.end.error, outcome.error)
    assert re.search(case.end.reason, outcome.reason, re.DOTALL)
    assert len(outcome.reason) <= LONGEST
    assert "Traceback" not in outcome.reason
    assert "object at 0x" not in outcome.reason
    assert most < MEMORY


def test_every_case_has_a_name_and_a_file_of_its_own():
    assert not [name for name, count in Counter(map(str, CORPUS)).items() if count > 1]
    assert not [key for key, count in Counter(case.key for case in CORPUS if case.key).items() if count > 1]


def test_every_case_that_is_no_good_expects_an_error_that_exists_and_a_reason():
    for case in CORPUS:
        assert case.end.reason
        named = case.end.error.split("|") if case.end.error else []
        assert all(issubclass(getattr(errors, name), errors.JibeError) for name in named)
        assert bool(named) == (case.end.verdict != DONE)
    assert {case.end.verdict for case in CORPUS} == {DONE, RETRY, REJECT}


def test_what_the_content_of_a_file_makes_permanent_is_its_size_and_records_that_cannot_be_read():
    """A file can be replaced where a body cannot: ADR 0003. Of bad records all others are done: ADR 0019."""
    of_files = {case.end.error for case in CORPUS if case.file and case.end.verdict == REJECT}
    assert of_files == {"LogLimitExceeded", "RecordMalformed"}


def test_every_error_of_a_body_and_of_a_files_content_is_in_the_corpus():
    families = (errors.AnnouncementError, errors.LogError)
    wanted = {each.__name__ for family in families for each in family.__subclasses__()}
    of_signatures = {"AnnouncementForged", "AnnouncementUnsigned", "SignatureUnavailable"}  # nobody checks them here
    assert wanted - of_signatures <= {case.end.error for case in CORPUS}
