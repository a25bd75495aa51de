"""`workers`: which numbers are possible, what `auto` means, and the part of the limits that each worker has."""

import os

import pytest
from tests.acceptance.settings.minimal import MINIMAL, changed, problems

from jibe_sqs.adapters.worker_channel import Given, Worker
from jibe_sqs.compose.fingerprint import Fingerprint
from jibe_sqs.settings import Settings, Texts, load, number_of_workers, share_of
from jibe_sqs.settings.workers import DIVIDED


def limited(**changes):
    return changed(access_anywhere={**MINIMAL["access_anywhere"], **changes})


@pytest.mark.parametrize(("written", "workers"), [(1, 1), (4, 4), ("4", 4), ("auto", 3)])
def test_a_number_or_auto(write, written, workers):
    settings = load(Settings, config=write(changed(workers=written)))
    assert number_of_workers(settings, cores=3) == workers


def test_the_variable_counts_too(write, monkeypatch):
    monkeypatch.setenv("JIBE_WORKERS", "2")
    assert load(Settings, config=write(MINIMAL)).workers == 2


def test_by_default_there_is_one_process(write):
    assert number_of_workers(load(Settings, config=write(MINIMAL)), cores=64) == 1


@pytest.mark.parametrize("wrong", [0, -1, 65, 1.5, "many", True, [2]])
def test_other_values_are_refused(write, wrong):
    expected = "workers: not a number of processes: write a whole number from 1 to 64, or auto"
    assert problems(config=write(changed(workers=wrong))) == [expected]


def test_a_ledger_in_memory_cannot_be_shared(write):
    (found,) = problems(config=write(changed(workers=2, ledger={"kind": "memory"})))
    assert found.startswith(
        "workers: workers share a ledger, and one in memory belongs to one process: set ledger.kind"
    )
    auto = load(Settings, config=write(changed(workers="auto", ledger={"kind": "memory"})))
    assert number_of_workers(auto, cores=8) == 1


def test_a_dry_run_needs_no_shared_ledger(write):
    configuration = changed(workers=2, ledger={"kind": "memory"}, sync={"strategy": "dry-run"})
    assert load(Settings, config=write(configuration)).workers == 2


def test_without_queues_there_is_nothing_to_share(write):
    swept = {"queues": [], "logs": [{"bucket": "audit-logs", "sweep": "3m"}]}
    (found,) = problems(config=write(changed(workers=2, **swept)))
    assert found.startswith("workers: workers share queues, and one process alone sweeps")
    assert number_of_workers(load(Settings, config=write(changed(workers="auto", **swept))), cores=8) == 1


def test_a_limit_must_be_enough_for_all_workers(write):
    (found,) = problems(config=write(changed(workers=4, limits={"bytes_held": 6 << 20})))
    assert found == (
        "workers: each worker gets a part of limits.bytes_held, at least 2097152: set limits.bytes_held to 8388608 or "
        "more, or workers to 3 or less"
    )
    auto = load(Settings, config=write({**limited(concurrency=2), "workers": "auto"}))
    assert number_of_workers(auto, cores=8) == 2


def test_together_the_workers_obey_the_limits(write):
    settings = load(Settings, config=write({**limited(concurrency=8, calls_per_second=5.0), "workers": 3}))
    share = share_of(settings, 3)
    for group, names in DIVIDED.items():
        for name in names:
            whole, part = getattr(getattr(settings, group), name), getattr(getattr(share, group), name)
            assert 0 < part <= whole / 3
    assert (share.access_anywhere.concurrency, share.limits.messages_reading) == (2, 21)


def test_a_rate_that_is_not_limited_stays_so(write):
    settings = load(Settings, config=write(changed(workers=2)))
    assert share_of(settings, 2).access_anywhere.calls_per_second is None


def test_each_worker_has_its_part_of_a_providers_limits(write):
    providers = {"a": {"concurrency": 5, "calls_per_second": 3.0}, "b": {"concurrency": 1}, "c": {}}
    share = share_of(load(Settings, config=write(changed(workers=2, providers=providers))), 2).providers
    assert {name: (each.concurrency, each.calls_per_second) for name, each in share.items()} == {
        "a": (2, 1.5),
        "b": (1, None),
        "c": (None, None),
    }


def test_the_number_of_workers_does_not_change_what_counts_as_finished(write):
    """Otherwise all log files would be read again after each change of it."""
    one, two = (load(Settings, config=write(changed(workers=number))) for number in (1, 2))
    assert Fingerprint.of(one) == Fingerprint.of(two) == Fingerprint.of(share_of(two, 2))


def test_a_worker_gets_what_its_supervisor_has_read(tmp_path):
    """In a file without a name, whose position the workers share. A message must not show its secrets."""
    given = Given(Texts(file=b"{}"), Texts(source="s3://bucket/key", secrets={"JIBE_PASSWORD": "CANARY"}))
    descriptor = os.memfd_create("given")
    os.write(descriptor, bytes(given))
    worker = Worker(0, 2, 3, 4, descriptor)
    assert Worker.parsed(str(worker)) == worker
    assert Given.of(worker) == given
    assert "CANARY" not in repr(given)
