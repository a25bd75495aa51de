"""AWS's host names: which names belong to AWS, and which of them were contacted."""

import re
from collections import Counter
from functools import cache
from threading import Lock
from typing import Final

from botocore.loaders import Loader

HOSTS: Final = "/moto-api/sandbox/hosts"
"""The path at which the sandbox's AWS answers with the host names that were contacted."""
_NAME: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")


@cache
def suffixes() -> tuple[str, ...]:
    """The DNS suffixes of all partitions, with and without IPv6, by botocore's data. Each begins with a dot."""
    partitions = Loader().load_data("partitions")["partitions"]
    outputs = [partition["outputs"] for partition in partitions]
    return tuple(sorted({f".{each[kind]}" for each in outputs for kind in ("dnsSuffix", "dualStackDnsSuffix")}))


def is_aws(host: str) -> bool:
    """Whether that is a host name of AWS's, in lower case."""
    return host.endswith(suffixes()) and _NAME.fullmatch(host) is not None


class Contacted:
    """Counts requests by host name. Safe for threads."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()
        self._lock = Lock()

    def count(self, host: str) -> None:
        """Count one request."""
        with self._lock:
            self._requests[host] += 1

    def counts(self) -> dict[str, int]:
        """Host name -> requests, the most requests first."""
        with self._lock:
            return dict(self._requests.most_common())
