"""AWS credentials that are looked up again when a service refuses them.

botocore resolves credentials once in a session. It renews those that have an expiry time, before they expire. It never
reads a credentials file again, and never renews what was revoked before its expiry. `RenewableCredentials` does both:

    get_frozen_credentials()   before each request: the credentials to sign it with
    renew(refused, code)       after a refusal: looks them up again; true if another try makes sense

`renew_when_refused` connects them to all aiobotocore clients of a session. Code that signs its requests itself calls both.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import structlog
from botocore import UNSIGNED
from botocore.credentials import EnvProvider, ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError, NoCredentialsError

if TYPE_CHECKING:
    from aiobotocore.session import AioSession

log = structlog.get_logger()

Resolve = Callable[[], Awaitable[Any]]
"""Returns credentials of aiobotocore's, or None if there are none."""

PAUSE: Final = 5.0
"""Minimal seconds between two lookups. While credentials are refused or missing, calls in between fail without a lookup."""

REFUSED: Final = frozenset(
    {
        "400",  # S3, to a HEAD request, whose answer has no body: an expired or invalid token
        "AuthFailure",
        "ExpiredToken",  # S3, STS, SQS
        "ExpiredTokenException",  # DynamoDB, CloudTrail, SQS; STS: a web identity token
        "InvalidAccessKeyId",  # S3: the key was deleted
        "InvalidClientTokenId",  # STS, SQS
        "InvalidToken",  # S3
        "InvalidTokenId",  # MinIO
        "RequestExpired",
        "TokenRefreshRequired",  # S3
        "UnrecognizedClientException",  # DynamoDB, CloudTrail, SQS
    }
)
"""Codes for credentials that are invalid or have expired."""
DOUBTFUL: Final = frozenset({"403", "InvalidSignatureException", "SignatureDoesNotMatch"})
"""Codes with several causes: another secret of the same key, a wrong clock, a missing permission (403, to a HEAD request).
Only credentials that never renew themselves are looked up again after them."""

_FAILURES: Final = (BotoCoreError, ClientError)
_FOREIGN: Final = (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError)
"""What botocore's providers raise besides botocore's errors, for a missing file or a malformed answer."""


class CredentialsMissing(NoCredentialsError):  # type: ignore[misc]
    """There are no credentials. The text lists where they were looked for."""

    fmt = "no AWS credentials found in {places}"


class RenewableCredentials:
    """The credentials of one session, in the form that aiobotocore's clients use."""

    def __init__(
        self, resolve: Resolve, *, places: Callable[[], str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`places`: describes where `resolve` looks, for the error if it finds nothing."""
        self._resolve = resolve
        self._places = places
        self._clock = clock
        self._current: Any = None
        self._failure: Exception | None = None
        self._failed_at = float("-inf")
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    @property
    def method(self) -> str | None:
        """Botocore's name for the place where they were found. None before the first request."""
        return getattr(self._current, "method", None)

    @property
    def expiry(self) -> float | None:
        """When they expire (seconds since the epoch). None if they do not, or if that is not known."""
        # botocore has no public name for it.
        expires = getattr(self._current, "_expiry_time", None)
        return expires.timestamp() if isinstance(expires, datetime) else None

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """The current key, secret and token. Raises `BotoCoreError` and `ClientError`."""
        if self._current is not None and not _must_refresh(self._current):
            return await _frozen(self._current)
        # One lookup at a time, and a pause after a failure: each lookup may take seconds.
        async with self._looking:
            if self._failure is not None and self._clock() - self._failed_at < PAUSE:
                raise self._failure.with_traceback(None)
            try:
                frozen = await self._refreshed()
            except _FAILURES as error:
                self._failure, self._failed_at = error, self._clock()
                raise
            self._failure = None
            return frozen

    async def get_account_id(self) -> str | None:
        """The account's id, if it is known. botocore needs it for endpoints that contain it."""
        return (await self.get_frozen_credentials()).account_id  # type: ignore[no-any-return]

    def get_deferred_property(self, name: str) -> Callable[[], Awaitable[str | None]]:
        """A function that returns this property. botocore only asks for the account."""
        return getattr(self, f"get_{name}")  # type: ignore[no-any-return]

    async def renew(self, refused: ReadOnlyCredentials, code: str) -> bool:
        """Whether to repeat a request that was signed with `refused` and answered with `code`. Raises nothing."""
        renewing = isinstance(self._current, RefreshableCredentials)
        if code not in REFUSED and (code not in DOUBTFUL or renewing):
            return False
        async with self._looking:
            try:
                # Another refused request may have renewed them already.
                return await _frozen(self._current) != refused or await self._replaced(refused, code)
            except _FAILURES as error:
                log.warning("credentials_not_renewed", code=code, reason=str(error))
                return False

    async def _refreshed(self) -> ReadOnlyCredentials:
        if self._current is None:
            self._current = await self._resolved()
        try:
            return await _frozen(self._current)
        except ClientError as error:
            # A profile's role could not be assumed again. Its source credentials may have been replaced.
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in REFUSED | DOUBTFUL and await self._replaced(None, code):
                return await _frozen(self._current)
            raise

    async def _replaced(self, refused: ReadOnlyCredentials | None, code: str) -> bool:
        """Whether another lookup finds credentials other than `refused`."""
        if self.method == "explicit" or self._clock() - self._looked_at < PAUSE:
            return False
        self._looked_at = self._clock()
        found = await self._resolved()
        if await _frozen(found) == refused:
            return False
        self._current = found
        log.info("credentials_renewed", code=code, method=found.method)
        return True

    async def _resolved(self) -> Any:
        try:
            found = await self._resolve()
        except _FOREIGN as error:
            raise CredentialRetrievalError(provider="the configuration", error_msg=str(error)) from error
        if found is None:
            raise CredentialsMissing(places=self._places())
        return found


def _must_refresh(credentials: Any) -> bool:
    """Whether botocore would renew them before it signs a request."""
    # botocore has no public name for the longer of its two times.
    return isinstance(credentials, RefreshableCredentials) and credentials.refresh_needed(
        credentials._mandatory_refresh_timeout  # noqa: SLF001
    )


async def _frozen(credentials: Any) -> ReadOnlyCredentials:
    try:
        return await credentials.get_frozen_credentials()
    except _FOREIGN as error:
        # botocore raises a RuntimeError for new credentials that have expired already.
        hint = " Is this machine's clock right?" if isinstance(error, RuntimeError) and "expired" in str(error) else ""
        raise CredentialRetrievalError(provider=credentials.method, error_msg=f"{error}{hint}") from error


class Fixed:
    """Credentials that never change, in the form of aiobotocore's."""

    def __init__(self, frozen: ReadOnlyCredentials, *, method: str) -> None:
        """`method`: botocore's name for where they were found."""
        self.method = method
        self._frozen = frozen

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """The key, secret and token."""
        return self._frozen


def configured(access_key: str, secret_key: str | None, token: str | None) -> RenewableCredentials:
    """The credentials of our own configuration. They never change."""

    async def resolve() -> Fixed:
        return Fixed(ReadOnlyCredentials(access_key, secret_key, token, None), method="explicit")

    return RenewableCredentials(resolve, places=lambda: "the configuration")


def found(new_session: Callable[[], "AioSession"]) -> RenewableCredentials:
    """The credentials that botocore finds: in the environment, a profile, the container, or the machine.

    Each lookup begins with a new session: a session reads configuration files once.
    """

    async def resolve() -> Any:
        # botocore looks there first, too. A session, which is slow to import, is needed only for other places.
        if (here := EnvProvider().load()) is not None and not isinstance(here, RefreshableCredentials):
            return Fixed(here.get_frozen_credentials(), method=here.method)
        return await new_session().get_credentials()

    return RenewableCredentials(resolve, places=lambda: places(new_session()))


def places(session: "AioSession") -> str:
    """Where botocore looks for credentials with the settings of this process."""
    profile = session.get_config_variable("profile") or "default"
    files = " and ".join(str(session.get_config_variable(name)) for name in ("credentials_file", "config_file"))
    machine = "disabled" if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true" else "no answer"
    return (
        "the configuration (aws.access_key_id), the environment (AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE, "
        f"AWS_CONTAINER_CREDENTIALS_…), the profile {profile} of {files}, or instance metadata ({machine})"
    )


_SIGNED_WITH: Final = "jibe_signed_with"
_RENEWED: Final = "jibe_renewed"


def renew_when_refused(session: "AioSession", credentials: RenewableCredentials) -> None:
    """Sign all requests of this session's clients with these, and repeat a refused one once if they were renewed."""
    from aiobotocore.credentials import AioCredentials

    # botocore has no public way to give a session credentials that renew themselves.
    session._credentials = credentials  # noqa: SLF001

    async def sign(request: Any, signature_version: Any, **_: Any) -> None:
        if signature_version is UNSIGNED:
            return
        frozen = await credentials.get_frozen_credentials()
        # Otherwise the signer would ask again, and could get newer credentials.
        given = AioCredentials(frozen.access_key, frozen.secret_key, frozen.token)
        request.context["signing"] = {**request.context.get("signing", {}), "request_credentials": given}
        request.context[_SIGNED_WITH] = frozen

    async def again(response: Any, operation: Any, request_dict: dict[str, Any], **_: Any) -> float | None:
        context = request_dict["context"]
        refused = context.get(_SIGNED_WITH)
        if response is None or refused is None or _RENEWED in context:
            return None
        code = str(response[1].get("Error", {}).get("Code", ""))
        if code.isdigit() and not operation.name.startswith("Head"):
            return None
        if not await credentials.renew(refused, code):
            return None
        context[_RENEWED] = True
        return 0  # seconds to wait

    session.register("before-sign", sign)
    session.register("needs-retry", again)
