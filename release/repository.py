"""The state of the git repository."""

import subprocess
from pathlib import Path


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def changed_files(root: Path) -> list[str]:
    """What is not committed, as git prints it."""
    return git(root, "status", "--porcelain").splitlines()


def tracked_files(root: Path) -> set[str]:
    return set(git(root, "ls-files", "-z").split("\0"))


def tag_problems(root: Path, version: str, pushed: str = "") -> list[str]:
    """The tag of the version must not exist, or be on this commit. `pushed`: the tag for which a release was started."""
    name = f"v{version}"
    if pushed and pushed != name:
        return [f"the tag is {pushed}, but the version is {version}"]
    if not git(root, "tag", "--list", name):
        return []
    if git(root, "rev-parse", f"{name}^{{commit}}") == git(root, "rev-parse", "HEAD"):
        return []
    return [f"{name} tags another commit: this version is released"]
