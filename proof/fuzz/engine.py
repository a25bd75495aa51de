"""Run one target in atheris. `python -m proof.fuzz` starts this process; libFuzzer ends it."""

import sys

import atheris

with atheris.instrument_imports(include=["jibe_sqs.core"]):
    from proof.fuzz.targets import TARGETS


def main() -> None:
    """Arguments: the name of the target, then the arguments of libFuzzer."""
    name, *arguments = sys.argv[1:]
    atheris.enabled_hooks.add("RegEx")
    atheris.enabled_hooks.add("str")
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
