"""One target in atheris. Started by `python -m proof.fuzz`; libFuzzer ends the process itself."""

import sys

import atheris

with atheris.instrument_imports(include=["jibe_sqs.core"]):
    from proof.fuzz.targets import TARGETS


def main() -> None:
    """The target's name, then libFuzzer's arguments."""
    name, *rest = sys.argv[1:]
    atheris.enabled_hooks.add("RegEx")
    atheris.enabled_hooks.add("str")
    atheris.Setup([sys.argv[0], *rest], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
