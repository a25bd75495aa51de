"""The sandbox's Access Anywhere: a small server that real clients cannot tell from one.

It keeps an index of S3 buckets that goes stale, as the real one's does: only a refresh, or an upload made through it,
changes what it shows. So whatever in its index equals S3 was put right by somebody who asked.
"""

from jibe_sqs.sandbox.access_anywhere.config import AccessAnywhereServer, Provider
from jibe_sqs.sandbox.access_anywhere.process import serving
from jibe_sqs.sandbox.access_anywhere.s3 import S3Storage
from jibe_sqs.sandbox.access_anywhere.server import create_app
from jibe_sqs.sandbox.access_anywhere.storage import (
    Listing,
    MemoryStorage,
    Piece,
    Storage,
    StorageError,
    StoredObject,
)

__all__ = [
    "AccessAnywhereServer",
    "Listing",
    "MemoryStorage",
    "Piece",
    "Provider",
    "S3Storage",
    "Storage",
    "StorageError",
    "StoredObject",
    "create_app",
    "serving",
]
