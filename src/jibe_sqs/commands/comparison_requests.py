"""What an operator asks to be compared."""

import re
from typing import Final

import msgspec

_ADDRESS: Final = re.compile(r"(?:s3://)?([^/]+)(?:/(.*))?", re.DOTALL)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to compare, and how. `bucket` is empty for all buckets that Access Anywhere shows.

    `sample`: the share of the folders, more than 0 and at most 1. `inventory`: the bucket and the key of the manifest of an
    S3 inventory. `ignore_newer`: seconds; objects that changed within this time do not count.
    """

    bucket: str = ""
    prefix: str = ""
    repair: bool = False
    sample: float = 1.0
    inventory: tuple[str, str] | None = None
    size_only: bool = False
    ignore_newer: float = 0.0


def request(
    target: str,
    *,
    repair: bool = False,
    sample: str = "",
    inventory: str = "",
    ignore_newer: float = 0.0,
    size_only: bool = False,
) -> Wanted:
    """Read the arguments of the command. Raises `ValueError` with a sentence for the operator.

    >>> request("s3://media/a/b", sample="1%").sample
    0.01
    """
    bucket, prefix = _bucket_and_key(target) if target else ("", "")
    if target and not bucket:
        raise ValueError(f"not a bucket: write BUCKET, BUCKET/PREFIX or s3://BUCKET/PREFIX: {target!r}")
    manifest = _bucket_and_key(inventory) if inventory else None
    if manifest and not (manifest[0] and inventory.startswith("s3://") and inventory.endswith("manifest.json")):
        raise ValueError(f"--inventory must be the address of a manifest, s3://BUCKET/…/manifest.json: {inventory!r}")
    if ignore_newer < 0:
        raise ValueError("--ignore-newer must not be negative")
    return Wanted(
        bucket=bucket,
        prefix=prefix,
        repair=repair,
        sample=_share(sample) if sample else 1.0,
        inventory=manifest,
        size_only=size_only,
        ignore_newer=ignore_newer,
    )


def _bucket_and_key(address: str) -> tuple[str, str]:
    found = _ADDRESS.fullmatch(address)
    return (found[1], found[2] or "") if found else ("", "")


def _share(text: str) -> float:
    """The share that a text means.

    >>> _share("0.5%"), _share("0.25")
    (0.005, 0.25)
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ValueError(f"--sample must be a share of the folders, such as 1% or 0.01: {text!r}")
    return share
