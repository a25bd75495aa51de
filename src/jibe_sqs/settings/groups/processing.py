"""`limits`, `retry` and `poll`: how much work is done at the same time, and when failed work is repeated."""

from typing import Final

from pydantic import Field

from jibe_sqs.settings.groups.group import SettingsGroup
from jibe_sqs.settings.types import Bytes, Duration, WholeDuration

_GIB: Final = 1024**3
_MIB: Final = 1024**2


class LimitSettings(SettingsGroup):
    """How much work is held at the same time, and how large a log file may be."""

    messages_reading: int = Field(
        default=64, ge=1, description="the maximum number of messages whose log files are read at the same time"
    )
    messages_held: int = Field(
        default=10_000,
        ge=1,
        le=120_000,
        description="the maximum number of messages held. Most of them wait for a refresh",
    )
    bytes_held: Bytes = Field(
        default=128 * _MIB,
        ge=2 * _MIB,
        description="the maximum size of the bodies of held messages, and of what they ask for. Beyond it, nothing more "
        "is received until messages are done. The messages of one receive may exceed it",
    )
    plan_size: Bytes = Field(
        default=16 * _MIB,
        ge=_MIB,
        description="the maximum size in memory of what one log file asks for: about 20,000 folders. Beyond it, folders "
        "are replaced by the trees above them. It is less, but at least 1 MiB, while `bytes_held` is used up",
    )
    bytes_in_flight: Bytes = Field(
        default=256 * _MIB, ge=4 * _MIB, description="the maximum size of all log files being downloaded"
    )
    compressed_size: Bytes = Field(
        default=_GIB, ge=1, description="the maximum size of one log file as stored. A larger file is refused"
    )
    decompressed_size: Bytes | None = Field(
        default=None,
        ge=1,
        description="the maximum size of one log file's text. A larger file is refused. If it is not set, 2 GiB for "
        "`cloudtrail` and 16 GiB for the other formats",
    )
    ratio: int = Field(
        default=500,
        ge=2,
        description="the maximum number of bytes of text for each byte stored, checked after the first 16 MiB of text. A "
        "file that expands more is refused as a decompression bomb",
    )
    record_size: Bytes = Field(default=4 * _MIB, ge=1024, description="the maximum size of one record")
    records: int = Field(
        default=20_000_000,
        ge=1,
        description="the maximum number of records in one log file. A file with more is refused",
    )
    read_seconds: Duration = Field(
        default=3600,
        gt=0,
        description="the maximum time to read one log file to its end, even if data still arrives. After that, the "
        "message is retried",
    )
    key_length: int = Field(
        default=4096,
        ge=1,
        description="the maximum number of characters in an object's key. A write or delete with a longer key is a "
        "bad record",
    )


class RetrySettings(SettingsGroup):
    """How long a message waits after a failure. The delay doubles each time."""

    first: Duration = Field(
        default=10, ge=0, description="the delay before the first retry of a message. It doubles with each retry"
    )
    longest: Duration = Field(default=900, ge=1, le=43_200, description="the maximum delay before a retry")
    max_receives: int | None = Field(
        default=None,
        ge=1,
        description="the number of receives after which a message becomes a dead letter. If it is not set, the "
        "queue's own maximum",
    )


class PollSettings(SettingsGroup):
    """How messages are received."""

    wait: WholeDuration = Field(default=20, ge=0, le=20, description="the duration of a long poll")
    receivers: int = Field(
        default=2,
        ge=1,
        le=64,
        description="the number of receives at the same time, for each queue with a backlog. An idle queue has one",
    )
