"""botocore's sessions, for questions that it answers without a request. aiobotocore's, in `aws_sessions`, send requests.

To import aiobotocore takes as long as a third of the service's start, and most services need it late or never.
"""

import gzip
import os
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from botocore.loaders import JSONFileLoader, Loader, create_loader
from botocore.session import Session, get_session


def offline_session() -> Session:
    """A session whose clients are asked for addresses only."""
    session = get_session()
    share_loader(session)
    return session


def configured_region(session: Session) -> str | None:
    """The region of the environment or the profile. `AWS_REGION` is as in AWS's other SDKs; botocore does not read it."""
    region: str | None = os.environ.get("AWS_REGION") or session.get_config_variable("region")
    return region


def share_loader(session: Session) -> None:
    """Let the session read the descriptions of AWS's services with all other sessions: it takes half a second for S3 alone."""
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))


@cache
def _loader(data_path: str | None) -> Loader:
    """A loader of the descriptions of AWS's services, which all sessions share: each service's takes megabytes."""
    return _Loader(create_loader(data_path).search_paths, include_default_search_paths=False)


class _Files(JSONFileLoader):  # type: ignore[misc]
    def load_file(self, file_path: str) -> Any:
        """The content of the file, which may be compressed. None if it does not exist."""
        if (plain := Path(f"{file_path}.json")).is_file():
            return orjson.loads(plain.read_bytes())
        if (compressed := Path(f"{file_path}.json.gz")).is_file():
            return orjson.loads(gzip.decompress(compressed.read_bytes()))
        return None


class _Loader(Loader):  # type: ignore[misc]
    """botocore's loader at a third of its cost: it reads JSON with orjson, and looks for descriptions of one service only."""

    FILE_LOADER_CLASS = _Files

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's signature
        """All services. A description of this type may be missing."""
        return sorted({each.name for path in map(Path, self.search_paths) if path.is_dir() for each in path.iterdir()})
