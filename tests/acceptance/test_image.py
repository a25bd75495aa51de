"""The image: what its Dockerfile says, and the same done in a clean folder: build, installation, and the program from there."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from tests.processes import finished, started

from release import locks

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "infra" / "docker" / "Dockerfile"
HEALTHCHECK = ROOT / "infra" / "docker" / "healthcheck.py"
REQUIREMENTS = ROOT / "requirements"
EXTRAS = ("tracing", "inventory")
UID = 10001
LEDGER_FOLDER = "/var/lib/jibe"
NO_NETWORK = re.compile("NewConnectionError|ConnectTimeoutError|Temporary failure in name resolution|ProxyError")


def instructions(stage: int) -> list[tuple[str, str]]:
    """The instructions of one stage of the Dockerfile, with joined continuation lines and without comments. Stage 0 is what is
    before the first stage.
    """
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    stages: list[list[tuple[str, str]]] = [[]]
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, rest.strip()))
    return stages[stage]


def only(word: str, stage: int = -1) -> str:
    """The argument of an instruction that occurs once in a stage."""
    (argument,) = [rest for name, rest in instructions(stage) if name == word]
    return argument


def variables(stage: int) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", only("ENV", stage)))


# What it says


def test_both_stages_have_the_base_that_a_digest_names():
    assert re.fullmatch(r"BASE=python:3\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", only("ARG", 0))
    assert [only("FROM", 1), only("FROM", 2)] == ["${BASE} AS builder", "${BASE}"]


def test_the_image_runs_as_the_user_that_the_ledger_folder_belongs_to():
    assert only("USER") == f"{UID}:{UID}"
    assert json.loads(only("VOLUME")) == [LEDGER_FOLDER]
    assert any(f"--owner={UID}" in rest and LEDGER_FOLDER in rest for word, rest in instructions(-1) if word == "RUN")


def test_python_itself_gets_the_signal():
    """The shell form would make a shell process 1, and a shell does not forward SIGTERM."""
    # env replaces itself by Python.
    assert json.loads(only("ENTRYPOINT")) == ["env", "--block-signal=TERM,INT", "python", "-m", "jibe_sqs"]
    assert json.loads(only("CMD")) == ["run"]
    assert only("STOPSIGNAL") == "SIGTERM"


def test_the_image_installs_only_what_a_lock_pins():
    """Without wheels that others built from sources, and from no index but for what has hashes."""
    assert variables(1)["PIP_ONLY_BINARY"] == ":all:"
    runs = " ".join(rest for word, rest in instructions(1) if word == "RUN")
    installs = re.findall(r"pip (?:--python \S+ )?(?:install|wheel) ([^&|]*)", runs)
    assert len(installs) == 4
    for install in installs:
        assert "--require-hashes" in install or ("--no-index" in install and "--no-deps" in install)


def test_everything_that_the_image_copies_is_sent_to_the_builder_and_nothing_else():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = [rest.split()[:-1] for stage in (1, 2) for word, rest in instructions(stage) if word == "COPY"]
    copied = {source for sources in copies for source in sources if not sources[0].startswith("--from")}
    assert copied == kept
    assert all((ROOT / source).exists() for source in copied)


def test_the_user_of_the_image_can_read_what_is_copied_into_it():
    """A copy keeps the file's mode in the checkout, which may be readable by its owner alone."""
    copied = [rest.split()[-1] for word, rest in instructions(-1) if word == "COPY" and not rest.startswith("--from")]
    commands = [command.split() for word, rest in instructions(-1) if word == "RUN" for command in rest.split(" && ")]
    assert [["chmod", "0644", path] for path in copied] == [each for each in commands if each[0] == "chmod"]


def test_the_labels_name_the_licence_and_what_the_build_gives():
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', only("LABEL")))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    given = {name: "${%s}" % name.upper() for name in ("version", "revision", "created", "source")}  # noqa: UP031
    assert labels == {"title": project["name"], "licenses": project["license"], **given}
    assert set(re.findall(r"(\w+)=", only("ARG"))) == {name.upper() for name in given}


@pytest.mark.parametrize("name", ["build", *EXTRAS])
def test_the_image_has_the_versions_that_the_tests_use(name):
    assert pinned(name) <= pinned("dev")
    if name in EXTRAS:
        assert pinned("runtime") < pinned(name)


def pinned(lock: str) -> set[tuple[str, str]]:
    return {(pin.name, pin.version) for pin in locks.pins((REQUIREMENTS / f"{lock}.lock").read_text())}


# The health check


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[int]]]:
    """A server for /livez. Yields its port, and its status codes, one for each request; the last one stays."""
    address = getattr(request, "param", "127.0.0.1")
    statuses = [200]

    class Server(HTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(
                (statuses.pop(0) if len(statuses) > 1 else statuses[0]) if self.path == "/livez" else 404
            )
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with Server((address, 0), Answers) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield str(server.server_port), statuses
        server.shutdown()
        thread.join()


def healthy(**variables: str) -> bool:
    command = json.loads(only("HEALTHCHECK").partition(" CMD ")[2])
    assert command == ["python", "-I", "/opt/healthcheck.py"]
    done = finished([sys.executable, "-I", str(HEALTHCHECK)], env={**os.environ, **variables})
    assert done.stderr == ""
    return done.returncode == 0


@pytest.mark.parametrize("host", ["", "*", "0.0.0.0", "127.0.0.1"])
def test_a_service_that_answers_livez_is_healthy(service, host):
    port, _ = service
    assert healthy(JIBE_HTTP__PORT=port, JIBE_HTTP__HOST=host)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("service", ["::1"], indirect=True)
def test_a_service_on_ipv6_alone_is_healthy(service):
    port, _ = service
    assert healthy(JIBE_HTTP__PORT=port, JIBE_HTTP__HOST="::")
    assert not healthy(JIBE_HTTP__PORT=port, JIBE_HTTP__HOST="0.0.0.0")


def test_a_service_that_answers_an_error_or_nothing_is_not_healthy(service):
    port, statuses = service
    statuses[:] = [503]
    assert not healthy(JIBE_HTTP__PORT=port)
    assert not healthy(JIBE_HTTP__PORT="1")


@pytest.mark.parametrize("port", ["", "0"])
def test_a_service_without_a_known_port_is_not_asked(port):
    """The engine sees by itself whether the process has ended."""
    assert healthy(JIBE_HTTP__PORT=port)


# The same in a clean folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the instructions of the builder were executed, each as in the image. `/opt` is a folder in it."""
    prefix = tmp_path_factory.mktemp("image")
    folder = prefix / "build"
    (prefix / "bin").mkdir()
    (prefix / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    keep_downloads = {name: value for name, value in variables(1).items() if name != "PIP_NO_CACHE_DIR"}
    environment = {**os.environ, **keep_downloads, "PATH": f"{prefix}/bin:{os.environ['PATH']}", "PIP_RETRIES": "1"}
    for word, rest in instructions(1):
        if word == "WORKDIR":
            assert rest == "/build"
            folder.mkdir()
        elif word == "COPY":
            *sources, target = rest.split()
            copy(
                [ROOT / source for source in sources], folder / target, is_folder=len(sources) > 1 or target[-1] == "/"
            )
        elif word == "RUN":
            script = re.sub(r"(?<![\w.])/opt/", f"{prefix}/opt/", rest)
            done = finished(["sh", "-c", script], cwd=folder, env=environment)
            if done.returncode and NO_NETWORK.search(done.stdout + done.stderr):
                pytest.skip("pip reaches no index of packages")
            assert done.returncode == 0, done.stdout + done.stderr
    return prefix


def copy(sources: list[Path], target: Path, *, is_folder: bool) -> None:
    """COPY of a Dockerfile: a folder's content goes into the target."""
    for source in sources:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (target if is_folder else target.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


@pytest.fixture(scope="module")
def program(built: Path) -> list[str]:
    """The entrypoint of the image, with the Python of the clean folder."""
    entrypoint: list[str] = json.loads(only("ENTRYPOINT"))
    at = entrypoint.index("python")
    # Some systems' env cannot block signals; the image's can.
    is_able = not subprocess.run([*entrypoint[:at], "true"], capture_output=True, check=False).returncode
    return [
        *(entrypoint[:at] if is_able else []),
        str(built / "opt" / "jibe" / "bin" / "python"),
        *entrypoint[at + 1 :],
    ]


def environment(**more: str) -> dict[str, str]:
    """What the image sets, and a sandbox; nothing of this process but where temporary files go."""
    return {**{name: value for name, value in variables(-1).items() if name.startswith("PYTHON")}, **more}


def test_the_program_of_the_image_runs_with_the_locked_packages_alone(built, program, tmp_path):
    listed = (
        "import importlib.metadata as m; print(*sorted({d.name.lower().replace('_', '-') for d in m.distributions()}))"
    )
    packages = finished(
        [str(built / "opt/jibe/bin/python"), "-c", listed], cwd=tmp_path, env=environment()
    ).stdout.split()
    pins = locks.pins((REQUIREMENTS / "runtime.lock").read_text())
    assert [name.replace(".", "-") for name in packages] == sorted(
        [*{pin.name for pin in pins if pin.applies}, "jibe-sqs"]
    )
    version = finished([*program, "--version"], cwd=tmp_path, env=environment())
    assert version.returncode == 0, version.stderr
    assert re.fullmatch(r"(jibe-sqs )?\d+\.\d+\.\d+\S*\n", version.stdout)


def test_each_module_of_the_image_has_its_bytecode_whatever_its_time(built):
    """The root file system may be read-only, and a builder may change times."""
    flags = 1  # hash-based, and not compared with the source
    for source in (built / "opt" / "jibe" / "lib").rglob("jibe_sqs/**/*.py"):
        (compiled,) = (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")
        assert int.from_bytes(compiled.read_bytes()[4:8], "little") == flags


def test_the_program_of_the_image_checks_and_serves_the_sandbox_and_stops_with_0(program, small_service, tmp_path):
    config = str(small_service.config)
    given = {name: small_service.environment[name] for name in small_service.environment if name not in os.environ}
    given |= {name: value for name, value in small_service.environment.items() if name.startswith(("AWS_", "HTTPS_"))}
    shown = finished([*program, "config", "show", "--config", config], cwd=tmp_path, env=environment(**given))
    assert shown.returncode == 0, shown.stderr
    checked = finished([*program, "check", "--json", "--config", config], cwd=tmp_path, env=environment(**given))
    assert checked.returncode in (0, 1), checked.stderr
    assert json.loads(checked.stdout)
    with started(
        [*program, *json.loads(only("CMD")), "--config", config], tmp_path, env=environment(**given)
    ) as service:
        small_service.announce_change()
        service.wait_for("message_done")
        assert service.stop() == 0


# What it contains


def test_the_bill_of_materials_lists_exactly_what_the_lock_pins(tmp_path):
    file = tmp_path / "sbom.json"
    make = ["make", "--no-print-directory", "--assume-old=.venv/.dev", "sbom", f"SBOM={file}"]
    made = finished(make, cwd=ROOT)
    assert made.returncode == 0, made.stderr
    bill = json.loads(file.read_text())
    pins = locks.pins((REQUIREMENTS / "runtime.lock").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert sorted((each["name"].lower(), each["version"]) for each in bill["components"]) == sorted(
        (pin.name, pin.version) for pin in pins
    )
    assert all(each["purl"].startswith("pkg:pypi/") for each in bill["components"])
    assert bill["metadata"]["component"]["name"] == "jibe-sqs"
