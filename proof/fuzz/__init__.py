"""Fuzzing: any message and any log file gives a result or one of our errors.

`python -m proof.fuzz [TARGET …] --seconds N`. The fuzzer is atheris (libFuzzer). It keeps each input that reached new code,
and makes the next inputs from these.
"""
