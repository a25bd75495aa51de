"""What is made of the results: tables of 80 columns, goals, and the figures in the documentation."""

import msgspec
import pytest
from bench.behaviour import SHUTDOWN, Fact
from bench.contenders import AIOBOTOCORE, CONTENDERS, OURS
from bench.goals import GOALS
from bench.growth import Curve, Point
from bench.results import Results
from bench.spreads import spread
from bench.workloads import WORKLOADS, Measured, Result

from bench import report, table


def measured(cpu: float, **changed) -> Measured:
    values = {
        "cpu": spread([cpu, cpu * 2]),
        "wall": spread([cpu]),
        "peak": spread([132.4]),
        "ratio": spread([1000 / cpu]),
    }
    shares = {"requests": 1.2, "calls": 0.5, "refresh": 2000.0, "dollars": 0.54, "stub_share": 0.1}
    return Measured(**(values | shares | changed))


def results(ours: float = 200.0) -> Results:
    costs = {each.name: measured(ours if each.is_ours else 1000.0) for each in CONTENDERS}
    workload = Result("tiny", 1_000_000, 2_000_000, costs, ["one is not measured: it is missing"], spread([40.0]))
    return Results(workloads=[workload], behaviour=[Fact(SHUTDOWN, OURS.name, "s", spread([0.5]))])


@pytest.mark.parametrize("cpu", [40.0, 9_999_999.0])
def test_tables_have_at_most_80_columns(capsys, cpu):
    found = results(cpu)
    table.print_result(found.workloads[0])
    table.print_fact(Fact("start, to the first receive", "boto3, 16 threads", "MB", spread([129.39, 140.0])))
    table.print_goals(found)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("aiobotocore" in line for line in lines)


def test_goals_compare_with_the_peer_in_the_same_run():
    (goal,) = (goal for goal in GOALS if goal.what == "tiny, against aiobotocore")
    assert goal.value(results(ours=100.0)) == 10.0
    assert goal.is_reached(results(ours=100.0))
    assert not goal.is_reached(results(ours=250.0))


def test_what_was_not_measured_reaches_no_goal():
    assert not any(goal.is_reached(Results()) for goal in GOALS)


def test_goals_name_workloads_and_contenders_that_exist(monkeypatch):
    """A goal that names one of them wrongly would never have a value."""
    named = set()
    monkeypatch.setattr("bench.goals.measured", lambda _, workload, contender: named.add((workload, contender)))
    for goal in GOALS:
        goal.value(Results())
    there = {(workload.name, each.name) for workload in WORKLOADS for each in workload.contenders}
    assert named
    assert named <= there


def test_results_are_read_as_they_were_written():
    found = results()
    assert msgspec.json.decode(msgspec.json.encode(found), type=Results) == found


def test_figures_replace_what_is_between_the_markers(tmp_path, monkeypatch):
    pages, path = [tmp_path / "page.md", tmp_path / "other.md"], tmp_path / "results.json"
    for page in pages:
        page.write_text("before\n<!-- bench: ratios -->\nold\n<!-- end of ratios -->\nafter\n")
    path.write_bytes(msgspec.json.encode(results()))
    monkeypatch.setattr(report, "PAGES", pages)
    report.run(path)
    report.run(path)
    for page in pages:
        lines = page.read_text().splitlines()
        assert (lines[0], lines[-1]) == ("before", "after")
        assert "old" not in lines
        assert [line for line in lines if line.startswith("| tiny |")] == [
            "| tiny | 5.00 | 5.00 | 1.00 | 1.00 | 1.00 | 1.00 |"
        ]
    assert AIOBOTOCORE.name in page.read_text()


def test_every_marker_of_the_page_is_filled(tmp_path, monkeypatch):
    page, path = tmp_path / "page.md", tmp_path / "results.json"
    page.write_text(report.PAGES[0].read_text())
    found = results()
    found.growth.append(Curve("files", "files drained", "us a file", [Point(1000, 200.0, 70.0)]))
    path.write_bytes(msgspec.json.encode(found))
    monkeypatch.setattr(report, "PAGES", (page,))
    report.run(path)
    assert "There are no results yet" not in page.read_text()
    assert "performance/files.svg" in page.read_text()


def test_a_page_without_markers_stays_as_it_is():
    assert report.replaced("text\n", "ratios", "new") == "text\n"
