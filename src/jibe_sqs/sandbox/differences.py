"""Compares Access Anywhere's index with S3's listing."""

import msgspec

from jibe_sqs.sandbox.aws.listing import objects
from jibe_sqs.sandbox.world import World


class Differences(msgspec.Struct):
    """Paths in Access Anywhere. `expected`: number of objects in S3;

    an object counts once for each folder that shows its bucket.
    """

    expected: int
    missing: list[str]
    """In S3, but not in the index."""
    stale: list[str]
    """In both, with another size or ETag."""
    extra: list[str]
    """In the index, but not in S3."""

    @property
    def count(self) -> int:
        """The number of differences of all kinds."""
        return len(self.missing) + len(self.stale) + len(self.extra)

    def examples(self) -> list[str]:
        """Up to three differences of each kind, for people."""
        kinds = (("missing", self.missing), ("stale", self.stale), ("extra", self.extra))
        return [f"{what}: {path}" for what, paths in kinds for path in paths[:3]]


def differences(running: World) -> Differences:
    """Compare each object in each folder that shows its bucket, as of now."""
    truth = objects(running.deployment)
    expected = {f"{place}/{key}": seen for (bucket, key), seen in truth.items() for place in running.bucket_map[bucket]}
    # Not the log bucket: a service that reads logs through Access Anywhere refreshes only the folders that it needs
    # there.
    shown = {
        file["path"]: (file["size"], file["etag"])
        for file in running.get_state("index")
        if file["bucket"] != running.deployment.log_bucket
    }
    return Differences(
        expected=len(expected),
        missing=sorted(expected.keys() - shown.keys()),
        stale=sorted(path for path in expected.keys() & shown.keys() if expected[path] != shown[path]),
        extra=sorted(shown.keys() - expected.keys()),
    )
