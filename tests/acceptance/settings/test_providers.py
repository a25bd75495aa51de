"""`providers`: quiet hours and their time zones, and what is wrong with them."""

import zoneinfo
from datetime import UTC, time
from zoneinfo import ZoneInfo

import pytest
from tests.acceptance.settings.minimal import changed, problems

from jibe_sqs.settings import Settings, load


def provider(**settings):
    return changed(providers={"Amazon S3": settings})


def test_quiet_hours_are_of_utc_or_of_the_zone(write):
    for zone, named in ((UTC, {}), (ZoneInfo("Europe/Berlin"), {"time_zone": "Europe/Berlin"})):
        settings = load(Settings, config=write(provider(quiet_hours="22:00-06:00", **named)))
        quiet = settings.providers["Amazon S3"].quiet
        assert (quiet.start, quiet.end, quiet.zone) == (time(22), time(6), zone)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"quiet_hours": "22-6"}, "providers.Amazon S3.quiet_hours: not hours of a day"),
        ({"quiet_hours": "06:00-22:00"}, "providers.Amazon S3.quiet_hours: quiet hours may last for 10 hours at most"),
        ({"time_zone": "Europe/Nowhere"}, "providers.Amazon S3.time_zone: no time zone 'Europe/Nowhere' here"),
        ({"time_zone": "../x"}, "providers.Amazon S3.time_zone: no time zone"),
        ({"concurrency": 0}, "providers.Amazon S3.concurrency: "),
        ({"calls_per_second": 0}, "providers.Amazon S3.calls_per_second: "),
    ],
)
def test_a_mistake_is_named_with_its_remedy(write, settings, problem):
    (found,) = problems(config=write(provider(**settings)))
    assert found.startswith(problem)


def test_without_a_time_zone_database_utc_works_and_the_mistake_says_what_is_missing(write, monkeypatch):
    monkeypatch.setattr(zoneinfo, "TZPATH", ())
    monkeypatch.setattr(zoneinfo._common, "load_tzdata", _missing)
    ZoneInfo.clear_cache()
    zoneinfo.reset_tzpath(to=())
    try:
        load(Settings, config=write(provider(quiet_hours="22:00-06:00")))
        (found,) = problems(config=write(provider(time_zone="Asia/Tokyo")))
    finally:
        zoneinfo.reset_tzpath()
    assert "install the package tzdata" in found


def _missing(key):
    raise zoneinfo.ZoneInfoNotFoundError(key)
