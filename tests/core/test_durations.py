"""Durations as an operator writes them."""

import pytest

from jibe_sqs.settings.types import duration


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1.5m", 90), ("2h", 7200), ("7d", 604_800), ("0", 0)])
def test_a_duration_is_in_seconds(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-5", "1e999", "", "soon"])
def test_what_is_no_duration_is_refused(text):
    """With an endless one, a comparison would find that everything is too new to differ."""
    with pytest.raises(ValueError, match="not a duration"):
        duration(text)
