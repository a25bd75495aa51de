"""How large a log file may be. Each limit has its default here, and is an operator's to set."""

import msgspec

MiB = 1024 * 1024
GiB = 1024 * MiB


class Limits(msgspec.Struct, frozen=True):
    """Sizes in bytes. Real logs expand about tenfold; a bomb of gzip a thousandfold, one of zstd without end."""

    compressed_size: int = GiB
    decompressed_size: int | None = None
    """None: what the format's largest real files need."""
    ratio: int = 500
    """Bytes of text for each byte stored, looked at from a MiB of text on."""
    record_size: int = 4 * MiB
    records: int = 20_000_000
    key_length: int = 4096
    """Characters. S3 allows 1,024 bytes; others allow more."""
