"""Log files like those in public bug reports, and their records. Skipped if the files do not exist."""

from pathlib import Path

import pytest

from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.model import ObjectEvent

CASES = Path(__file__).parents[2].parent / "shared" / "cases"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"no cases at {CASES}")

GOOD = ("written", "photos", "good/b.jpg")
FIRST = ("written", "photos", "2026/a.jpg")
POINT = "arn:aws:s3:eu-west-1:111122223333:accesspoint/ap1"

RECORDS = {
    "identity-hidden.json": ([FIRST, GOOD], []),
    "event-id-null.json": ([FIRST, GOOD], []),
    "access-point-of-another-account.json": ([("not-mapped", POINT, "2026/a.jpg"), GOOD], []),
    "parameters-omitted.json": ([GOOD], [(0, 18, "requestParameters")]),
    "other-service-lone-surrogate.json": ([("not-object-change", "", ""), GOOD], []),
    "S3-bucket-1-2026-01-22-10-49-33.gz": (
        [("written", "bucket-1", "values-v2.yaml"), ("written", "bucket-1", "dir/second.yaml")],
        [],
    ),
}


@pytest.mark.parametrize("size", [1 << 20, 100, 1])
@pytest.mark.parametrize("name", RECORDS)
def test_a_log_file_from_a_bug_report_gives_its_records(name, size):
    data = (CASES / name).read_bytes()
    log = LogReader(name, Limits())
    batches = [each for at in range(0, len(data), size) for each in log.feed(data[at : at + size])]
    records = [record for batch in (*batches, *log.finish()) for record in batch]
    found = [(r.kind if isinstance(r, ObjectEvent) else r.reason, r.bucket, r.key) for r in records]
    assert (found, [(each.index, each.offset, each.field) for each in log.bad.first]) == RECORDS[name]
