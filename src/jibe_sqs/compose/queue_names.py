"""Names of queues in logs and errors: the last part of the URL, and the region if several queues have the same name."""

from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

from jibe_sqs.adapters.partitions import region_of_url


def queue_names(queues: Sequence[tuple[str, str | None]]) -> list[str]:
    """The names of queues, in their order. A queue is given by its URL and configured region.

    >>> queue_names([("https://s.example/1/jibe", "a"), ("https://s.example/1/jibe", "b"), ("https://s.example/1/x", "a")])
    ['jibe (a)', 'jibe (b)', 'x']
    """
    # A login or a query would be logged with the name.
    hosts = [urlsplit(url).netloc.rpartition("@")[2] for url, _ in queues]
    paths = [urlsplit(url).path.rstrip("/").rpartition("/") for url, _ in queues]
    plain = [name or host for (_, _, name), host in zip(paths, hosts, strict=True)]
    regions = [region or region_of_url(url) or host for (url, region), host in zip(queues, hosts, strict=True)]
    names = _distinct(plain, [f"{name} ({region})" for name, region in zip(plain, regions, strict=True)])
    accounts = [account.strip("/") for account, _, _ in paths]
    labels = zip(plain, regions, accounts, strict=True)
    return _distinct(names, [f"{name} ({region}, {account})" for name, region, account in labels])


def _distinct(short: list[str], longer: list[str]) -> list[str]:
    count = Counter(short)
    return [longer[i] if count[name] > 1 else name for i, name in enumerate(short)]
