"""A small disk for the ledgers, which can be filled."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

SIZE: Final = "24m"
_PIECE: Final = bytes(64 * 1024)


class Disk:
    """A folder. `can_be_full`: it has a file system of its own, which can be filled."""

    def __init__(self, folder: Path, *, can_be_full: bool) -> None:
        self.folder = folder
        self.can_be_full = can_be_full

    @property
    def is_full(self) -> bool:
        return self._ballast.exists()

    def fill(self) -> None:
        """Fill the disk to the last byte."""
        with suppress(OSError), self._ballast.open("wb", buffering=0) as ballast:
            while ballast.write(_PIECE):
                pass
        with suppress(OSError), self._ballast.open("ab", buffering=0) as ballast:
            while ballast.write(b"\0"):
                pass

    def empty(self) -> None:
        """Delete the filling."""
        self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """Mount a small tmpfs at the folder. If that is not permitted, the folder is an ordinary one and
    cannot be filled.
    """
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "chaos", str(folder)]
    try:
        can_be_full = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        can_be_full = False
    try:
        yield Disk(folder, can_be_full=can_be_full)
    finally:
        if can_be_full:
            subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)
