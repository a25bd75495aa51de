"""Known vulnerabilities of the packages in a lock, by pip-audit from the data of PyPI."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from .outcomes import Outcome, failed, not_checked

REMEDY: Final = "raise the version in pyproject.toml, then: make lock"


def audited(lock: Path) -> Outcome:
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), "--disable-pip", "--no-deps", "--format", "json"]
    done = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True, check=False)
    return outcome(done.stdout, done.stderr)


def outcome(report: str, errors: str = "") -> Outcome:
    """What a report of pip-audit says. Without data about a package, its safety is unknown, not proven."""
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = errors.strip().splitlines()[-1:] or ["pip-audit printed no report"]
        return not_checked(f"no data: {reason[0]}")
    vulnerable = [
        f"{each['name']} {each['version']}: {found['id']}, repaired in {' or '.join(found['fix_versions']) or 'no version'}"
        for each in packages
        for found in each.get("vulns", ())
    ]
    if vulnerable:
        return failed(vulnerable, REMEDY)
    unknown = [each["name"] for each in packages if "skip_reason" in each]
    if unknown or not packages:
        return not_checked(f"no data about {len(unknown)} of {len(packages)} packages; the index may not offer it")
    return failed([], REMEDY)
