"""Builds the image with buildah, and runs it against the sandbox. `make image-check` does this: as root on Linux.

No registry and no container engine is needed. The base is a Debian with its Python, which debootstrap makes once (minutes);
`--base` names another image. crun runs the containers: with the image as their read-only root, the image's user, entrypoint and
environment, without capabilities and new privileges, and with the network of this machine.
"""

import argparse
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from itertools import count
from pathlib import Path
from typing import Any, Final

from tests.processes import PATIENCE, Finished, Started, children, eventually, finished, is_alive, started

ROOT: Final = Path(__file__).parents[2]
STORE: Final = ROOT / ".venv" / "image"
BUILDAH: Final = ("buildah", "--storage-driver", "vfs", "--root", f"{STORE}/storage", "--runroot", f"{STORE}/run")
OWN_BASE: Final = "localhost/jibe-base:bookworm"
IMAGE: Final = "localhost/jibe-sqs:tried"
DATA: Final = "/var/lib/jibe"
PACKAGES: Final = "ca-certificates,python3,python3-pip,python3-venv"
UID: Final = 10001

CRUN: Final = """
umount --recursive /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
exec crun --cgroup-manager=disabled run --bundle "$1" "$2"
"""
"""Starts a container. crun refuses machines with both versions of cgroups, so it sees the second version only."""
MOUNTS: Final = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
]
NUMBER: Final = count(1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the image with buildah and run it against the sandbox.")
    parser.add_argument("--base", help="the image to build on. By default a Debian that debootstrap makes")
    parser.add_argument("--extras", default="", help="extras of the image, separated by spaces")
    options = parser.parse_args()
    if missing := [each for each in ("buildah", "crun", "unshare") if shutil.which(each) is None]:
        sys.exit(f"not tried, because these programs are missing: {', '.join(missing)}")
    if os.getuid() != 0:
        sys.exit("not tried: mounts and users of containers need root")
    STORE.mkdir(parents=True, exist_ok=True)
    with timed("base"):
        base = options.base or own_base()
    with timed("build"):
        build(base, options.extras)
    container = buildah("from", "--pull-never", IMAGE).strip()
    try:
        config = json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]
        # Programs of the tests print all their output at their end.
        with timed("run"), redirect_stdout(io.StringIO()):
            run_all(Image(Path(buildah("mount", container).strip()), config))
    finally:
        buildah("rm", container)


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - began:.0f} s")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def buildah(*arguments: str) -> str:
    return subprocess.run([*BUILDAH, *arguments], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout


def own_base() -> str:
    """The name of the base from Debian, which is made if it is not there. Its Python is called `python`, as in other bases."""
    if buildah("images", "--noheading", "--filter", f"reference={OWN_BASE}").strip():
        return OWN_BASE
    folder = STORE / "debian"
    if not (folder / "usr" / "bin" / "python").is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (folder / "usr" / "bin" / "python").symlink_to("python3")
    container = buildah("from", "scratch").strip()
    buildah("copy", "--quiet", container, str(folder), "/")
    buildah("commit", "--quiet", "--rm", container, OWN_BASE)
    shutil.rmtree(folder)
    return OWN_BASE


def build(base: str, extras: str) -> None:
    """Build the image. The certificates and the pip configuration of this machine are mounted, so they are not in the image."""
    mounted = {Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pip.conf")}
    volumes = [f"--volume={path}:{path}:ro" for path in mounted if path.is_file() and path.stat().st_size]
    arguments = {"BASE": base, "EXTRAS": extras, "VERSION": "tried"}
    given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    # The format of OCI has no health check.
    form = ["--isolation=chroot", "--format=docker", "--pull-never", f"--tag={IMAGE}", "--file=infra/docker/Dockerfile"]
    log = STORE / "build.log"
    with log.open("w") as out:
        built = subprocess.run(
            [*BUILDAH, "bud", *form, *given, *volumes, "."], cwd=ROOT, stdout=out, stderr=out, check=False
        )
    if built.returncode:
        sys.exit(f"the build failed:\n{log.read_text()[-4000:]}")


class Image:
    """The image as a folder, with what it says about its containers."""

    def __init__(self, root: Path, config: Mapping[str, Any]) -> None:
        self.root = root
        self.config = config
        self.data = STORE / "data"
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o755)
        os.chown(self.data, UID, UID)

    def command(self, arguments: Sequence[str], variables: Mapping[str, str]) -> list[str]:
        """The command that runs `arguments` as the first process of a container."""
        if self.config["User"] != f"{UID}:{UID}":
            sys.exit(f"the image runs as {self.config['User']}")
        number = next(NUMBER)
        bundle = STORE / f"bundle-{number}"
        bundle.mkdir(exist_ok=True)
        data = {"destination": DATA, "type": "bind", "source": str(self.data), "options": ["bind", "rw"]}
        container = {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": UID, "gid": UID},
                "args": list(arguments),
                "env": [*self.config["Env"], *(f"{name}={value}" for name, value in variables.items())],
                "cwd": self.config["WorkingDir"],
                "capabilities": {},
                "noNewPrivileges": True,
            },
            "root": {"path": str(self.root), "readonly": True},
            "mounts": [*MOUNTS, data],
            "linux": {"namespaces": [{"type": name} for name in ("pid", "mount", "ipc", "uts")]},
        }
        (bundle / "config.json").write_text(json.dumps(container), encoding="utf-8")
        return ["unshare", "--mount", "sh", "-c", CRUN, "sh", str(bundle), f"jibe-{os.getpid()}-{number}"]

    def jibe(self, *arguments: str) -> list[str]:
        return [*self.config["Entrypoint"], *(arguments or self.config["Cmd"])]

    def finished(self, arguments: Sequence[str], **variables: str) -> Finished:
        done = finished(self.command(arguments, variables))
        return Finished(arguments, done.returncode, done.stdout, done.stderr)


def run_all(image: Image) -> None:
    size = sum(path.lstat().st_size for path in image.root.rglob("*") if path.is_file() and not path.is_symlink())
    say(f"size: {size / 1e6:.0f} MB with the base")
    expect(image.finished(image.jibe("--version")), ".")
    expect(image.finished(["python", "-c", "import os; print(os.getuid(), os.getpid())"]), f"{UID} 1")
    writes = "try: open('/opt/x', 'w')\nexcept OSError as error: print(error.strerror)"
    expect(image.finished(["python", "-c", writes]), "Read-only file system")
    expect(image.finished(["python", "-c", "import importlib.util as u; print(u.find_spec('pip'))"]), "None")
    files = [path for path in image.root.rglob("*") if path.is_file() and not path.is_symlink()]
    if privileged := [path for path in files if path.stat().st_mode & 0o6000]:
        sys.exit(f"these run with the rights of their owner: {privileged}")
    with started([sys.executable, "-m", "jibe_sqs", "sandbox", "--json"], STORE) as sandbox:
        run_service(image, json.loads(sandbox.line()))


def run_service(image: Image, sandbox: Mapping[str, Any]) -> None:
    """Run the service with its health check, and stop it."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = str(free.getsockname()[1])
    variables = {
        **{name: inside(image, value) for name, value in sandbox["environment"].items()},
        "JIBE_CONFIG": inside(image, sandbox["config"]),
        "JIBE_LEDGER__PATH": f"{DATA}/ledger.sqlite",
        "JIBE_LOG__FORMAT": "json",
        "JIBE_HTTP__PORT": port,
        "JIBE_WORKERS": "2",
    }
    shown = image.finished(image.jibe("config", "show"), **variables)
    expect(shown, f"{DATA}/ledger.sqlite")
    health = image.config["Healthcheck"]["Test"][1:]
    if image.finished(health, JIBE_HTTP__PORT=port).returncode != 1:
        sys.exit("the health check finds a service that is not there")
    files = set(image.root.rglob("*"))
    with started(image.command(image.jibe(), variables), STORE, env=os.environ) as service:
        for worker in (0, 1):
            service.wait_for("started", worker=worker)
        expect(image.finished(health, JIBE_HTTP__PORT=port), "")
        # The first process of the container: the image's entrypoint has become the program.
        (first,) = [each for each in children(service.process.pid) if number_inside(each) == 1]
        kill_a_worker(service, first)
        os.kill(first, signal.SIGTERM)
        code = service.ended(within=PATIENCE)
    if written := set(image.root.rglob("*")) ^ files:
        sys.exit(f"the service changed files of the image: {sorted(written)[:5]}")
    if code:
        sys.exit(f"the service ended with {code} after SIGTERM:\n{service.everything}")
    say("ran against the sandbox, healthy; replaced a killed worker, left no zombie; ended with 0 after SIGTERM")


def kill_a_worker(service: Started, first: int) -> None:
    """Kill it. The first process starts another one, and leaves no zombie."""
    (began,) = service.events("worker_began", worker=1)
    (worker,) = [each for each in children(first) if number_inside(each) == began["pid"]]
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: len(service.events("started", worker=1)) == 2, "the worker again")
    if dead := [each for each in children(first) if not is_alive(each)]:
        sys.exit(f"zombies: {dead}")


def number_inside(process: int) -> int | None:
    """The number of a process in its container. None: it is not in one."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    numbers = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
    return int(numbers[-1]) if len(numbers) > 1 else None


def inside(image: Image, value: str) -> str:
    """A variable as the container sees it: a file is copied into its folder for data."""
    source = Path(value)
    if not (source.is_absolute() and source.is_file()):
        return value
    copy = image.data / source.name
    shutil.copy(source, copy)
    os.chown(copy, UID, UID)
    return f"{DATA}/{source.name}"


def expect(done: Finished, text: str) -> None:
    if done.returncode or text not in done.stdout:
        sys.exit(f"{done.args[-6:]} ended with {done.returncode}, without {text!r}:\n{done.stdout}{done.stderr}")
    say(f"{' '.join(done.args[-3:])!r}: {done.stdout.strip()[:60]}".replace("\n", " "))


if __name__ == "__main__":
    main()
