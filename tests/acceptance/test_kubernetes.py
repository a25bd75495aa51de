"""The Kubernetes files build, fit together, and give the service what it needs. kustomize builds them; the probes ask a real service."""

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from infra.kubernetes import check, rules
from tests.acceptance.conftest import SmallService
from tests.acceptance.test_deployment_files import AFTER_THE_DRAIN, LEDGER_FOLDER, UID
from tests.acceptance.test_docs import shell
from tests.processes import PATIENCE, eventually, finished

from jibe_sqs.settings import Settings, load

ROOT = Path(__file__).parents[2]
BASE = check.HERE / "base"
OVERLAYS = check.HERE / "overlays"
PAGE = ROOT / "docs" / "how-to" / "kubernetes.md"
NOWHERE = "http://127.0.0.1:9"

pytestmark = pytest.mark.skipif(check.kubectl() is None, reason="kubectl is missing: make .venv/.tools")


@cache
def built(folder: Path) -> list[dict[str, Any]]:
    return check.built(folder)


def manifest(kind: str, folder: Path = BASE) -> dict[str, Any]:
    (found,) = [each for each in built(folder) if each["kind"] == kind]
    return found


def pod(folder: Path = BASE) -> dict[str, Any]:
    return manifest("Deployment", folder)["spec"]["template"]["spec"]


def container(folder: Path = BASE) -> dict[str, Any]:
    (found,) = pod(folder)["containers"]
    return found


def configuration(folder: Path = BASE) -> dict[str, Any]:
    """The file that the service reads, found as the service finds it: by the path in JIBE_CONFIG, through the mount."""
    (path,) = [Path(e["value"]) for e in container(folder)["env"] if e["name"] == "JIBE_CONFIG"]
    (mount,) = [m for m in container(folder)["volumeMounts"] if m["mountPath"] == str(path.parent)]
    (volume,) = [v for v in pod(folder)["volumes"] if v["name"] == mount["name"]]
    assert volume["configMap"]["name"] == manifest("ConfigMap", folder)["metadata"]["name"]
    return json.loads(manifest("ConfigMap", folder)["data"][path.name])


@pytest.mark.parametrize("folder", check.FOLDERS, ids=lambda folder: folder.name)
def test_the_configuration_of_each_overlay_loads(folder, tmp_path, monkeypatch):
    """With the environment of its pod."""
    (tmp_path / "jibe-config.json").write_text(json.dumps(configuration(folder)))
    for entry in container(folder)["env"]:
        monkeypatch.setenv(entry["name"], entry.get("value", "example"))
    monkeypatch.setenv("JIBE_CONFIG", str(tmp_path / "jibe-config.json"))
    settings = load(Settings)
    replicas = manifest("Deployment", folder)["spec"].get("replicas", 2)
    assert settings.ledger.kind == ("sqlite" if replicas == 1 else "dynamodb")


def test_a_mistake_in_any_object_is_refused():
    changes = {
        "ScaledObject": lambda spec: spec["triggers"][0]["metadata"].update(scaleOnInflight="false"),
        "TriggerAuthentication": lambda spec: spec["podIdentity"].update(provider="aws-eks"),
        "ServiceMonitor": lambda spec: spec["endpoints"][0].update(interval="often"),
        "PrometheusRule": lambda spec: spec["groups"][0]["rules"][0].pop("expr"),
        "Deployment": lambda spec: spec.update(minReadySecond=1),
        "NetworkPolicy": lambda spec: spec.update(policyTypes="Ingress"),
    }
    for kind, change in changes.items():
        wrong = json.loads(json.dumps(manifest(kind, OVERLAYS / "keda")))
        check.validate(wrong)
        change(wrong["spec"])
        with pytest.raises(check.Invalid):
            check.validate(wrong)


def test_the_rules_are_those_of_prometheus():
    assert rules.RULES.read_text(encoding="utf-8") == rules.rules()


def test_a_changed_configuration_changes_the_pods():
    name = manifest("ConfigMap")["metadata"]["name"]
    assert re.fullmatch("jibe-sqs-[a-z0-9]{10}", name)
    assert name != manifest("ConfigMap", OVERLAYS / "dev")["metadata"]["name"]


def test_a_live_configuration_keeps_its_name(tmp_path):
    parts = {"resources": ["base"], "components": ["components/live-configuration"]}
    here = os.path.relpath(check.HERE, tmp_path)
    kustomization = {key: [f"{here}/{path}" for path in paths] for key, paths in parts.items()}
    (tmp_path / "kustomization.yaml").write_text(json.dumps(kustomization))
    assert [each["metadata"]["name"] for each in check.built(tmp_path) if each["kind"] == "ConfigMap"] == ["jibe-sqs"]


def test_kubernetes_waits_longer_than_the_longest_stop():
    assert pod()["terminationGracePeriodSeconds"] > configuration()["drain_timeout"] + AFTER_THE_DRAIN


def test_kubernetes_holds_credentials_by_reference_only():
    entries = {e["name"]: e for e in container()["env"]}
    for name, key in (("JIBE_ACCESS_ANYWHERE__LOGIN", "login"), ("JIBE_ACCESS_ANYWHERE__PASSWORD", "password")):
        assert entries[name] == {
            "name": name,
            "valueFrom": {"secretKeyRef": {"name": "jibe-access-anywhere", "key": key}},
        }
    assert set(configuration()["access_anywhere"]) == {"endpoint"}
    assert not [each for folder in check.FOLDERS for each in built(folder) if each["kind"] == "Secret"]


@pytest.mark.parametrize("folder", check.FOLDERS, ids=lambda folder: folder.name)
def test_the_pod_obeys_the_restricted_profile(folder):
    """Pod Security Standards, restricted: each control that a pod of Linux can break."""
    spec, only = pod(folder), container(folder)
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & set(spec)
    assert all(set(each) - {"name"} <= {"configMap", "emptyDir"} for each in spec["volumes"])
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": UID,
        "runAsGroup": UID,
        "fsGroup": UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not [port for port in only["ports"] if "hostPort" in port]


def test_the_pod_writes_to_the_ledger_folder_only():
    assert [m["mountPath"] for m in container()["volumeMounts"] if not m.get("readOnly")] == [LEDGER_FOLDER]
    assert Path(configuration()["ledger"]["path"]).parent == Path(LEDGER_FOLDER)


def test_every_selector_finds_the_pods_and_every_port_has_a_name_there():
    labels = manifest("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    assert manifest("Service")["spec"]["selector"] == labels
    (port,) = container()["ports"]
    assert {port["name"]} == {each["targetPort"] for each in manifest("Service")["spec"]["ports"]}
    assert {port["name"]} == {each["port"] for each in manifest("NetworkPolicy")["spec"]["ingress"][0]["ports"]}
    assert port["containerPort"] == configuration()["http"]["port"]
    assert configuration()["http"]["host"] == "*"  # the probes come from outside the container


def test_the_autoscaler_alone_decides_the_number_of_pods():
    scaled = manifest("ScaledObject", OVERLAYS / "keda")["spec"]
    assert "replicas" not in manifest("Deployment", OVERLAYS / "keda")["spec"]
    (queue,) = [each["metadata"] for each in scaled["triggers"] if each["type"] == "aws-sqs-queue"]
    assert queue["scaleOnInFlight"] == "false"
    assert queue["queueURL"] == configuration(OVERLAYS / "keda")["queues"][0]["url"]
    names = {each["name"] for each in scaled["triggers"]}
    assert set(re.findall("[a-z]+", scaled["advanced"]["scalingModifiers"]["formula"])) == names


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool of Prometheus is missing")
@pytest.mark.parametrize(
    ("closed", "running", "room"),
    [(0, 1, 2_000_000), (0, 14, 2_000_000), (0, 15, 2000), (1, 0, 2000)],
    ids=["idle", "below nine of ten", "Access Anywhere is busy", "Access Anywhere is down"],
)
def test_no_pod_is_added_while_access_anywhere_is_the_bottleneck(closed, running, room, tmp_path):
    """`room` is in messages, 1000 for each of the two pods."""
    triggers = manifest("ScaledObject", OVERLAYS / "keda")["spec"]["triggers"]
    (query,) = [each["metadata"]["query"] for each in triggers if each["type"] == "prometheus"]
    values = {
        "jibe_ready": 1 - closed,
        'jibe_gate_closed{gate="access-anywhere"}': closed,
        "jibe_refreshes_running": running,
        "jibe_refreshes_limit": 16,
    }
    series = [
        {"series": f'{name}{{{labels}job="jibe-sqs",instance="{pod_}"}}', "values": f"{value}x5"}
        for pod_ in "ab"
        for metric, value in values.items()
        for name, labels in [(metric.partition("{")[0], 'gate="access-anywhere",' if "{" in metric else "")]
    ]
    expected = {"expr": query, "eval_time": "3m", "exp_samples": [{"labels": "{}", "value": room}]}
    case = {"interval": "1m", "input_series": series, "promql_expr_test": [expected]}
    (tmp_path / "tests.yaml").write_text(json.dumps({"evaluation_interval": "1m", "tests": [case]}))
    done = finished(["promtool", "test", "rules", str(tmp_path / "tests.yaml")])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_kustomization_of_the_page_builds(tmp_path):
    (text,) = re.findall(r"^```yaml\n(apiVersion: kustomize.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    # kustomize takes relative paths only.
    (tmp_path / "kustomization.yaml").write_text(text.replace("PATH_TO", os.path.relpath(ROOT, tmp_path)))
    (tmp_path / "jibe-config.json").write_text(json.dumps(configuration()))
    for each in check.built(tmp_path):
        check.validate(each)


def test_the_patches_of_the_page_apply(tmp_path):
    (text,) = re.findall(r"^```yaml\n(patches:.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    kustomization = {"resources": [os.path.relpath(BASE, tmp_path)], **yaml.safe_load(text)}
    (tmp_path / "kustomization.yaml").write_text(json.dumps(kustomization))
    objects = {each["kind"]: each for each in check.built(tmp_path)}
    for each in objects.values():
        check.validate(each)
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert {"HTTPS_PROXY", "NO_PROXY"} <= {each["name"] for each in container["env"]}
    assert {each["port"] for each in objects["NetworkPolicy"]["spec"]["egress"][1]["ports"]} == {443, 3128}


def test_the_commands_of_the_page_reach_the_cluster(tmp_path):
    """There is no cluster here, so each command with correct options and files ends with a refused connection."""
    for name in ("login", "password"):
        (tmp_path / name).write_text("x")
    (tmp_path / "FOLDER").mkdir()
    (tmp_path / "FOLDER" / "kustomization.yaml").write_text(
        f"resources: [{os.path.relpath(BASE, tmp_path / 'FOLDER')}]\n"
    )
    commands = [words for words in shell(PAGE) if words[0] == "kubectl"]
    assert len(commands) > 5
    for words in commands:
        done = subprocess.run(
            [check.kubectl(), *words[1:], "--server", NOWHERE],
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=tmp_path,
            env={**os.environ, "KUBECONFIG": os.devnull, "HOME": str(tmp_path)},
        )
        assert re.search("127.0.0.1:9.* refused", done.stderr), (words, done.stderr)


def test_a_pod_is_ready_while_access_anywhere_is_down(small_service: SmallService):
    """A rollout in an outage does not stall: the paths of the probes are asked of a real service without Access Anywhere."""
    account = json.loads(small_service.config.read_text())["access_anywhere"]
    small_service.configure(access_anywhere={**account, "endpoint": NOWHERE}, http={"port": 0, "host": "127.0.0.1"})
    probes = [container()[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    with small_service.started() as running:
        address = f"http://127.0.0.1:{running.wait_for('health_answered')['port']}"

        def status(path: str) -> int:
            return httpx.get(address + path, timeout=PATIENCE).status_code

        running.wait_for("started")
        small_service.announce_change()
        running.wait_for("circuit_opened")
        eventually(lambda: status("/readyz") == 503, "/readyz sees the outage")
        assert [status(path) for path in probes] == [200, 200, 200]
