"""Decompression: the text does not depend on how the chunks are cut, and a file that ends early is an error."""

import gzip
import io
import random
import zlib

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from jibe_sqs.core.errors import LogCorrupt, LogError, LogLimitExceeded, LogTruncated
from jibe_sqs.core.formats.decompressed import BLOCK, STEP, Decompressed

TEXT = b'{"Records":[' + b",".join(b'{"n":%d}' % n for n in range(40)) + b"]}"
ZIPPED = gzip.compress(TEXT, mtime=0)
ZSTD = zstd.compress(TEXT)
NO_LIMIT = 1 << 40


def cut(data: bytes, *sizes: int) -> list[bytes]:
    """`data` in chunks of these sizes. The last size is repeated."""
    chunks, at, rest = [], 0, list(sizes)
    while at < len(data):
        size = rest.pop(0) if len(rest) > 1 else rest[0]
        chunks.append(data[at : at + size])
        at += size
    return chunks


def blocks_of(chunks: list[bytes], limit: int = NO_LIMIT) -> list[bytes]:
    inside = Decompressed(limit=limit)
    blocks = [block for chunk in chunks for block in inside.feed(chunk)]
    return blocks + list(inside.finish())


def text_of(data: bytes, *sizes: int, limit: int = NO_LIMIT) -> bytes:
    return b"".join(blocks_of(cut(data, *(sizes or (len(data) or 1,))), limit))


def outcome(data: bytes, *sizes: int) -> bytes | type[LogError]:
    """The text, or the class of the error."""
    try:
        return text_of(data, *sizes)
    except LogError as error:
        return type(error)


def with_every_header_field(text: bytes) -> bytes:
    """A member with an extra field, a file name, a comment and a header checksum. isal alone fails on it in pieces."""
    fixed = b"\x1f\x8b\x08" + bytes([0b11110]) + b"\0\0\0\0\0\xff"
    header = fixed + b"\x05\x00extra" + b"name.json\0" + b"a comment\0"
    raw = zlib.compressobj(wbits=-15)
    body = raw.compress(text) + raw.flush()
    trailer = zlib.crc32(text).to_bytes(4, "little") + len(text).to_bytes(4, "little")
    return header + (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little") + body + trailer


def named(text: bytes) -> bytes:
    target = io.BytesIO()
    with gzip.GzipFile("111122223333_CloudTrail.json", "wb", fileobj=target, mtime=0) as stream:
        stream.write(text)
    return target.getvalue()


def of_known_size(text: bytes) -> bytes:
    """A frame with the size of its text in the header, and a checksum."""
    return zstd.compress(text, options={zstd.CompressionParameter.checksum_flag: 1})


def of_unknown_size(text: bytes) -> bytes:
    """A frame as a stream writer makes it, without the size of its text."""
    made = zstd.ZstdCompressor()
    return made.compress(text) + made.flush()


def flushed(text: bytes) -> bytes:
    """A frame of many small blocks."""
    made = zstd.ZstdCompressor()
    parts = [made.compress(text[at : at + 50], made.FLUSH_BLOCK) for at in range(0, len(text), 50)]
    return b"".join(parts) + made.flush()


FRAMES = {"known size": of_known_size, "unknown size": of_unknown_size, "many blocks": flushed}

FILES = {
    "one member": (ZIPPED, TEXT),
    "a member with a name": (named(TEXT), TEXT),
    "a member with every header field": (with_every_header_field(TEXT), TEXT),
    "a stored member": (gzip.compress(TEXT, 0), TEXT),
    "two members": (ZIPPED + gzip.compress(b"more"), TEXT + b"more"),
    "many members": (b"".join(gzip.compress(bytes([n])) for n in range(50)), bytes(range(50))),
    "an empty member": (gzip.compress(b""), b""),
    "empty members before and after": (gzip.compress(b"") + ZIPPED + gzip.compress(b"") * 3, TEXT),
    "zeros after the end": (ZIPPED + b"\0" * 700, TEXT),
    "zeros between members": (ZIPPED + b"\0" * 3 + ZIPPED, TEXT * 2),
    **{f"a frame of {name}": (make(TEXT), TEXT) for name, make in FRAMES.items()},
    "two frames": (ZSTD + of_unknown_size(b"more"), TEXT + b"more"),
    "many frames": (b"".join(zstd.compress(bytes([n])) for n in range(50)), bytes(range(50))),
    "an empty frame": (zstd.compress(b""), b""),
    "empty frames before and after": (zstd.compress(b"") + ZSTD + of_unknown_size(b"") * 3, TEXT),
    "zeros after the last frame": (ZSTD + b"\0" * 700, TEXT),
    "zeros between frames": (ZSTD + b"\0" * 3 + ZSTD, TEXT * 2),
    "plain text that starts almost like zstd": (b"\x28\xb5\x2f{}", b"\x28\xb5\x2f{}"),
    "plain text that starts with zstd's first byte": (b"(x", b"(x"),
    "plain text": (TEXT, TEXT),
    "plain text of one byte": (b"{", b"{"),
    "plain text of two bytes": (b"{}", b"{}"),
    "plain zeros": (b"\0\0\0", b"\0\0\0"),
    "plain text that starts almost like gzip": (b"\x1f\x8a{}", b"\x1f\x8a{}"),
}


@pytest.mark.parametrize(("data", "text"), FILES.values(), ids=FILES.keys())
def test_a_file_is_decompressed(data, text):
    assert text_of(data) == text


@pytest.mark.parametrize(("data", "text"), FILES.values(), ids=FILES.keys())
def test_a_file_in_single_bytes_gives_the_same_text(data, text):
    assert text_of(data, 1) == text


@pytest.mark.parametrize(("data", "text"), FILES.values(), ids=FILES.keys())
def test_a_file_cut_in_two_at_any_byte_gives_the_same_text(data, text):
    assert all(text_of(data, at, NO_LIMIT) == text for at in range(1, len(data)))


def test_empty_chunks_change_nothing():
    chunks = [b"", ZIPPED[:1], b"", b"", ZIPPED[1:9], b"", ZIPPED[9:], b""]
    assert b"".join(blocks_of(chunks)) == TEXT


def test_text_that_an_http_layer_decompressed_already_is_accepted():
    """risingwave #26855: some HTTP layers decompress a body with `Content-Encoding: gzip`."""
    assert text_of(gzip.decompress(ZIPPED), 5) == TEXT


# Files that end early


@pytest.mark.parametrize("make", [gzip.compress, named, with_every_header_field], ids=["bare", "named", "all fields"])
@pytest.mark.parametrize("size", [1, 1000])
def test_a_file_that_ends_early_at_any_byte_is_truncated(make, size):
    data = make(TEXT)
    for end in range(2, len(data)):
        with pytest.raises(LogTruncated):
            text_of(data[:end], size)


@pytest.mark.parametrize("size", [1, 1000])
def test_a_file_that_ends_early_in_its_second_member_is_truncated(size):
    data = ZIPPED + gzip.compress(b"more")
    for end in range(len(ZIPPED) + 1, len(data)):
        with pytest.raises(LogTruncated):
            text_of(data[:end], size)


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES.keys())
@pytest.mark.parametrize("size", [1, 1000])
def test_a_zstd_file_that_ends_early_at_any_byte_is_truncated(make, size):
    data = make(TEXT)
    for end in range(1, len(data)):
        with pytest.raises(LogTruncated):
            text_of(data[:end], size)


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES.keys())
@pytest.mark.parametrize("size", [1, 1000])
def test_a_zstd_file_that_ends_early_in_its_second_frame_is_truncated(make, size):
    data = ZSTD + make(b"more")
    for end in range(len(ZSTD) + 1, len(data)):
        with pytest.raises(LogTruncated):
            text_of(data[:end], size)


def test_a_file_that_ends_between_two_members_looks_complete():
    assert text_of((ZIPPED * 2)[: len(ZIPPED)]) == TEXT


def test_an_empty_file_is_truncated():
    with pytest.raises(LogTruncated, match="empty"):
        text_of(b"")


def test_a_file_of_empty_chunks_is_truncated():
    with pytest.raises(LogTruncated, match="empty"):
        blocks_of([b"", b""])


def test_the_first_byte_of_gzip_alone_is_truncated():
    with pytest.raises(LogTruncated, match="first bytes"):
        text_of(b"\x1f")


# Damaged files


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("junk", [b"x", b"junk after it", b"\0\0junk", b"\x1fjunk", b"\x1e\x8b\x08"], ids=repr)
def test_other_bytes_after_the_last_member_are_corrupt(junk, size):
    with pytest.raises(LogCorrupt):
        text_of(ZIPPED + junk, size)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    "junk",
    [b"x", b"junk after it", b"\0\0junk", b"\x28\xb5\x2fjunk", ZIPPED, b"\x28junk"],
    ids=lambda junk: repr(junk[:9]),
)
def test_other_bytes_after_the_last_frame_are_corrupt(junk, size):
    with pytest.raises(LogCorrupt, match="not zstd follows the zstd data"):
        text_of(ZSTD + junk, size)


def test_zstd_after_gzip_is_corrupt():
    with pytest.raises(LogCorrupt, match="not gzip follows the gzip data"):
        text_of(ZIPPED + ZSTD)


@pytest.mark.parametrize("size", [1, 1000])
def test_a_wrong_checksum_of_a_frame_is_corrupt(size):
    damaged = bytearray(of_known_size(TEXT))
    damaged[-1] ^= 0xFF
    with pytest.raises(LogCorrupt, match="not valid zstd"):
        text_of(bytes(damaged), size)


def test_a_byte_changed_anywhere_in_a_frame_with_a_checksum_gives_an_error():
    data = of_known_size(TEXT)
    damaged = (data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :] for at in range(4, len(data)))
    assert {outcome(each, 13) for each in damaged} <= {LogCorrupt, LogTruncated}


@pytest.mark.parametrize("at", range(-8, 0))
def test_a_wrong_checksum_or_length_is_corrupt(at):
    damaged = bytearray(ZIPPED)
    damaged[at] ^= 0xFF
    with pytest.raises(LogCorrupt):
        text_of(bytes(damaged), 11)


def test_a_header_without_an_end_is_corrupt():
    with pytest.raises(LogCorrupt, match="header of more than"):
        text_of(b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"n" * 300_000, 4096)


def test_an_unknown_method_of_compression_is_corrupt():
    with pytest.raises(LogCorrupt):
        text_of(b"\x1f\x8b\x07" + ZIPPED[3:])


def test_a_byte_changed_anywhere_gives_the_text_or_an_error():
    """Some bytes of the header do not affect the text. The checksum covers everything else."""
    damaged = (ZIPPED[:at] + bytes([ZIPPED[at] ^ 0x55]) + ZIPPED[at + 1 :] for at in range(2, len(ZIPPED)))
    assert {outcome(each, 13) for each in damaged} == {TEXT, LogCorrupt, LogTruncated}


def test_the_error_has_the_number_of_decompressed_bytes():
    data = gzip.compress(random.Random(1).randbytes(3 * BLOCK))
    with pytest.raises(LogTruncated, match=r"after [\d,]{6,} bytes decompressed"):
        text_of(data[:-1], STEP)


# Limits


@pytest.mark.parametrize("data", [ZIPPED, ZSTD, TEXT], ids=["gzip", "zstd", "text"])
def test_a_file_with_the_size_of_the_limit_passes_and_one_more_byte_does_not(data):
    assert text_of(data, limit=len(TEXT)) == TEXT
    with pytest.raises(LogLimitExceeded, match=f"more than {len(TEXT) - 1:,} bytes"):
        text_of(data, limit=len(TEXT) - 1)


@pytest.mark.parametrize("data", [ZIPPED, ZSTD], ids=["gzip", "zstd"])
def test_the_limit_counts_all_members_together(data):
    with pytest.raises(LogLimitExceeded):
        text_of(data * 3, limit=2 * len(TEXT))


def test_the_limit_may_be_changed_between_chunks():
    inside = Decompressed(limit=NO_LIMIT)
    first = b"".join(inside.feed(TEXT[:10]))
    inside.limit = 11
    with pytest.raises(LogLimitExceeded, match="more than 11 bytes"):
        list(inside.feed(TEXT[10:]))
    assert first == TEXT[:10]


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_a_bomb_is_stopped_at_the_limit_and_not_decompressed(compress):
    """fluent-plugin-s3 #294: 7 GB of memory for a file of 70 MB."""
    bomb = compress(bytes(64 * 1024 * 1024))
    inside, size = Decompressed(limit=1024 * 1024), 0

    def feed() -> None:
        nonlocal size
        for block in inside.feed(bomb):
            size += len(block)

    with pytest.raises(LogLimitExceeded):
        feed()
    assert size <= 1024 * 1024


@pytest.mark.parametrize(
    "data",
    [gzip.compress(bytes(3_000_000)), zstd.compress(bytes(3_000_000)), bytes(3_000_000)],
    ids=["gzip", "zstd", "text"],
)
def test_no_block_is_larger_than_the_bound(data):
    blocks = blocks_of([data])
    assert max(map(len, blocks)) <= BLOCK
    assert sum(map(len, blocks)) == 3_000_000


def test_the_size_counts_the_decompressed_text():
    inside = Decompressed(limit=NO_LIMIT)
    assert sum(len(block) for block in inside.feed(ZIPPED)) == inside.size == len(TEXT)


# Random files, cut anywhere

TEXTS = st.binary(max_size=300) | st.builds(
    lambda part, times: part * times, st.binary(max_size=9), st.integers(0, 40_000)
)
SIZES = st.lists(st.integers(1, 5000), min_size=1, max_size=8)


@given(st.lists(TEXTS, min_size=1, max_size=4), SIZES, st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_any_members_cut_anywhere_give_their_text(texts, sizes, level):
    data = b"".join(gzip.compress(text, level) for text in texts)
    assert text_of(data, *sizes) == b"".join(texts)


@given(
    st.lists(TEXTS, min_size=1, max_size=4), SIZES, st.sampled_from([1, 3, 12]), st.sampled_from(list(FRAMES.values()))
)
@settings(max_examples=60, deadline=None)
def test_any_frames_cut_anywhere_give_their_text(texts, sizes, level, make):
    data = b"".join([zstd.compress(texts[0], level), *map(make, texts[1:])])
    assert text_of(data, *sizes) == b"".join(texts)


BEFORE = [b"", b"\x1f\x8b", ZIPPED[:10], ZIPPED[:4], ZIPPED, b"\x28\xb5\x2f\xfd", ZSTD[:9], ZSTD]


@given(st.binary(max_size=400), SIZES, st.sampled_from(BEFORE))
@settings(max_examples=400, deadline=None)
def test_any_bytes_give_the_same_text_or_error_with_any_cuts(data, sizes, before):
    whole, pieces = outcome(before + data, 1 << 30), outcome(before + data, *sizes)
    assert pieces == whole
    assert isinstance(whole, bytes) or whole in (LogCorrupt, LogTruncated)
