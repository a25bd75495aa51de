"""Access Anywhere: a client of its API, and the ports that are built on it.

`wire` makes calls and reads answers: `transport` (one call with its retries), `session` (the login), `client` (the
functions). `flow` limits calls: `circuit` (the server is down), `concurrency` (the server is busy). `uses` implements the
ports: `target` (refreshes), `logs` (log files), `index_listing`, `shown_objects`,
`providers`, `provider_event`, `reports`.
"""

from jibe_sqs.adapters.access_anywhere.connection import connect, credentials_from
from jibe_sqs.adapters.access_anywhere.flow.provider_limits import ProviderLimit
from jibe_sqs.adapters.access_anywhere.uses.index_listing import IndexListing
from jibe_sqs.adapters.access_anywhere.uses.inspection import InspectedServer
from jibe_sqs.adapters.access_anywhere.uses.logs import AccessAnywhereLogs
from jibe_sqs.adapters.access_anywhere.uses.provider_event import Batch, ProviderEventTarget
from jibe_sqs.adapters.access_anywhere.uses.providers import Providers
from jibe_sqs.adapters.access_anywhere.uses.reports import ReportFolder
from jibe_sqs.adapters.access_anywhere.uses.shown_objects import ShownObjects
from jibe_sqs.adapters.access_anywhere.uses.target import RefreshTarget
from jibe_sqs.adapters.access_anywhere.wire.answers import Item
from jibe_sqs.adapters.access_anywhere.wire.client import AccessAnywhere
from jibe_sqs.adapters.access_anywhere.wire.session import Credentials

__all__ = [
    "AccessAnywhere",
    "AccessAnywhereLogs",
    "Batch",
    "Credentials",
    "IndexListing",
    "InspectedServer",
    "Item",
    "ProviderEventTarget",
    "ProviderLimit",
    "Providers",
    "RefreshTarget",
    "ReportFolder",
    "ShownObjects",
    "connect",
    "credentials_from",
]
