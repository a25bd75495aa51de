"""Builds every overlay with kustomize and validates each object. From the root of the repository: `python -m infra.kubernetes.check`.

Kubernetes's own objects have the schemas of kubernetes-validate. The schemas here, for objects of KEDA and of the Prometheus
operator, know the fields that the overlays use, and refuse all others.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema
import kubernetes_validate
import yaml

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
FOLDERS: Final = [HERE / "base", *sorted(path.parent for path in HERE.glob("overlays/*/kustomization.yaml"))]
VERSION: Final = "1.35"
TIMEOUT: Final = 60
"""Seconds for one build."""


class Invalid(Exception):
    """An object that a cluster would refuse."""


def kubectl() -> str | None:
    """The program of `make .venv/.tools`, or the one on the PATH."""
    ours = ROOT / ".venv" / "tools" / "kubectl" / "kubectl"
    return str(ours) if ours.exists() else shutil.which("kubectl")


def built(folder: Path) -> list[dict[str, Any]]:
    """The objects of a kustomization. Raises `CalledProcessError` if it cannot be built."""
    program = kubectl()
    if program is None:
        raise FileNotFoundError("kubectl is missing: make .venv/.tools")
    done = subprocess.run(  # noqa: S603 - our own folders
        [program, "kustomize", str(folder)], check=True, capture_output=True, text=True, timeout=TIMEOUT
    )
    return [each for each in yaml.load_all(done.stdout, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if each]


def validate(found: dict[str, Any]) -> None:
    """Raises `Invalid` with the path of the mistake."""
    _validate(json.dumps(found))


@cache
def _validate(text: str) -> None:
    """Most objects are the same in all overlays, and a validation takes a fifth of a second."""
    found = json.loads(text)
    schema = _schemas().get(found["kind"])
    try:
        if schema is None:
            kubernetes_validate.validate(found, VERSION, strict=True)
        else:
            jsonschema.Draft202012Validator(schema).validate(found)
    except (kubernetes_validate.ValidationError, jsonschema.ValidationError) as error:
        where = "/".join(map(str, error.path))
        raise Invalid(f"{found['kind']} {found['metadata']['name']}: {where}: {error.message}") from error


@cache
def _schemas() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HERE / "schemas.yaml").read_text(encoding="utf-8"))
    return found


def main() -> Iterator[str]:
    """Check all folders; what is checked, one line for each."""
    for folder in FOLDERS:
        objects = built(folder)
        for each in objects:
            validate(each)
        yield f"{folder.relative_to(HERE)}: {len(objects)} objects"


if __name__ == "__main__":
    if kubectl() is None:
        sys.exit("kubectl is missing, so no overlay is checked: make .venv/.tools")
    for line in main():
        sys.stdout.write(f"{line}\n")
