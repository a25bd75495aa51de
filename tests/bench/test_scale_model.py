"""The scaling model: its page, its limits, and the simulation that checks it."""

import math
import re
from itertools import pairwise

import msgspec
import pytest
from bench.scale.model import WORKLOADS, Site, copies, predicted, refreshes
from bench.scale.simulation import BATCH, SERVICE, checks
from bench.scale_constants import load
from bench.scale_model import PAGE, month, parts

MEASURED = load()
S3_EVENTS, TINY = WORKLOADS[:2]


def test_the_page_shows_what_the_model_says():
    text = PAGE.read_text()
    for lines in parts(MEASURED).values():
        assert "\n".join(lines) in text


def test_the_page_shows_a_month_of_500_changes_a_second():
    assert "\n".join(month(500, Site(), MEASURED)) in PAGE.read_text()


def test_the_tables_have_at_most_80_columns():
    assert max(len(line) for lines in parts(MEASURED).values() for line in lines) <= 80


def test_the_simulated_wait_is_within_a_batch_of_the_model_and_a_burst_within_two_percent():
    for each in checks():
        assert abs(each.simulated - each.model) <= BATCH * SERVICE
        if each.arrivals == "bursts":
            assert each.simulated == pytest.approx(each.model, rel=0.02)


def test_a_folder_is_refreshed_at_most_once_in_a_delay_and_at_most_once_for_a_change():
    site = Site(folders=100)
    assert refreshes(1e6, TINY, site) == pytest.approx(100 / (TINY.delay - 5), rel=0.01)
    assert refreshes(0.001, TINY, site) == pytest.approx(0.001, rel=0.01)


def test_all_replicas_refresh_a_folder_that_all_of_them_hear_of():
    assert copies(1e6, 1.0, 4, Site(folders=1)) == pytest.approx(4)
    assert copies(1e6, 1.0, 1, Site(folders=1)) == 1


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda each: each.name)
def test_more_changes_never_need_fewer_replicas_or_calls(workload):
    found = [predicted(10.0**power, workload, Site(), MEASURED) for power in range(7)]
    for less, more in pairwise(found):
        assert less.replicas <= more.replicas
        assert less.calls <= more.calls * 1.0001


def test_a_slow_access_anywhere_is_the_limit_that_more_replicas_do_not_move():
    site = msgspec.structs.replace(Site(), capacity=10.0)
    found = predicted(1000, S3_EVENTS, site, MEASURED)
    assert "AA" in found.limits
    assert found.calls <= 10.0 * 1.0001


@pytest.mark.parametrize("events", [0.0, -1.0, math.nan, math.inf])
def test_a_load_that_is_none_is_refused(events):
    with pytest.raises(ValueError, match="changes a second: the number must be above 0"):
        predicted(events, WORKLOADS[0], Site(), MEASURED)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"folders": 0}, "Site.folders is 0: it must be above 0"),
        ({"refresh": -1.0}, "Site.refresh is -1.0"),
        ({"capacity": math.nan}, "Site.capacity is nan"),
        ({"busy": 70.0}, "Site.busy is 70.0: it is a part of a core"),
    ],
)
def test_a_site_that_does_not_exist_is_refused(changed, reason):
    """Otherwise the table would show nonsense."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        Site(**changed)
