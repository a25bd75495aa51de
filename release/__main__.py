"""`make release-check`: whether this commit can be tagged and released. Each check prints its result, and the remedy."""

import argparse
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import changelog, distributions, licences, locks, repository, versions, vulnerabilities
from .outcomes import Outcome, Result, failed, not_checked

SHOWN: Final = 10
"""Facts of one check that are printed."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What would be released."""

    root: Path
    version: str
    dist: Path
    tag: str = ""

    def text(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")


def version_everywhere(candidate: Candidate) -> Outcome:
    other = [str(each) for each in versions.mentions(candidate.root) if each.version != candidate.version]
    return failed(other, f"the version is {candidate.version}: correct these, or: make release-prepare VERSION=…")


def dated_changelog(candidate: Candidate) -> Outcome:
    found = changelog.problems(candidate.text("CHANGELOG.md"), candidate.version)
    return failed(found, "make release-prepare VERSION=…, with the next version")


def free_tag(candidate: Candidate) -> Outcome:
    found = repository.tag_problems(candidate.root, candidate.version, candidate.tag)
    return failed(found, "make release-prepare VERSION=…, and tag that version")


def clean_tree(candidate: Candidate) -> Outcome:
    return failed(repository.changed_files(candidate.root), "commit or remove these")


def generated_docs(_candidate: Candidate) -> Outcome:
    from docs.generate.pages import PAGES

    bad_input = importlib.import_module("tests.bad_input.table")
    pages = [(page.path, page.text()) for page in PAGES] + [(bad_input.DOCUMENT, bad_input.generated())]
    old = [path.name for path, text in pages if path.read_text(encoding="utf-8") != text]
    return failed(old, "make docs, and commit")


def locked(candidate: Candidate) -> Outcome:
    needed = locks.requirements(candidate.text("pyproject.toml"))
    found = [
        problem
        for name, each in needed.items()
        for problem in locks.problems(name, candidate.text(f"requirements/{name}.lock"), each)
    ]
    return failed(found, "make lock, and commit")


def locks_resolve_again(candidate: Candidate) -> Outcome:
    changed = locks.resolved_differently(candidate.root)
    if changed is None:
        return not_checked("uv is missing, or it reaches no index")
    return failed(changed, "make lock, and commit")


def built(candidate: Candidate) -> Outcome:
    name = f"jibe_sqs-{candidate.version}"
    wheel, sdist = candidate.dist / f"{name}-py3-none-any.whl", candidate.dist / f"{name}.tar.gz"
    if missing := [f"{path.name} was not built" for path in (wheel, sdist) if not path.is_file()]:
        return failed(missing, "make dist")
    files, sources = distributions.contents(wheel), distributions.contents(sdist)
    information = files.get(f"{name}.dist-info/METADATA", b"")
    found = distributions.wheel_problems(files, candidate.version)
    found += distributions.sdist_problems(sources)
    found += distributions.untracked(files, sources, repository.tracked_files(candidate.root))
    found += distributions.metadata_problems(information, candidate.version)
    return failed(found, "correct [tool.hatch.build] or [project] in pyproject.toml, then: make dist")


def free_licences(candidate: Candidate) -> Outcome:
    pins = [pin for pin in locks.pins(candidate.text("requirements/runtime.lock")) if pin.applies]
    return failed(licences.problems(pins), "replace the package, or add its licence to release/licences.py with care")


def no_known_vulnerability(candidate: Candidate) -> Outcome:
    return vulnerabilities.audited(candidate.root / "requirements" / "runtime.lock")


ALWAYS: Final[dict[str, Callable[[Candidate], Outcome]]] = {
    "version the same everywhere": version_everywhere,
    "generated pages up to date": generated_docs,
    "locks satisfy pyproject.toml": locked,
    "locks are what uv resolves": locks_resolve_again,
    "wheel, source distribution, metadata": built,
    "licences of the runtime packages": free_licences,
    "known vulnerabilities": no_known_vulnerability,
}
"""Must be true of each commit."""
AT_RELEASE: Final[dict[str, Callable[[Candidate], Outcome]]] = {
    "changelog of the version": dated_changelog,
    "tag of the version": free_tag,
    "all committed": clean_tree,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("--draft", action="store_true", help="only what must be true of each commit")
    parser.add_argument("--strict", action="store_true", help="what could not be checked counts as failed")
    parser.add_argument("--tag", default="", help="the tag for which the release was started")
    options = parser.parse_args(arguments)
    root = Path.cwd()
    candidate = Candidate(root, versions.current(root), root / "dist", options.tag)
    checks = ALWAYS if options.draft else {**ALWAYS, **AT_RELEASE}
    print(f"Release of {candidate.version}:", flush=True)
    results = [shown(name, check(candidate)) for name, check in checks.items()]
    wrong = {Result.FAILED, Result.NOT_CHECKED} if options.strict else {Result.FAILED}
    count = sum(result in wrong for result in results)
    print(f"not ready: {count} of {len(checks)} checks" if count else "ready")
    return 1 if count else 0


def shown(name: str, outcome: Outcome) -> Result:
    """Print what a check found."""
    print(f"  {outcome.result}: {name}")
    for fact in outcome.facts[:SHOWN]:
        print(f"      {fact}")
    if len(outcome.facts) > SHOWN:
        print(f"      and {len(outcome.facts) - SHOWN} more")
    if outcome.remedy:
        print(f"      -> {outcome.remedy}", flush=True)
    return outcome.result


if __name__ == "__main__":
    sys.exit(main())
