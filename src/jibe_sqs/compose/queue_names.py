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
    plain = [url.rstrip("/").rpartition("/")[2] for url, _ in queues]
    regions = [region or region_of_url(url) or urlsplit(url).netloc for url, region in queues]
    names = _distinct(plain, [f"{name} ({region})" for name, region in zip(plain, regions, strict=True)])
    accounts = [urlsplit(url).path.rstrip("/").rpartition("/")[0].strip("/") for url, _ in queues]
    labels = zip(plain, regions, accounts, strict=True)
    return _distinct(names, [f"{name} ({region}, {account})" for name, region, account in labels])


def _distinct(short: list[str], longer: list[str]) -> list[str]:
    count = Counter(short)
    return [longer[i] if count[name] > 1 else name for i, name in enumerate(short)]
