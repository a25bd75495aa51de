"""Limits for the size of a log file, and their defaults. The operator can configure each limit."""

import msgspec

MiB = 1024 * 1024
GiB = 1024 * MiB


class Limits(msgspec.Struct, frozen=True):
    """Sizes in bytes. Real logs expand about tenfold. A gzip bomb expands a thousandfold, a zstd bomb without limit."""

    compressed_size: int = GiB
    decompressed_size: int | None = None
    """None: the default of the format, in `registry.FORMATS`."""
    ratio: int = 500
    """Bytes of text for each stored byte. It is checked when there is more than 16 MiB of text."""
    record_size: int = 4 * MiB
    records: int = 20_000_000
    key_length: int = 4096
    """Characters. S3 allows 1,024 bytes. Other stores allow more."""
