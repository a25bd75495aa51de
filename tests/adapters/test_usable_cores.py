"""How many workers `auto` means: the cores that this process may use, by its affinity and its CPU quota."""

import os

import pytest

from jibe_sqs.adapters.usable_cores import usable_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 2),  # a third process would be throttled
        ("50000 100000", 1),
        ("1600000 100000", 8),
        ("", 8),
        ("200000 0", 8),
    ],
)
def test_a_quota_of_a_container_counts(tmp_path, quota, cores):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("300000", 3)])
def test_a_quota_of_version_1_counts(tmp_path, quota, cores):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert usable_cores(tmp_path) == cores


def test_without_cgroups_the_affinity_counts(tmp_path):
    assert usable_cores(tmp_path / "missing") == 8
