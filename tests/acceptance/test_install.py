"""requirements/install.py: the virtual environment, and what uv gets of pip's configuration."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", ROOT / "requirements" / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pips_files_and_variables_are_read_and_variables_have_precedence(install, tmp_path, monkeypatch):
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://index.example/simple\ncert = /ca.pem\nextra-index-url =\n  https://a.example\n"
        "  https://b.example\n[install]\ntrusted-host = index.example\n[list]\nproxy = http://other.example\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_CERT", "/mine.pem")

    settings = install.pip_settings()

    assert settings["index-url"] == "https://index.example/simple"
    assert settings["extra-index-url"].split() == ["https://a.example", "https://b.example"]
    assert settings["trusted-host"] == "index.example"
    assert settings["cert"] == "/mine.pem"
    assert "proxy" not in settings


def test_uv_gets_what_pip_is_configured_for(install):
    settings = {
        "index-url": "https://index.example/simple",
        "extra-index-url": "\nhttps://a.example\nhttps://b.example",
        "find-links": "/wheels /more",
        "cert": "/ca.pem",
    }
    assert install.uv_environment({}, settings) == {
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "UV_INDEX": "https://a.example https://b.example",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/wheels,/more",
        "SSL_CERT_FILE": "/ca.pem",
        "UV_PYTHON_DOWNLOADS": "never",
    }


def test_what_is_configured_for_uv_stays(install):
    mine = {"UV_DEFAULT_INDEX": "https://mine.example/simple", "SSL_CERT_FILE": "/mine.pem"}
    settings = {"index-url": "https://index.example/simple", "cert": "/ca.pem"}
    assert install.uv_environment(mine, settings) == {"UV_PYTHON_DOWNLOADS": "never"}


def test_the_authorities_of_requests_are_used_if_pip_has_no_others(install):
    environment = {"REQUESTS_CA_BUNDLE": "/ca.pem"}
    assert install.uv_environment(environment, {})["SSL_CERT_FILE"] == "/ca.pem"
    assert install.uv_environment(environment, {"cert": "/pip.pem"})["SSL_CERT_FILE"] == "/pip.pem"


def test_packages_are_counted_once_each(install, tmp_path):
    lock = tmp_path / "lock"
    lock.write_text(
        "a.b==1 \\\n    --hash=sha256:00\n    # via c==2\n"
        "c==1 ; python_version < '3.12' \\\n    --hash=sha256:00\nc==2 \\\n    --hash=sha256:00\n"
    )
    assert install.count(lock) == 2


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_virtual_environment_whose_installation_was_interrupted_is_created_again(
    install, tmp_path, monkeypatch, is_complete
):
    """An interrupted uv leaves packages of which files are missing, and takes them for installed later."""
    monkeypatch.chdir(tmp_path)
    install.create_venv()
    half_installed = install.VENV / "half-installed"
    half_installed.touch()
    if is_complete:
        install.stamp("sandbox").touch()
    install.create_venv()
    assert half_installed.exists() == is_complete
    assert install.has_this_python()
