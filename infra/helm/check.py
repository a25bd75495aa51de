"""Renders the Helm chart with each file of values, and validates each object. From the root of the repository: `python -m infra.helm.check`.

Each file belongs to the overlay of kustomize with the same name, and both have the same configuration.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from infra.kubernetes import check as kubernetes

HERE: Final = Path(__file__).parent
CHART: Final = HERE / "jibe-sqs"
VALUES: Final = sorted((HERE / "values").glob("*.yaml"))
RELEASE: Final = "jibe-sqs"
TIMEOUT: Final = 60
"""Seconds for one command."""


class Refused(Exception):
    """The chart refuses the values."""


def helm() -> str | None:
    """The program of `make .venv/.tools`, or the one on the PATH."""
    ours = kubernetes.ROOT / ".venv" / "tools" / "helm" / "helm"
    return str(ours) if ours.exists() else shutil.which("helm")


def ran(*arguments: str | Path) -> str:
    """What a command prints. Raises `Refused` with the reason."""
    program = helm()
    if program is None:
        raise FileNotFoundError("helm is missing: make .venv/.tools")
    done = subprocess.run(  # noqa: S603 - our own chart
        [program, *map(str, arguments)], check=False, capture_output=True, text=True, timeout=TIMEOUT
    )
    if done.returncode:
        raise Refused(done.stdout + done.stderr)
    return done.stdout


def rendered(*arguments: str | Path, release: str = RELEASE) -> list[dict[str, Any]]:
    """The objects of a release. Raises `Refused`."""
    printed = ran("template", release, CHART, *arguments)
    return [each for each in yaml.load_all(printed, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if each]


def overlay(values: Path) -> Path:
    """The folder of kustomize that makes the same objects."""
    return next(folder for folder in kubernetes.FOLDERS if folder.name == values.stem)


def arguments(values: Path) -> list[str | Path]:
    """Options of helm: a file of values, with the configuration of its overlay, or else of the base."""
    own = overlay(values) / "jibe-config.json"
    config = own if own.exists() else kubernetes.HERE / "base" / "jibe-config.json"
    return ["--values", values, "--set-file", f"config={config}"]


def main() -> Iterator[str]:
    """Check the chart; what is checked, one line for each file of values."""
    for values in VALUES:
        ran("lint", "--strict", CHART, *arguments(values))
        objects = rendered(*arguments(values))
        for each in objects:
            kubernetes.validate(each)
        yield f"{values.relative_to(HERE)}: {len(objects)} objects"


if __name__ == "__main__":
    if helm() is None:
        sys.exit("helm is missing, so the chart is not checked: make .venv/.tools")
    for line in main():
        sys.stdout.write(f"{line}\n")
