"""Installs jibe-sqs and the packages of a lock into `.venv`: `python requirements/install.py sandbox`, or `dev`.

With uv: the one on the PATH, or one that pip gets. Without uv, or if uv fails, with pip. uv does not read pip's
configuration, so indexes, certificates and proxies that are configured for pip are passed to uv in its environment.
"""

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

VENV = Path(".venv")
PYTHON = VENV / "bin" / "python"
LOCKS = Path("requirements")
BOOTSTRAPPED_UV = VENV / "uv"
LOCK_NAMES = {"sandbox": ("sandbox",), "dev": ("sandbox", "dev")}
"""Lock -> the locks that are satisfied after its installation."""

UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
}
"""pip's option -> the variable by which uv takes the same."""
PIP_VARIABLES = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_USER": "0"}
"""pip installs into a given folder: a user's setting for other installations must not stop it."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Install jibe-sqs and the packages of a lock into .venv.")
    parser.add_argument("lock", choices=LOCK_NAMES)
    parser.add_argument("--uv", default="uv", help="the uv to use; empty: install with pip")
    options = parser.parse_args()
    lock = LOCKS / f"{options.lock}.lock"
    print(f"Installing jibe-sqs and {lock} into {VENV}, once:", flush=True)
    began = time.monotonic()
    try:
        create_venv()
        for name in LOCK_NAMES:
            stamp(name).unlink(missing_ok=True)
        if not (options.uv and installed_with_uv(options.uv, lock)):
            install_with_pip(lock)
    except KeyboardInterrupt:
        sys.exit("\ninterrupted: the next make starts again")
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed: {' '.join(map(str, error.cmd))}\n{error.stdout or ''}{error.stderr or ''}")
    for name in LOCK_NAMES[options.lock]:
        stamp(name).touch()
    print(f"Installed in {time.monotonic() - began:.0f} s", flush=True)


def stamp(name: str) -> Path:
    """The file by which make knows that a lock is installed."""
    return VENV / f".{name}"


def create_venv() -> None:
    """Create `.venv`, unless a complete one with this Python exists. Without pip: to create one with pip takes seconds.

    An installation that was interrupted has no stamp. It is removed: uv and pip take a package for installed whose files
    are only partly there.
    """
    is_complete = any(stamp(name).is_file() for name in LOCK_NAMES)
    if not (is_complete and has_this_python()):
        shutil.rmtree(VENV, ignore_errors=True)
        run([sys.executable, "-m", "venv", "--without-pip", VENV])


def has_this_python() -> bool:
    if not PYTHON.is_file():
        return False
    version: list[str | Path] = [PYTHON, "-c", "import sys; print(sys.version_info[:2])"]
    found = subprocess.run(version, capture_output=True, text=True, check=False)
    return found.stdout.strip() == str(sys.version_info[:2])


def installed_with_uv(name: str, lock: Path) -> bool:
    """Install with uv. False: uv cannot be had, or it failed."""
    try:
        uv = shutil.which(name) or bootstrapped_uv()
        environment = uv_environment(os.environ, pip_settings())
        target: list[str | Path] = ["--quiet", "--python", PYTHON]
        with step(f"{count(lock)} packages, with uv"):
            run([uv, "pip", "sync", *target, "--require-hashes", lock], environment)
        with step("jibe-sqs"):
            run([uv, "pip", "install", *target, "--no-deps", "--no-build-isolation", "--editable", "."], environment)
    except (subprocess.CalledProcessError, OSError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[:5]
        print("  uv does not work here, so pip installs the packages. The reason:", *reason, sep="\n  ", flush=True)
        return False
    return True


def bootstrapped_uv() -> Path:
    """Return uv at its locked version, installed by pip into a folder of its own."""
    lock = LOCKS / "uv.lock"
    program = BOOTSTRAPPED_UV / "bin" / "uv"
    version = re.search(r"^uv==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    if version and (BOOTSTRAPPED_UV / f"uv-{version[1]}.dist-info").is_dir() and program.is_file():
        return program
    shutil.rmtree(BOOTSTRAPPED_UV, ignore_errors=True)
    with step("uv, with pip"):
        run([*pip(), "install", "--quiet", "--require-hashes", "--target", BOOTSTRAPPED_UV, "-r", lock], PIP_VARIABLES)
    return program


def install_with_pip(lock: Path) -> None:
    """Install with pip. It takes minutes, so it shows how many packages it has."""
    with step("pip"):
        run([PYTHON, "-m", "ensurepip"])
    with step(f"{count(lock)} packages, with pip"):
        run_pip_install(["--progress-bar", "off", "--require-hashes", "-r", lock])
    with step("jibe-sqs"):
        here = ["--no-deps", "--no-build-isolation", "--editable", "."]
        run([PYTHON, "-m", "pip", "install", "--quiet", *here], PIP_VARIABLES)


def run_pip_install(arguments: Sequence[str | Path]) -> None:
    command = [PYTHON, "-m", "pip", "install", *arguments]
    environment = {**os.environ, **PIP_VARIABLES}
    lines, collected = [], 0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            if line.startswith(("Collecting ", "Processing ")):
                collected += 1
                if collected % 10 == 0:
                    print(f" {collected}", end="", flush=True)
            elif line.startswith("Installing collected packages"):
                print(" all, unpacking", end="", flush=True)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, "".join(lines))


def pip() -> Sequence[str | Path]:
    """The user's pip; else one in `.venv`."""
    command = [sys.executable, "-m", "pip"]
    if subprocess.run([*command, "--version"], capture_output=True, check=False).returncode:
        run([PYTHON, "-m", "ensurepip"])
        return [PYTHON, "-m", "pip"]
    return command


def pip_settings() -> dict[str, str]:
    """The settings of pip for `pip install`: its files' and its environment variables', which have precedence."""
    output = run([*pip(), "config", "list"], PIP_VARIABLES)
    found = re.findall(r"^(global|install|:env:)\.([\w-]+)=(.+)$", output, re.MULTILINE)
    order = ("global", "install", ":env:")
    return {name: str(ast.literal_eval(value)) for section in order for where, name, value in found if where == section}


def uv_environment(environment: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """Variables that make uv use what pip is configured for, unless they are set for uv already."""
    settings = {"cert": environment.get("REQUESTS_CA_BUNDLE", ""), **settings}
    found = {variable: settings[option] for option, variable in UV_VARIABLES.items() if settings.get(option)}
    if "UV_FIND_LINKS" in found:
        found["UV_FIND_LINKS"] = ",".join(found["UV_FIND_LINKS"].split())
    if "UV_INDEX" in found:
        found["UV_INDEX"] = " ".join(found["UV_INDEX"].split())
        # As pip does: a package may be in any of the indexes. The hashes say which file it is.
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    found["UV_PYTHON_DOWNLOADS"] = "never"
    return {name: value for name, value in found.items() if name not in environment}


def count(lock: Path) -> int:
    return len(set(re.findall(r"^[\w.-]+(?===)", lock.read_text(encoding="utf-8"), re.MULTILINE)))


@contextmanager
def step(what: str) -> Iterator[None]:
    """Show what is being done, and the seconds that it took."""
    began = time.monotonic()
    print(f"  {what} ...", end="", flush=True)
    try:
        yield
    except BaseException:
        print(" failed", flush=True)
        raise
    print(f" {time.monotonic() - began:.1f} s", flush=True)


def run(command: Sequence[str | Path], variables: Mapping[str, str] | None = None) -> str:
    """Run it to its end, and return its output."""
    environment = {**os.environ, **(variables or {})}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


if __name__ == "__main__":
    main()
