"""An environment without settings, and files to load settings from."""

import json

import pytest


@pytest.fixture(autouse=True)
def clean_environment(empty_folder):
    """Every test of the settings starts without settings."""


@pytest.fixture
def write(tmp_path):
    def write(content, name="config.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def secret_files(tmp_path, monkeypatch):
    """Writes secret files into the folder that JIBE_SECRETS_DIR names."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("JIBE_SECRETS_DIR", str(folder))

    def write(**values):
        for name, value in values.items():
            (folder / name).write_text(value)
        return folder

    return write


@pytest.fixture
def examples_secrets(monkeypatch):
    """The credentials that an example may take from the environment."""
    monkeypatch.setenv("JIBE_ACCESS_ANYWHERE__LOGIN", "ana")
    monkeypatch.setenv("JIBE_ACCESS_ANYWHERE__PASSWORD", "PASSWORD-CANARY")
