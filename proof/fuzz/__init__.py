"""Fuzzing: whatever stands in a message or a log file, the answer is a result or one of our errors.

`python -m proof.fuzz [TARGET …] --seconds N`. The fuzzer is atheris (libFuzzer): it keeps what reached new code, and goes on
from there.
"""
