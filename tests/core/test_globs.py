"""Patterns of keys: what they match, and that the fast way of matching gives the same answers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.globs import Globs, KeyFilter

KEYS = st.text("ab/*?[", max_size=8)
PATTERNS = st.lists(st.text("ab/*?[", min_size=1, max_size=6), min_size=1, max_size=4).map(tuple)


def expected(pattern: str, key: str) -> bool:
    """The documented meaning of a pattern, in the plainest way."""
    glob = "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in pattern)
    if not pattern.endswith("/"):
        return re.fullmatch(glob, key, re.DOTALL) is not None
    at_any_depth = pattern.count("/") == 1
    starts = [0, *(slash.end() for slash in re.finditer("/", key) if at_any_depth)]
    return any(re.match(glob, key[start:], re.DOTALL) for start in starts)


@given(PATTERNS, KEYS)
def test_a_filter_matches_a_key_if_one_of_its_patterns_does(patterns, key):
    assert KeyFilter(patterns).matches(key) == any(expected(pattern, key) for pattern in patterns)


@given(PATTERNS, KEYS, KEYS)
def test_every_key_below_a_covered_folder_matches(patterns, folder, below):
    found = KeyFilter(patterns)
    if found.covers(f"{folder}/"):
        assert found.matches(f"{folder}/{below}")


@given(st.lists(st.text("ab/*?[", max_size=6), max_size=4), KEYS)
def test_the_first_matching_glob_is_found(patterns, text):
    matching = [pattern for pattern in patterns if not pattern.endswith("/") and expected(pattern, text)]
    globs = Globs(pattern for pattern in patterns if not pattern.endswith("/"))
    assert globs.first(text) == (matching[0] if matching else None)
    assert globs.match(text) == bool(matching)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("_temporary/", ["_temporary/", "_temporary/0/x", "a/b/_temporary/x"], ["a_temporary/x", "a/_temporary", "x"]),
        ("a/b/", ["a/b/x", "a/b/c/x"], ["x/a/b/y", "a/bc/x", "a/b"]),
        ("tmp-*/", ["tmp-1/x", "a/tmp-1/b/x"], ["tmp/x", "a/tmp-1"]),
        ("*.tmp", ["x.tmp", "a/b/x.tmp"], ["x.tmp/y", "x.TMP"]),
        ("a/*", ["a/", "a/b/c"], ["b/a/c", "a"]),
        ("a?c", ["abc", "a/c"], ["ac", "abbc"]),
        ("AWSLogs/*/222222222222/*", ["AWSLogs/o-abc/222222222222/CloudTrail/x.gz"], ["AWSLogs/222222222222/x.gz"]),
        ("[a].txt", ["[a].txt"], ["a.txt"]),
        ("a\nb*", ["a\nb\nc"], ["a b"]),
        ("*", ["", "a/b"], []),
    ],
)
def test_a_pattern_matches_as_documented(pattern, matching, others):
    found = KeyFilter((pattern,))
    assert [key for key in [*matching, *others] if found.matches(key)] == matching


def test_a_folder_is_covered_by_a_pattern_with_an_open_end():
    found = KeyFilter(("AWSLogs/*/2222/*", "_temporary/", "x/*.gz"))
    assert found.covers("AWSLogs/o-a/2222/")
    assert found.covers("AWSLogs/o-a/2222/CloudTrail/")
    assert found.covers("a/_temporary/")
    assert not found.covers("AWSLogs/o-a/")
    assert not found.covers("x/")


def test_filters_with_the_same_patterns_are_equal():
    assert KeyFilter(("a", "b")) == KeyFilter(("a", "b"))
    assert hash(KeyFilter(("a",))) == hash(KeyFilter(("a",)))
    assert KeyFilter(("a",)) != KeyFilter(("b",))


@pytest.mark.parametrize("pattern", ["*a*a*a*a*a*a*b", "?*?*?*?*?*b", "*a/*a/*a/b/"])
def test_a_long_key_takes_no_longer_than_its_length(pattern):
    """A pattern that tries all ways to match would not end."""
    assert not KeyFilter((pattern,)).matches("a/" * 2048)
