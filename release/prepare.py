"""`make release-prepare VERSION=0.2.0`: writes the version to each place, and dates the changelog's section."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from packaging.version import Version

from . import changelog, versions


def main(version: str) -> None:
    root = Path.cwd()
    if not versions.VERSION.fullmatch(version):
        sys.exit(f"not a version: {version!r}. Say which with: make release-prepare VERSION=0.2.0")
    before = versions.current(root)
    if Version(version) < Version(before):
        sys.exit(f"{version} is older than {before}")
    log = root / "CHANGELOG.md"
    try:
        text = changelog.released(log.read_text(encoding="utf-8"), version, datetime.now(UTC).date())
    except ValueError as error:
        sys.exit(str(error))
    log.write_text(text, encoding="utf-8")
    for path in [log.relative_to(root), *versions.write(root, version)]:
        print(f"wrote {path}")
    print(f"Next: make docs; git commit; make release-check; git tag v{version}")


if __name__ == "__main__":
    main(*sys.argv[1:2] or [""])
