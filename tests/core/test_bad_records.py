"""What becomes of bad records."""

import gc
import weakref

import pytest

from jibe_sqs.core.errors import RecordMalformed
from jibe_sqs.core.formats.bad_records import SHOWN, BadRecords


def bad(index):
    return RecordMalformed(f"record {index}", index=index, offset=index * 10)


def test_rejecting_ends_the_reading_at_the_first():
    records, error = BadRecords("reject"), bad(7)
    with pytest.raises(RecordMalformed) as raised:
        records.found(error)
    assert raised.value is error
    assert (records.count, records.first) == (0, [])


def test_skipping_counts_all_and_keeps_the_first_few():
    records = BadRecords("skip")
    for index in range(SHOWN + 100):
        records.found(bad(index))
    assert records.count == SHOWN + 100
    assert [(str(e), e.index, e.offset) for e in records.first] == [(f"record {n}", n, n * 10) for n in range(SHOWN)]


def test_what_is_kept_does_not_keep_the_text_it_was_found_in():
    class Text:
        pass

    def find(records):
        text = Text()
        try:
            raise bad(1)
        except RecordMalformed as error:
            records.found(error)
        return weakref.ref(text)

    records = BadRecords("skip")
    text = find(records)
    gc.collect()
    assert records.first
    assert text() is None
