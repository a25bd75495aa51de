"""Access Anywhere: its API as a client, and the refresh of folders as a `SyncTarget`.

One concern a module, from the wire up: `transport` (one call, over a network that fails), `answers` (what came back),
`session` (who we are), `client` (the functions we use), `target` (which calls make a folder true again).
"""

from jibe_sqs.adapters.access_anywhere.answers import Item
from jibe_sqs.adapters.access_anywhere.client import AccessAnywhere
from jibe_sqs.adapters.access_anywhere.connection import connect
from jibe_sqs.adapters.access_anywhere.logs import AccessAnywhereLogs
from jibe_sqs.adapters.access_anywhere.provider_event import Batch, ProviderEventTarget
from jibe_sqs.adapters.access_anywhere.providers import Providers
from jibe_sqs.adapters.access_anywhere.reports import ReportFolder
from jibe_sqs.adapters.access_anywhere.target import RefreshTarget

__all__ = [
    "AccessAnywhere",
    "AccessAnywhereLogs",
    "Batch",
    "Item",
    "ProviderEventTarget",
    "Providers",
    "RefreshTarget",
    "ReportFolder",
    "connect",
]
