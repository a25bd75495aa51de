"""The sandbox's Access Anywhere: a small server that speaks the API which real clients use.

It keeps an index of S3 buckets that goes stale, like the real one. Only a refresh, a sync, a provider event, or a
change made through the server updates the index. If the index equals S3, then a client has asked for every necessary
update.
"""

from jibe_sqs.sandbox.access_anywhere.config import AccessAnywhereServer, Provider, Synced
from jibe_sqs.sandbox.access_anywhere.faults import (
    Down,
    ErrorBackground,
    ExpiredTokens,
    Faults,
    FoldersTooLarge,
    Resets,
    ServerError,
    Slow,
    SyncInProgress,
    TooManyRequests,
    TruncatedDownloads,
)
from jibe_sqs.sandbox.access_anywhere.in_process import InProcess
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
    "Down",
    "ErrorBackground",
    "ExpiredTokens",
    "Faults",
    "FoldersTooLarge",
    "InProcess",
    "Listing",
    "MemoryStorage",
    "Piece",
    "Provider",
    "Resets",
    "S3Storage",
    "ServerError",
    "Slow",
    "Storage",
    "StorageError",
    "StoredObject",
    "SyncInProgress",
    "Synced",
    "TooManyRequests",
    "TruncatedDownloads",
    "create_app",
    "serving",
]
