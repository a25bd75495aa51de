"""Which CA certificates each client trusts.

The first of these that is set replaces all others: the setting (`ca_file`); for AWS's clients `AWS_CA_BUNDLE`, or
`ca_bundle` of the profile; `REQUESTS_CA_BUNDLE`; `SSL_CERT_FILE`; `SSL_CERT_DIR`; the default, which is botocore's for
AWS's clients and the system's for other clients. An empty variable counts as not set.
"""

import os
import re
import ssl
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError
from botocore.httpsession import create_urllib3_context, get_cert_path
from botocore.session import Session

from jibe_sqs.core.errors import SettingsError

_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")
"""The name of a certificate in a folder, as OpenSSL looks for it."""


def trusted(ca_file: Path | None = None, setting: str = "access_anywhere.ca_file") -> Callable[[], ssl.SSLContext]:
    """Returns the TLS context of clients of other servers than AWS's, when it is called. Raises `SettingsError` at once."""
    for name, path in _named(ca_file, setting):
        _check(name, path)
        return partial(_trusting, path)
    return partial(_trusting, None)


def aws_bundle(ca_file: str | None = None, setting: str = "aws.ca_file") -> str:
    """The file or folder of certificates for AWS's clients. Raises `SettingsError`."""
    for name, path in _named(ca_file, setting, aws=True):
        _check(name, path)
        return path
    return str(get_cert_path(True))


@cache
def aws_trusted(bundle: str) -> ssl.SSLContext:
    """The TLS context of AWS's clients, which share it. Like botocore's, but `bundle` (of `aws_bundle`) may be a folder."""
    context: ssl.SSLContext = create_urllib3_context()
    # botocore switches it off, because urllib3 checks the name itself.
    context.check_hostname = True
    context.load_verify_locations(**_location(bundle))
    context.set_alpn_protocols(["http/1.1"])
    return context


@cache
def _trusting(path: str | None) -> ssl.SSLContext:
    # Shared: to read more than a hundred certificates takes longer than all else about a client.
    return ssl.create_default_context(**(_location(path) if path else {}))


def _named(ca_file: Path | str | None, setting: str, *, aws: bool = False) -> Iterator[tuple[str, str]]:
    """Names of the set settings and variables, with their values, the strongest first."""
    if ca_file:
        yield setting, str(ca_file)
    if aws and (path := _of_botocore()):
        yield ("AWS_CA_BUNDLE" if os.environ.get("AWS_CA_BUNDLE") else "ca_bundle of the AWS profile"), path
    for variable in _VARIABLES:
        if path := os.environ.get(variable):
            yield variable, path


def _of_botocore() -> str | None:
    try:
        # Without its handlers, which only clients need: to register them takes most of the time.
        session = Session(include_builtin_handlers=False)
        path: str | None = session.get_config_variable("ca_bundle")
    except BotoCoreError as error:
        raise SettingsError([f"the configuration of AWS's tools: {error}"]) from error
    return path


def _check(name: str, path: str) -> None:
    try:
        if "capath" not in _location(path):
            _read(path)
        elif not any(_HASHED.fullmatch(each.name) for folder in _folders(path) for each in folder.iterdir()):
            raise SettingsError([f"{name}: the folder {path!r} has no certificates: run `openssl rehash` on it"])
    except OSError as error:
        problem = (
            f"{name}: cannot read CA certificates from {path!r} ({error.strerror or error}): "
            "it must be a PEM file of certificates that this process may read"
        )
        raise SettingsError([problem]) from error


@cache
def _read(path: str) -> None:
    # Once: several variables often name the same file, and it may have more than a hundred certificates.
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)


def _location(path: str) -> dict[str, Any]:
    """The argument of `SSLContext.load_verify_locations`."""
    return {"capath" if _folders(path) else "cafile": path}


def _folders(path: str) -> list[Path]:
    """The folders of the path. OpenSSL accepts several, separated by `:`."""
    return [Path(each) for each in path.split(os.pathsep) if Path(each).is_dir()]
