"""The licences of what is installed with the program: all packages of requirements/runtime.lock."""

import re
from collections.abc import Callable
from email.message import Message
from importlib import metadata
from typing import Final

from .locks import Pin

ALLOWED: Final = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0", "Python-2.0",
    "Unlicense", "Zlib",
}  # fmt: skip
"""SPDX identifiers. Each permits to use and to distribute the package unchanged beside programs of any licence."""
OLD_NAMES: Final = {
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "BSD": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""What packages write that do not have `License-Expression` yet."""


def expression(package: Message) -> str:
    """The licence in a package's metadata, as an SPDX expression where that is known."""
    if found := package.get("License-Expression"):
        return str(found)
    short = str(package.get("License") or "").strip()
    if OLD_NAMES.get(short, short) in ALLOWED:
        return OLD_NAMES.get(short, short)
    classifiers = [
        each.rpartition(" :: ")[2] for each in package.get_all("Classifier", []) if each.startswith("License ::")
    ]
    return " AND ".join(OLD_NAMES.get(each, each) for each in classifiers) or short.partition("\n")[0] or "unknown"


def is_allowed(licence: str) -> bool:
    """Whether the expression can be fulfilled with allowed licences: all of the parts with AND, one of those with OR."""
    flat = re.sub(r"[()]", "", licence)
    return all(any(term.strip() in ALLOWED for term in part.split(" OR ")) for part in flat.split(" AND "))


def problems(pins: list[Pin], installed: Callable[[str], Message] = metadata.metadata) -> list[str]:  # type: ignore[assignment]
    wrong = []
    for pin in pins:
        try:
            licence = expression(installed(pin.name))
        except metadata.PackageNotFoundError:
            wrong.append(f"{pin.name} is not installed, so its licence is unknown")
            continue
        if not is_allowed(licence):
            wrong.append(f"{pin.name}: {licence}")
    return wrong
