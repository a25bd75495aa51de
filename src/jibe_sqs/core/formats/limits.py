"""How large a log file may be. Each limit has its default here, and is an operator's to set."""

import msgspec

MiB = 1024 * 1024


class Limits(msgspec.Struct, frozen=True):
    """In bytes."""

    decompressed_size: int = 2048 * MiB
    record_size: int = 4 * MiB
