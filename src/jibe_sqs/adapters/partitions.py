"""AWS's partitions, their regions and their host names, from botocore's data."""

import functools
import re
from typing import Final
from urllib.parse import urlsplit

import msgspec
from botocore.loaders import Loader

DEFAULT_REGION: Final = "us-east-1"


class Partition(msgspec.Struct, frozen=True):
    """One partition. `suffixes`: of its host names, plain and dual-stack. `home`: a region that every account has."""

    name: str
    home: str
    suffixes: tuple[str, ...]
    regions: re.Pattern[str]

    @property
    def dns_suffix(self) -> str:
        """The suffix of plain host names, such as `sns.REGION.SUFFIX`."""
        return self.suffixes[0]


@functools.cache
def partitions() -> tuple[Partition, ...]:
    """All partitions that botocore knows."""
    return tuple(
        Partition(
            name=each["id"],
            home=each["outputs"]["implicitGlobalRegion"],
            suffixes=(each["outputs"]["dnsSuffix"], each["outputs"]["dualStackDnsSuffix"]),
            regions=re.compile(each["regionRegex"]),
        )
        for each in Loader().load_data("partitions")["partitions"]
    )


def is_aws(url: str | None) -> bool:
    """Whether the host of this address is AWS's, in any partition."""
    return bool(_of_host(_host(url)))


def region_of_url(url: str) -> str | None:
    """The region in an address of AWS, such as `https://sqs.REGION.amazonaws.com/…`; None if there is no region in it.

    Also of FIPS, dual-stack and VPC endpoints, and of SQS's legacy host names `REGION.queue.SUFFIX` and `queue.SUFFIX`.
    """
    host = _host(url)
    for partition in _of_host(host):
        for label in host.split("."):
            if partition.regions.fullmatch(label):
                return label
    # The legacy host without a region. Several partitions may have its suffix; `aws` is the first of them.
    return next((each.home for each in _of_host(host) if host == f"queue.{each.dns_suffix}"), None)


def partition_of(region: str) -> str | None:
    """The name of the region's partition; None for a region of another store."""
    return next((each.name for each in partitions() if each.regions.fullmatch(region)), None)


def home_region(partition: str | None) -> str:
    """A region that every account of the partition has."""
    return next((each.home for each in partitions() if each.name == partition), DEFAULT_REGION)


def _host(url: str | None) -> str:
    try:
        return urlsplit(url or "").hostname or ""
    except ValueError:
        return ""


def _of_host(host: str) -> list[Partition]:
    return [each for each in partitions() if any(host.endswith(f".{suffix}") for suffix in each.suffixes)]
