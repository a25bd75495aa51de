"""Fuzz the targets that are named, or all of them, one after the other. Exit code 1 if one breaks a promise."""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
CORPUS: Final = HERE / "corpus"
CRASHES: Final = HERE / "crashes"
NAMES: Final = ("announcements", "cloudtrail", "audit-log", "access-log", "decompressed", "recompressed", "digests")

NOISE: Final = ("#", "INFO:", "[INFO]", "WARNING: Failed to find", "\tNEW_FUNC", "stat::", "Dictionary:")

LARGEST_INPUT: Final = 8192
"""Bytes; several records."""
NO_ATHERIS: Final = """\
fuzzing needs atheris, which has wheels for Linux on x86-64 with Python 3.11 to 3.13 only. On another machine:
    docker run --rm -it --platform linux/amd64 -v "$PWD":/work -w /work python:3.12 make fuzz"""


def main() -> None:
    """Fuzz, or try one input again."""
    arguments = argparse.ArgumentParser(prog="python -m proof.fuzz", description=__doc__)
    arguments.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}")
    arguments.add_argument("--seconds", type=int, default=60, help="for each target")
    arguments.add_argument("--input", type=Path, help="no fuzzing: give the target this file")
    given = arguments.parse_args()
    if unknown := [name for name in given.targets if name not in NAMES]:
        arguments.error(f"no target {unknown[0]!r}; there are {', '.join(NAMES)}")
    if given.input:
        if len(given.targets) != 1:
            arguments.error("--input needs one TARGET")
        from proof.fuzz.targets import TARGETS

        TARGETS[given.targets[0]](given.input.read_bytes())
        print("clean")
        return
    if importlib.util.find_spec("atheris") is None:
        sys.exit(NO_ATHERIS)
    clean = [_fuzz(name, given.seconds) for name in given.targets or NAMES]
    sys.exit(0 if all(clean) else 1)


def _fuzz(name: str, seconds: int) -> bool:
    from proof.fuzz.seeds import SEEDS, WORDS

    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    CRASHES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        seeds, words = Path(folder) / "seeds", Path(folder) / "words"
        seeds.mkdir()
        for number, seed in enumerate(SEEDS[name]() if name in SEEDS else ()):
            (seeds / str(number)).write_bytes(seed)
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS.get(name, ())))
        command: list[str | Path] = [
            *(sys.executable, "-m", "proof.fuzz.engine", name, corpus, seeds),
            f"-max_total_time={seconds}",
            f"-max_len={LARGEST_INPUT}",
            f"-dict={words}",
            f"-artifact_prefix={CRASHES / name}-",
            "-timeout=20",
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
        ]
        ran = subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            cwd=HERE.parents[1],
            text=True,
            errors="replace",
            capture_output=True,
            check=False,
        )
    said = ran.stdout + ran.stderr
    found = re.search(r"stat::number_of_executed_units:\s*(\d+)", said) or re.search(r"Done (\d+) runs", said)
    count = int(found[1]) if found else 0
    saved = re.search(r"Test unit written to (\S+)", said)
    ended_well = ran.returncode == 0 and count > 0
    print(f"{name:14} {count:10,} executions   {'clean' if ended_well else 'CRASH'}", flush=True)
    if not ended_well:
        print(_what_happened(said))
        if saved:
            print(
                f"    again: python -m proof.fuzz {name} --input {Path(saved[1]).relative_to(HERE.parents[1])}",
                flush=True,
            )
    return ended_well


def _what_happened(said: str) -> str:
    lines = [line for line in said.splitlines() if not line.startswith(NOISE)]
    start = next((at for at, line in enumerate(lines) if "exception" in line or "ERROR" in line), -30)
    return "\n".join(f"    {line[:400]}" for line in lines[start:][:30])


def _escaped(word: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main()
