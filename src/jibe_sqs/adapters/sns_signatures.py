"""Checks that messages were sent by SNS."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from jibe_sqs import __version__
from jibe_sqs.adapters.authorities import aws_bundle, aws_trusted
from jibe_sqs.adapters.connections import Connections
from jibe_sqs.adapters.partitions import partitions
from jibe_sqs.adapters.sns_certificates import SnsCertificates
from jibe_sqs.core.announcements import MAX_ENVELOPES, envelope
from jibe_sqs.core.errors import AnnouncementUnsigned
from jibe_sqs.core.sns import NOTIFICATION, SigningHosts, check_signature, signed


class SnsSignatures:
    """The `Signatures` port."""

    def __init__(self, certificates: SnsCertificates, topics: Collection[str] = ()) -> None:
        """`topics`: ARNs of the only accepted topics. If empty, all topics of all accounts are accepted."""
        self._certificates = certificates
        self._topics = frozenset(topics)
        self._hosts = {each.name: SigningHosts(each.dns_suffix, each.regions) for each in partitions()}

    async def check(self, body: str | bytes) -> None:
        """Return if SNS signed the message and each envelope inside it. Raises `AnnouncementError`s only."""
        found = envelope(body)
        if found is None:
            raise AnnouncementUnsigned(
                "no SNS envelope, so no signature: disable raw delivery of the subscription, or find out who else writes "
                "to the queue"
            )
        for _ in range(MAX_ENVELOPES + 1):
            message = signed(found, self._hosts, self._topics)
            # While this waits for a certificate, the inner body is kept as bytes: a text may take four times as much.
            inner = found["Message"].encode() if found["Type"] == NOTIFICATION else b""
            del found
            check_signature(message, await self._certificates.key(message))
            found = envelope(inner)
            if found is None:
                return


@asynccontextmanager
async def sns_signatures(topics: Collection[str] = (), *, ca_file: Path | None = None) -> AsyncIterator[SnsSignatures]:
    """Signatures with their own connections, closed at the end. `ca_file`: of AWS's clients. Raises `SettingsError`."""
    async with Connections(
        verify=aws_trusted(aws_bundle(str(ca_file) if ca_file else None)),
        timeout=10.0,
        follow_redirects=False,
        headers={"User-Agent": f"jibe-sqs/{__version__}"},
    ) as connections:
        yield SnsSignatures(SnsCertificates(connections), topics)
