"""Checks Access Anywhere: its answer, the login, the mapped folders, one refresh, and the background tasks."""

import asyncio
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from jibe_sqs.commands.check.problems import Code, Fine, Problem, warning
from jibe_sqs.commands.check.running import Findings
from jibe_sqs.core.errors import AccessAnywhereError, AccessAnywhereUnavailable, LoginFailed
from jibe_sqs.core.phrases import counted

ROLE: Final = "give the account the Administrator role (not Organisation Administrator)"
LOOKUPS: Final = 8
"""Look-ups at the same time."""


class Server(Protocol):
    """What the checks need of Access Anywhere. Every call raises only `AccessAnywhereError`s."""

    async def version(self) -> str:
        """The server's name for its release. Asks once, without a login."""

    async def log_in(self) -> None:
        """Log in, and make one call."""

    async def folders(self) -> Mapping[str, Sequence[str]]:
        """Bucket -> the folders that show it: the configured ones, or else those that the server shows."""

    async def has_folder(self, folder: str) -> bool:
        """Whether the server has this folder."""

    async def refresh(self, folder: str) -> None:
        """Refresh this folder, without the folders below it."""

    async def read_tasks(self) -> None:
        """Read the background tasks."""


class CheckedServer(msgspec.Struct, frozen=True):
    """Access Anywhere at its configured endpoint. `more_folders`: of reports and of logs."""

    endpoint: str
    server: Server
    more_folders: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """The host of the endpoint."""
        return urlsplit(self.endpoint).hostname or self.endpoint


async def check_server(checked: CheckedServer) -> Findings:
    """Access Anywhere answers and lets us in; each mapped folder exists, and one can be refreshed."""
    host, server = checked.host, checked.server
    if urlsplit(checked.endpoint).scheme == "http" and not _is_loopback(host):
        what, remedy = "the password and all calls are sent without TLS", "set access_anywhere.endpoint to https://…"
        yield warning(Code.ACCESS_ANYWHERE_PLAIN_HTTP, host, what, remedy)
    try:
        version = await server.version()
    except AccessAnywhereUnavailable as error:
        yield _unreachable(host, error)
        return
    except AccessAnywhereError as error:
        what, remedy = str(error), "is access_anywhere.endpoint the address of Access Anywhere?"
        yield Problem(Code.ACCESS_ANYWHERE_DOWN, host, what, remedy)
        return
    yield Fine(host, f"answers{f', version {version}' if version else ''}")
    try:
        await server.log_in()
    except LoginFailed as error:
        is_role = "Administrator role" in str(error)
        code, remedy = (Code.ROLE_INSUFFICIENT, ROLE) if is_role else (Code.LOGIN_REFUSED, "correct the credentials")
        yield Problem(code, host, str(error), remedy)
        return
    except AccessAnywhereUnavailable as error:
        yield _unreachable(host, error)
        return
    except AccessAnywhereError as error:
        yield Problem(Code.ROLE_INSUFFICIENT, host, f"we may not list its folders: {error}", ROLE)
        return
    yield Fine(host, "accepts our login")
    async for finding in _check_tasks(checked):
        yield finding
    async for finding in _check_folders(checked):
        yield finding


async def _check_tasks(checked: CheckedServer) -> Findings:
    try:
        await checked.server.read_tasks()
    except AccessAnywhereError as error:
        what = f"we may not read the background tasks, so changes from before a sync are refreshed again: {error}"
        yield warning(Code.ROLE_INSUFFICIENT, checked.host, what, ROLE)


async def _check_folders(checked: CheckedServer) -> Findings:
    try:
        shown = await checked.server.folders()
    except AccessAnywhereError as error:
        yield Problem(Code.ROLE_INSUFFICIENT, checked.host, f"we may not list its providers: {error}", ROLE)
        return
    if not shown:
        what = "shows no bucket, so every change is skipped"
        remedy = "add a provider with the buckets in Access Anywhere, and let our account see it"
        yield Problem(Code.NOTHING_SHOWN, checked.host, what, remedy)
        return
    wanted = {folder: bucket for bucket, folders in shown.items() for folder in folders}
    wanted |= dict.fromkeys(checked.more_folders, "")
    slots = asyncio.Semaphore(LOOKUPS)

    async def exists(folder: str) -> bool | AccessAnywhereError:
        async with slots:
            try:
                return await checked.server.has_folder(folder)
            except AccessAnywhereError as error:
                return error

    answers = dict(zip(wanted, await asyncio.gather(*map(exists, wanted)), strict=True))
    for folder, answer in answers.items():
        if answer is not True:
            yield missing_folder(folder, wanted[folder], "" if answer is False else str(answer))
    present = [folder for folder, answer in answers.items() if answer is True]
    if not present:
        return
    yield Fine(checked.host, f"has {counted(len(present), 'mapped folder')}")
    try:
        await checked.server.refresh(present[0])
    except AccessAnywhereError as error:
        remedy = "can the provider read the bucket? Refresh the folder in Access Anywhere, too"
        yield Problem(Code.REFRESH_FAILED, present[0], f"its refresh failed: {error}", remedy)
    else:
        yield Fine(present[0], "was refreshed")


def missing_folder(folder: str, bucket: str, reason: str = "") -> Problem:
    """The finding about a folder that Access Anywhere does not have. `bucket`: empty if it shows none."""
    what = reason or "Access Anywhere has no such folder"
    if bucket:
        what += f", so changes in {bucket} are not shown"
    remedy = "correct its spelling, add the provider, or let our account see it"
    return Problem(Code.FOLDER_MISSING, folder, what, remedy)


def _unreachable(host: str, error: AccessAnywhereError) -> Problem:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        remedy = "set access_anywhere.ca_file to the certificate of its authority, or renew its certificate"
        return Problem(Code.ACCESS_ANYWHERE_CERTIFICATE, host, str(error), remedy)
    remedy = "is it up, is access_anywhere.endpoint right, and do proxies and firewalls let us through?"
    return Problem(Code.ACCESS_ANYWHERE_DOWN, host, str(error), remedy)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
