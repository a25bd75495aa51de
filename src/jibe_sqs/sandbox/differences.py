"""What a judge finds: Access Anywhere's index held against S3's listing."""

import msgspec

from jibe_sqs.sandbox.aws.listing import objects
from jibe_sqs.sandbox.world import World


class Differences(msgspec.Struct):
    """Paths in Access Anywhere. `expected` counts the objects in S3, once for each folder that shows their bucket."""

    expected: int
    missing: list[str]
    """In S3, and not in the index."""
    stale: list[str]
    """In both, and different."""
    extra: list[str]
    """In the index, and not in S3."""

    @property
    def count(self) -> int:
        """Of all kinds."""
        return len(self.missing) + len(self.stale) + len(self.extra)

    def examples(self) -> list[str]:
        """A few of each kind, for people."""
        kinds = (("missing", self.missing), ("stale", self.stale), ("extra", self.extra))
        return [f"{what}: {path}" for what, paths in kinds for path in paths[:3]]


def differences(running: World) -> Differences:
    """As of now: object by object, in every folder that shows them."""
    truth = objects(running.deployment)
    expected = {f"{place}/{key}": seen for (bucket, key), seen in truth.items() for place in running.bucket_map[bucket]}
    # Of the log bucket, whoever reads logs through Access Anywhere has it show what is needed, and no more.
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
