"""The statistics of the benchmarks."""

import pytest
from bench.spreads import quantile, ratios, spread


def test_a_spread_has_the_median_and_both_ends():
    found = spread([3.0, 1.0, 2.0, 10.0])
    assert (found.median, found.low, found.high) == (2.5, 1.0, 10.0)


def test_ratios_compare_the_runs_of_one_round():
    """A slow round that slows both alike does not change the ratio."""
    assert ratios([1.0, 10.0, 2.0], [2.0, 20.0, 4.0]).values == [2.0, 2.0, 2.0]


def test_ratios_need_the_same_rounds():
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("part", "expected"), [(0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100), (0.0, 1)])
def test_a_quantile_is_one_of_the_values(part, expected):
    values = [float(value) for value in range(100, 0, -1)]
    assert quantile(values, part) == expected


def test_the_quantile_of_one_value_is_that_value():
    assert quantile([7.0], 0.99) == 7.0
