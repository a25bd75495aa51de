"""The addresses of objects and prefixes in S3, as an operator writes them."""

import re
from typing import Final

_URL: Final = re.compile(r"s3://([^/@?#\s]+)(?:/(.*))?", re.DOTALL | re.IGNORECASE)


def bucket_and_key(url: str) -> tuple[str, str]:
    """Bucket and key, or prefix, of `s3://BUCKET/KEY`. Raises `ValueError` with a sentence for the operator.

    >>> bucket_and_key("s3://media/a b/c.txt")
    ('media', 'a b/c.txt')
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError(f"not an address in S3: write s3://BUCKET or s3://BUCKET/KEY: {url!r}")
    return found[1], found[2] or ""
