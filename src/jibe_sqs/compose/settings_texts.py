"""Reads the configuration again: from the source that the service was started with."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from msgspec.structs import replace

from jibe_sqs.core.errors import SettingsError
from jibe_sqs.core.secret_references import Parameter
from jibe_sqs.settings import Address, AwsSettings, Texts, read_again, read_secret_files, store_of_configuration
from jibe_sqs.settings.sources import address_of


class SettingsTexts:
    """Reads the file, or the object in S3, or the parameter of Systems Manager, and the secret files. Its connections are closed with the stack."""

    def __init__(self, first: Texts, stack: AsyncExitStack) -> None:
        """`first`: what the service was started with."""
        self._first = first
        self._stack = stack
        self._address = address_of(first.source) if first.source else None
        self._in_s3: _InS3 | None = None
        self.reason = ""
        """Why it cannot be read again. Empty if it can."""
        path = Path(first.source)
        if first.source and self._address is None and path.exists() and not path.is_file():
            self.reason = f"{first.source}: a pipe, which can be read only once: use a file to change settings"

    async def read(self) -> Texts:
        """The configuration as it is now. Raises `SettingsError`."""
        if self.reason:
            raise SettingsError([self.reason])
        if self._address is None:
            # The disk may be a network's, and not answer.
            return await asyncio.to_thread(read_again, self._first)
        texts = await asyncio.to_thread(read_secret_files)
        file = await self._stored(self._address, store_of_configuration(texts.secrets))
        return replace(texts, source=self._first.source, file=file, by_variable=self._first.by_variable)

    async def _stored(self, address: Address, aws: AwsSettings) -> bytes:
        if isinstance(address, Parameter):
            from jibe_sqs.compose.secrets import configuration

            return await configuration(address, aws)
        if self._in_s3 is None:
            self._in_s3 = await self._stack.enter_async_context(_InS3(*address))
        return await self._in_s3.content(aws)


class _InS3:
    """An object in S3. It is downloaded only if it has changed."""

    def __init__(self, bucket: str, key: str) -> None:
        from jibe_sqs.adapters.aws import Aws

        self._bucket = bucket
        self._key = key
        self._aws = Aws()
        self._known: tuple[bytes, str] = b"", ""

    async def __aenter__(self) -> Self:
        await self._aws.__aenter__()
        return self

    async def __aexit__(self, *about: object) -> None:
        await self._aws.__aexit__(None, None, None)

    async def content(self, settings: AwsSettings) -> bytes:
        from jibe_sqs.adapters.s3_configuration import content_if_changed
        from jibe_sqs.compose.stores import account_of

        account = account_of(settings)
        found = await content_if_changed(self._bucket, self._key, aws=self._aws, account=account, etag=self._known[1])
        if found is not None:
            self._known = found
        return self._known[0]
