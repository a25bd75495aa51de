"""Access Anywhere: its API as a client, and the refresh of folders as a `SyncTarget`.

One concern a module, from the wire up: `transport` (one call, over a network that fails), `answers` (what came back),
`session` (who we are), `client` (the functions we use), `target` (which calls make a folder true again).
"""

from jibe_sqs.adapters.access_anywhere.connection import connect
from jibe_sqs.adapters.access_anywhere.uses.logs import AccessAnywhereLogs
from jibe_sqs.adapters.access_anywhere.uses.provider_event import Batch, ProviderEventTarget
from jibe_sqs.adapters.access_anywhere.uses.providers import Providers
from jibe_sqs.adapters.access_anywhere.uses.reports import ReportFolder
from jibe_sqs.adapters.access_anywhere.uses.target import RefreshTarget
from jibe_sqs.adapters.access_anywhere.wire.answers import Item
from jibe_sqs.adapters.access_anywhere.wire.client import AccessAnywhere

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
