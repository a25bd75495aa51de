"""AWS's host names: which names belong to AWS, and which of them programs contacted."""

import re
from collections import Counter
from functools import cache
from threading import Lock
from typing import Final

from botocore.loaders import Loader

HOSTS: Final = "/moto-api/sandbox/hosts"
"""At this path the sandbox's AWS returns the contacted host names."""
_NAME: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")


@cache
def suffixes() -> tuple[str, ...]:
    """The DNS suffixes of all partitions, for IPv4 and dual stack, from botocore's data. Each begins with a dot."""
    partitions = Loader().load_data("partitions")["partitions"]
    outputs = [partition["outputs"] for partition in partitions]
    return tuple(sorted({f".{each[kind]}" for each in outputs for kind in ("dnsSuffix", "dualStackDnsSuffix")}))


def is_aws(host: str) -> bool:
    """Whether this is one of AWS's host names. `host`: in lower case."""
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
        """Host name -> number of requests, highest number first."""
        with self._lock:
            return dict(self._requests.most_common())
