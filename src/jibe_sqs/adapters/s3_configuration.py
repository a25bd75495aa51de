"""Reads the configuration file from S3."""

from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import ClientError, NoCredentialsError, ParamValidationError, PartialCredentialsError

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_errors import failure, no_answer_errors
from jibe_sqs.core.errors import SettingsError

MAX_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a configuration file."""

NOT_MODIFIED: Final = 304

_CREDENTIALS: Final = (
    "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, a role, or JIBE_AWS__ACCESS_KEY_ID and "
    "JIBE_AWS__SECRET_ACCESS_KEY"
)
_MAY_READ: Final = "allow s3:GetObject on it, and kms:Decrypt if it is encrypted with a key of KMS"
_REMEDIES: Final = {
    "NoSuchKey": "correct the key",
    "NoSuchBucket": "correct the bucket's name",
    "AccessDenied": f"{_MAY_READ}; without s3:ListBucket, a missing object is denied too",
    "ExpiredToken": "renew the credentials",
    "InvalidAccessKeyId": "correct the credentials",
    "SignatureDoesNotMatch": "correct the credentials",
    "RequestTimeTooSkewed": "correct this machine's clock",
}


async def content(bucket: str, key: str, *, aws: Aws, account: Account) -> bytes:
    """The whole file. botocore finds the bucket's region by itself. Raises `SettingsError`."""
    found = await content_if_changed(bucket, key, aws=aws, account=account, etag="")
    return found[0] if found else b""


async def content_if_changed(
    bucket: str, key: str, *, aws: Aws, account: Account, etag: str
) -> tuple[bytes, str] | None:
    """The whole file and its ETag. None if it still has this ETag, which is empty if none is known. Raises `SettingsError`."""
    address = f"s3://{bucket}/{key}"
    found = bytearray()
    try:
        client = await aws.client("s3", account.region, account, read_timeout=30)
        unless = {"IfNoneMatch": etag} if etag else {}
        answer = await client.get_object(Bucket=bucket, Key=key, **unless)
        async with answer["Body"] as body:
            # One read returns only what has arrived.
            while len(found) <= MAX_BYTES and (chunk := await body.read(MAX_BYTES)):
                found += chunk
    except ClientError as error:
        if etag and error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == NOT_MODIFIED:
            return None
        raise SettingsError([f"{address}: {_refusal(error.response)}"]) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise SettingsError([f"{address}: no AWS credentials: {_CREDENTIALS}"]) from error
    except ParamValidationError as error:
        raise SettingsError([f"{address}: not the name of a bucket"]) from error
    except no_answer_errors(ValueError) as error:
        raise SettingsError([f"{address}: {failure('cannot be read', error)}"]) from error
    if len(found) > MAX_BYTES:
        raise SettingsError([f"{address}: larger than {MAX_BYTES} bytes, so it is not a configuration file"])
    return bytes(found), str(answer.get("ETag") or "")


def _refusal(answer: Mapping[str, Any]) -> str:
    error = answer.get("Error", {})
    code = str(error.get("Code") or "unknown error")
    remedy = _REMEDIES.get(code)
    message = str(error.get("Message") or "")
    return ": ".join(part for part in (code, message.rstrip(" .") if remedy else message, remedy) if part)
