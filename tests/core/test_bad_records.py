"""Bad records are counted, and they reject or do not reject the message."""

import gc
import weakref

from jibe_sqs.core.errors import RecordMalformed
from jibe_sqs.core.formats.bad_records import MAX_SHOWN, BadRecords
from jibe_sqs.core.verdicts import MAX_REASON


def bad(index, reason="", **more):
    return RecordMalformed(reason or f"record {index}: no bucket", index=index, offset=index * 10, **more)


def rejection(*errors, policy="reject"):
    records = BadRecords(policy)
    for error in errors:
        records.found(error)
    return records.rejection


def test_all_bad_records_are_counted_and_the_first_few_are_kept():
    records = BadRecords("skip")
    for index in range(MAX_SHOWN + 100):
        records.found(bad(index, field="key"))
    assert records.count == MAX_SHOWN + 100
    assert [(e.index, e.offset, e.field) for e in records.first] == [(n, n * 10, "key") for n in range(MAX_SHOWN)]


def test_a_file_without_bad_records_does_not_reject_the_message():
    assert rejection() is None


def test_skipped_records_do_not_reject_the_message():
    assert rejection(bad(1), policy="skip") is None


def test_a_rejection_has_the_index_offset_and_field_of_the_bad_record():
    error = rejection(bad(7, field="requestParameters"))
    assert str(error) == ("1 bad record, all others are done: record 7: no bucket (offset 70, field requestParameters)")
    assert (error.index, error.offset, error.field) == (7, 70, "requestParameters")


def test_a_rejection_names_the_position_of_each_of_the_first_few():
    text = str(rejection(*map(bad, range(MAX_SHOWN + 3))))
    assert text.startswith("8 bad records, all others are done: record 0: no bucket (offset 0); record 1: ")
    assert text.endswith(f"record {MAX_SHOWN - 1}: no bucket (offset {(MAX_SHOWN - 1) * 10}); and 3 more")


def test_a_rejection_fits_into_a_dead_letter_with_all_its_positions():
    """`verdict` cuts out the middle of a longer reason."""
    errors = [bad(n * 10**6, reason="x" * 500, field="requestParameters.key") for n in range(20)]
    error = rejection(*errors)
    assert len(f"RecordMalformed: {error}") <= MAX_REASON
    assert all(f"offset {n * 10**7}," in str(error) for n in range(MAX_SHOWN))


def test_a_kept_error_does_not_keep_the_text_of_the_file_in_memory():
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
