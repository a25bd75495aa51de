"""Each check of `make release-check` passes what is right, and fails what is not."""

import re
import subprocess
from datetime import date
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from release.__main__ import main, shown
from release.outcomes import Result, failed, not_checked

from release import changelog, distributions, licences, locks, prepare, repository, versions, vulnerabilities

ROOT = Path(__file__).parents[2]
VERSION = versions.current(ROOT)
LOG = "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n\n### Added\n\n- A thing.\n"
HASH = "--hash=sha256:" + "0" * 64


def test_every_file_names_the_version_of_the_program():
    """If one does not: correct it, or write all with `make release-prepare VERSION=…`."""
    found = versions.mentions(ROOT)
    assert {"docs/how-to/alerts.md", "infra/helm/jibe-sqs/Chart.yaml"} <= {each.path.as_posix() for each in found}
    assert [str(each) for each in found if each.version != VERSION] == []


def test_no_page_or_template_names_the_version_in_a_way_that_is_not_found():
    """If one does: add a pattern to `MENTIONS`. The chart has a version of its own."""
    found = {(each.path, each.line) for each in versions.mentions(ROOT)}
    texts = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "infra").rglob("*.yaml")]
    missed = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in texts
        if not path.relative_to(ROOT).as_posix().startswith(versions.MEASURED) and "node_modules" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(rf"(?<![\w.]){re.escape(VERSION)}(?![\w.]*\w)", line)
        and (path.relative_to(ROOT), number) not in found
    ]
    assert missed == ["infra/helm/jibe-sqs/Chart.yaml:6"]


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "01.2.3", "1.0.0rc01", "٠.٢.٠", "1.0.0+local", "1.0.0 ", ""])
def test_a_version_that_a_wheel_is_not_named_after_is_refused(version, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="not a version"):
        prepare.main(version)


def test_a_new_version_is_written_to_each_place(tmp_path):
    source = tmp_path / versions.SOURCE
    source.parent.mkdir(parents=True)
    source.write_text('__version__ = "0.1.0"\n')
    (tmp_path / "infra").mkdir()
    chart = tmp_path / "infra" / "Chart.yaml"
    chart.write_text('version: 7.0.0\nappVersion: "0.1.0"\nimage: a/jibe-sqs:0.1.0\nnewTag: 0.1.0\n')
    assert versions.write(tmp_path, "0.2.0rc1") == [Path("infra/Chart.yaml"), versions.SOURCE]
    assert versions.current(tmp_path) == "0.2.0rc1"
    assert chart.read_text() == 'version: 7.0.0\nappVersion: "0.2.0rc1"\nimage: a/jibe-sqs:0.2.0rc1\nnewTag: 0.2.0rc1\n'
    assert {each.version for each in versions.mentions(tmp_path)} == {"0.2.0rc1"}


def test_the_changelog_of_a_release_has_no_problem():
    assert changelog.problems(LOG, "0.2.0") == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LOG.replace("[Unreleased]\n", "[Unreleased]\n\n- More.\n"), "[Unreleased] has entries"),
        (LOG.replace("0.2.0", "0.1.0"), "is not [0.2.0]"),
        (LOG.replace(" - 2026-12-01", ""), "has no date"),
        (LOG.replace("2026-12-01", "2026-13-01"), "has no date"),
        (LOG.replace("2026-12-01", "20261201"), "has no date"),
        (LOG.replace("- A thing.", ""), "has no entries"),
        (LOG.replace("## [Unreleased]", ""), "first section is not [Unreleased]"),
    ],
)
def test_a_changelog_of_no_release_fails(text, problem):
    assert problem in " ".join(changelog.problems(text, "0.2.0"))


def test_preparing_a_release_dates_the_unreleased_entries():
    text = changelog.released(LOG.replace("[Unreleased]\n", "[Unreleased]\n\n- More.\n"), "0.3.0", date(2026, 12, 2))
    assert "## [Unreleased]\n\n## [0.3.0] - 2026-12-02\n\n- More." in text
    assert changelog.problems(text, "0.3.0") == []
    with pytest.raises(ValueError, match="nothing to release"):
        changelog.released(text, "0.4.0", date(2026, 12, 3))
    with pytest.raises(ValueError, match="already"):
        changelog.released(text, "0.2.0", date(2026, 12, 3))


def test_the_locks_satisfy_the_project():
    for name, needed in locks.requirements((ROOT / "pyproject.toml").read_text()).items():
        assert locks.problems(name, (ROOT / "requirements" / f"{name}.lock").read_text(), needed) == []


@pytest.mark.parametrize(
    ("lock", "problem"),
    [
        (f"b==1.0 \\\n    {HASH}\n", "does not pin a"),
        (f"a==3.0 \\\n    {HASH}\n", "a 3.0, which is not"),
        ("a==1.5\n", "no hash of a"),
    ],
)
def test_a_lock_that_misses_something_fails(lock, problem):
    assert problem in " ".join(locks.problems("runtime", lock, [Requirement("a>=1,<2")]))


def test_a_pin_for_another_system_does_not_apply():
    (pin,) = locks.pins(f"a==1.0 ; sys_platform == 'plan9' \\\n    {HASH}\n")
    assert not pin.applies


def wheel() -> dict[str, bytes]:
    information = "jibe_sqs-0.2.0.dist-info"
    return dict.fromkeys((*distributions.IN_WHEEL, f"{information}/licenses/LICENSE", f"{information}/METADATA"), b"")


def test_a_complete_wheel_and_source_distribution_pass():
    assert distributions.wheel_problems(wheel(), "0.2.0") == []
    assert distributions.sdist_problems(dict.fromkeys(distributions.IN_SDIST, b"")) == []


@pytest.mark.parametrize("name", ["tests/test_a.py", "jibe_sqs/.env", "jibe_sqs/a.pem", "jibe_sqs/__pycache__/a.pyc"])
def test_a_wheel_with_a_file_too_many_fails(name):
    assert name in " ".join(distributions.wheel_problems({**wheel(), name: b""}, "0.2.0"))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("jibe_sqs/.env.local", "src/jibe_sqs/.env.local"),
        ("jibe_sqs/sandbox/cloudformation/x~", "infra/cloudformation/x~"),
    ],
)
def test_a_file_that_git_does_not_track_fails(tmp_path, name, source):
    """Also if a rule outside the repository hides it from `git status`."""
    files = ["jibe_sqs/__init__.py", "jibe_sqs/sandbox/cloudformation/a.yaml", name]
    for path in ("src/jibe_sqs/__init__.py", "infra/cloudformation/a.yaml", source):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    repository.git(tmp_path, "init", "--quiet")
    repository.git(tmp_path, "add", ".")
    assert distributions.untracked(files, ["PKG-INFO", source], repository.tracked_files(tmp_path)) == []
    repository.git(tmp_path, "rm", "--quiet", "--cached", source)
    found = distributions.untracked(files, ["PKG-INFO", source], repository.tracked_files(tmp_path))
    assert found == [
        f"the wheel contains {name}, which git does not track",
        f"the source distribution contains {source}, which git does not track",
    ]


@pytest.mark.parametrize("name", sorted(wheel()))
def test_a_wheel_without_an_expected_file_fails(name):
    files = wheel()
    del files[name]
    assert distributions.wheel_problems(files, "0.2.0") == [f"the wheel does not contain {name}"]


@pytest.mark.parametrize("name", distributions.IN_SDIST)
def test_a_source_distribution_without_an_expected_file_fails(name):
    files = dict.fromkeys(set(distributions.IN_SDIST) - {name}, b"")
    assert distributions.sdist_problems(files) == [f"the source distribution does not contain {name}"]


@pytest.mark.parametrize(
    "secret",
    [b"AKIA" + b"Q" * 16, b"-----BEGIN RSA PRIVATE KEY-----\n" + b"M" * 64, b"ghp_" + b"a" * 36],
    ids=["access key", "private key", "token"],
)
def test_a_secret_in_a_distribution_fails(secret):
    assert "looks as if" in " ".join(distributions.wheel_problems({**wheel(), "jibe_sqs/a.py": secret}, "0.2.0"))


METADATA = """Metadata-Version: 2.4
Name: jibe-sqs
Version: 0.2.0
Summary: A summary.
Author: The jibe-sqs authors
License-Expression: Apache-2.0
Classifier: Typing :: Typed
Requires-Python: >=3.11
Description-Content-Type: text/markdown

# Text
"""


def test_complete_metadata_pass():
    assert distributions.metadata_problems(METADATA.encode(), "0.2.0") == []


@pytest.mark.parametrize("line", [line for line in METADATA.splitlines()[1:9] if not line.startswith("Description")])
def test_metadata_without_a_field_fail(line):
    assert distributions.metadata_problems(METADATA.replace(line + "\n", "").encode(), "0.2.0")


def test_metadata_with_a_wrong_field_fail():
    assert distributions.metadata_problems(METADATA.replace("Apache-2.0", "My own").encode(), "0.2.0")


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [
        ({"License-Expression": "MIT"}, True),
        ({"License-Expression": "Apache-2.0 AND (MIT OR GPL-3.0-only)"}, True),
        ({"License-Expression": "Apache-2.0 AND GPL-3.0-only"}, False),
        ({"License": "ISC License"}, True),
        ({"License": "Dual License", "Classifier": "License :: OSI Approved :: BSD License"}, True),
        ({"License": "Proprietary"}, False),
        ({}, False),
    ],
)
def test_only_packages_with_allowed_licences_pass(headers, is_allowed):
    package = Message()
    for name, value in headers.items():
        package[name] = value
    pin = locks.Pin("a", "1", "", has_hash=True)
    assert (licences.problems([pin], lambda _: package) == []) is is_allowed


def test_a_package_that_is_not_installed_has_no_known_licence():
    assert licences.problems([locks.Pin("no-such-package", "1", "", has_hash=True)])


def test_all_runtime_packages_have_allowed_licences():
    pins = locks.pins((ROOT / "requirements" / "runtime.lock").read_text())
    assert len(pins) > 40
    assert licences.problems([pin for pin in pins if pin.applies]) == []


@pytest.mark.parametrize(
    ("report", "result"),
    [
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', Result.OK),
        (
            '{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X", "fix_versions": ["2"]}]}]}',
            Result.FAILED,
        ),
        ('{"dependencies": [{"name": "a", "skip_reason": "unknown"}]}', Result.NOT_CHECKED),
        ('{"dependencies": []}', Result.NOT_CHECKED),
        ("", Result.NOT_CHECKED),
    ],
)
def test_no_data_about_vulnerabilities_is_not_the_same_as_no_vulnerability(report, result):
    assert vulnerabilities.outcome(report).result is result


def test_a_tag_on_another_commit_and_changed_files_fail(tmp_path):
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("commit", "--allow-empty", "--message", "first")
    assert repository.tag_problems(tmp_path, "0.2.0") == []
    git("tag", "v0.2.0")
    assert repository.tag_problems(tmp_path, "0.2.0", "v0.2.0") == []
    assert repository.tag_problems(tmp_path, "0.2.0", "v0.3.0") == ["the tag is v0.3.0, but the version is 0.2.0"]
    git("commit", "--allow-empty", "--message", "second")
    assert "tags another commit" in repository.tag_problems(tmp_path, "0.2.0")[0]
    assert repository.changed_files(tmp_path) == []
    (tmp_path / "new").touch()
    assert repository.changed_files(tmp_path) == ["?? new"]


def test_a_check_prints_its_result_and_the_remedy(capsys):
    shown("names", failed(["a is wrong"], "correct it"))
    shown("data", not_checked("no data"))
    out = capsys.readouterr().out
    assert out == "  failed: names\n      a is wrong\n      -> correct it\n  not checked: data\n      no data\n"


@pytest.mark.parametrize(
    ("outcome", "arguments", "code"),
    [
        (failed([], ""), [], 0),
        (failed(["a"], "b"), [], 1),
        (not_checked("no data"), [], 0),
        (not_checked("no data"), ["--strict"], 1),
    ],
)
def test_only_strict_fails_for_what_was_not_checked(monkeypatch, outcome, arguments, code):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("release.__main__.ALWAYS", {"one": lambda _: outcome})
    assert main([*arguments, "--draft"]) == code
