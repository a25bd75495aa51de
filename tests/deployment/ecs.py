"""ECS, played by a test: it starts the tasks that the services in moto's ECS want, and stops the others.

A task is `python -m jibe_sqs` with the environment of the registered task definition, its secrets, and credentials of the
task role, which it gets over HTTP as in a container.
"""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.processes import Started, eventually, finished, started

from jibe_sqs.sandbox.environment import neutral

VOLUME = "/var/lib/jibe"
PORT = "8080"
Client = Callable[[str, str], Any]


class Task:
    """A running task."""

    def __init__(self, definition: dict[str, Any], process: Started, environment: Mapping[str, str], port: str) -> None:
        self.arn = definition["taskDefinitionArn"]
        self.process = process
        self.environment = environment
        (container,) = definition["containerDefinitions"]
        self._check = [each.replace(PORT, port) for each in container["healthCheck"]["command"]]

    def is_healthy(self) -> bool:
        """Run the health check of the task definition, inside the container."""
        kind, *command = self._check
        assert kind in ("CMD", "CMD-SHELL")
        command = ["sh", "-c", *command] if kind == "CMD-SHELL" else command
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return finished(command, env={**self.environment, "PATH": path}).returncode == 0


class Ecs:
    """`network`: the variables by which a process reaches AWS here. `client(service, region)`: a client of AWS."""

    def __init__(self, folder: Path, network: Mapping[str, str], client: Client, region: str) -> None:
        self.tasks: dict[str, Task] = {}
        """Service -> its task."""
        self.started: list[Task] = []
        """All tasks, also those that have ended."""
        self.roles: dict[str, dict[str, Any]] = {}
        """The access keys that tasks got, and the policy of their role."""
        self._folder, self._network, self._client, self._region = folder, network, client, region
        self._stacks: dict[str, ExitStack] = {}

    def settle(self) -> None:
        """Start and stop tasks until each service has what it wants, and each task is healthy."""
        wanted = self._wanted()
        for service in [name for name in self.tasks if wanted.get(name) != self.tasks[name].arn]:
            assert self.tasks.pop(service).process.stop() == 0
            self._stacks.pop(service).close()
        for service, arn in wanted.items():
            if service not in self.tasks:
                self._start(service, arn)

    def close(self) -> None:
        for stack in self._stacks.values():
            stack.close()

    def _wanted(self) -> dict[str, str]:
        ecs, found = self._client("ecs", self._region), {}
        for cluster in ecs.list_clusters()["clusterArns"]:
            arns = ecs.list_services(cluster=cluster)["serviceArns"]
            for service in ecs.describe_services(cluster=cluster, services=arns)["services"] if arns else ():
                if service["status"] == "ACTIVE" and service["desiredCount"]:
                    found[service["serviceArn"]] = service["taskDefinition"]
        return found

    def _start(self, service: str, arn: str) -> None:
        definition = self._client("ecs", self._region).describe_task_definition(taskDefinition=arn)["taskDefinition"]
        (container,) = definition["containerDefinitions"]
        stack = self._stacks[service] = ExitStack()
        folder = self._folder / f"task-{len(self.started)}"
        (folder / "volume").mkdir(parents=True)
        port = str(_free_port())
        given = {each["name"]: each["value"] for each in container.get("environment", [])}
        given |= {each["name"]: self._secret(each["valueFrom"]) for each in container.get("secrets", [])}
        given = {name: value.replace(VOLUME, str(folder / "volume")) for name, value in given.items()}
        if given.get("JIBE_HTTP__PORT") == PORT:
            given["JIBE_HTTP__PORT"] = port
        environment = {
            **{name: value for name, value in neutral().items() if not name.startswith("JIBE_")},
            **self._network,
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": stack.enter_context(_Credentials(self._assumed(definition))),
            **given,
        }
        command = [sys.executable, "-m", "jibe_sqs", *(container.get("command") or ["run"])]
        process = stack.enter_context(started(command, folder, cwd=folder / "volume", env=environment))
        task = self.tasks[service] = Task(definition, process, environment, port)
        self.started.append(task)
        eventually(lambda: process.process.poll() is not None or task.is_healthy(), "a healthy task")
        assert process.process.poll() is None, process.everything
        process.wait_for("started")
        self._log(container["logConfiguration"]["options"], task)

    def _assumed(self, definition: dict[str, Any]) -> dict[str, str]:
        """Credentials of the task role, which must trust ECS."""
        role = definition["taskRoleArn"]
        iam, name = self._client("iam", "us-east-1"), role.rpartition("/")[2]
        trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        assert trust["Statement"][0]["Principal"]["Service"] == "ecs-tasks.amazonaws.com"
        answer = self._client("sts", self._region).assume_role(RoleArn=role, RoleSessionName="task")
        keys = answer["Credentials"]
        (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
        self.roles[keys["AccessKeyId"]] = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        return {
            "RoleArn": role,
            "AccessKeyId": keys["AccessKeyId"],
            "SecretAccessKey": keys["SecretAccessKey"],
            "Token": keys["SessionToken"],
            "Expiration": keys["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def _secret(self, reference: str) -> str:
        """The value that `valueFrom` names: a secret, or one of its JSON keys, or a parameter."""
        parts = reference.split(":")
        if parts[2] == "ssm":
            parameter = reference.partition(":parameter")[2]
            return self._client("ssm", parts[3]).get_parameter(Name=parameter, WithDecryption=True)["Parameter"][
                "Value"
            ]
        secret = ":".join(parts[:7])
        text = self._client("secretsmanager", parts[3]).get_secret_value(SecretId=secret)["SecretString"]
        return str(json.loads(text)[parts[7]]) if len(parts) > 7 and parts[7] else str(text)

    def _log(self, options: dict[str, str], task: Task) -> None:
        """Send what the task has logged to CloudWatch Logs."""
        logs, group = self._client("logs", options["awslogs-region"]), options["awslogs-group"]
        stream = f"{options['awslogs-stream-prefix']}/jibe-sqs/{len(self.started)}"
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        now = int(time.time() * 1000)
        lines = [{"timestamp": now, "message": line} for line in task.process.output.splitlines() if line]
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=lines)


class _Credentials(ThreadingHTTPServer):
    """Answers every request with the credentials. As a context manager, it yields its address."""

    daemon_threads = True

    def __init__(self, credentials: dict[str, str]) -> None:
        body = json.dumps(credentials).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{self.server_port}/credentials"

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
