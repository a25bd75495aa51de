"""Fuzz the named targets, or all targets, one after the other. The exit code is 1 if one of them breaks a promise."""

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

IGNORED_LINES: Final = ("#", "INFO:", "[INFO]", "WARNING: Failed to find", "\tNEW_FUNC", "stat::", "Dictionary:")

MAX_INPUT: Final = 8192
"""Bytes: enough for several records."""
NO_ATHERIS: Final = """\
fuzzing needs atheris, which has wheels for Linux on x86-64 with Python 3.11 to 3.13 only. On another machine:
    docker run --rm -it --platform linux/amd64 -v "$PWD":/work -w /work python:3.12 make fuzz"""


def main() -> None:
    """Fuzz, or run one input again."""
    arguments = argparse.ArgumentParser(prog="python -m proof.fuzz", description=__doc__)
    arguments.add_argument("targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(NAMES)}")
    arguments.add_argument("--seconds", type=int, default=60, help="seconds for each target (default: 60)")
    arguments.add_argument("--input", type=Path, help="do not fuzz: run the target with this file")
    options = arguments.parse_args()
    if unknown := [name for name in options.targets if name not in NAMES]:
        arguments.error(f"there is no target {unknown[0]!r}; the targets are {', '.join(NAMES)}")
    if options.input:
        if len(options.targets) != 1:
            arguments.error("--input needs exactly one TARGET")
        from proof.fuzz.targets import TARGETS

        TARGETS[options.targets[0]](options.input.read_bytes())
        print("clean")
        return
    if importlib.util.find_spec("atheris") is None:
        sys.exit(NO_ATHERIS)
    clean = [_fuzz(name, options.seconds) for name in options.targets or NAMES]
    sys.exit(0 if all(clean) else 1)


def _fuzz(name: str, seconds: int) -> bool:
    from proof.fuzz.seeds import SEEDS
    from proof.fuzz.words import WORDS

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
            f"-max_len={MAX_INPUT}",
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
    output = ran.stdout + ran.stderr
    found = re.search(r"stat::number_of_executed_units:\s*(\d+)", output) or re.search(r"Done (\d+) runs", output)
    count = int(found[1]) if found else 0
    saved = re.search(r"Test unit written to (\S+)", output)
    ended_well = ran.returncode == 0 and count > 0
    print(f"{name:14} {count:10,} executions   {'clean' if ended_well else 'CRASH'}", flush=True)
    if not ended_well:
        print(_summary(output))
        if saved:
            print(
                f"    to run it again: python -m proof.fuzz {name} --input {Path(saved[1]).relative_to(HERE.parents[1])}",
                flush=True,
            )
    return ended_well


def _summary(output: str) -> str:
    lines = [line for line in output.splitlines() if not line.startswith(IGNORED_LINES)]
    start = next((at for at, line in enumerate(lines) if "exception" in line or "ERROR" in line), -30)
    return "\n".join(f"    {line[:400]}" for line in lines[start:][:30])


def _escaped(word: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main()
