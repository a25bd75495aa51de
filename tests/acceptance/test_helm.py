"""The Helm chart makes the objects of the kustomize overlays, and refuses values that a cluster or the service would refuse."""

import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from infra.helm import check
from infra.kubernetes import check as kubernetes
from infra.kubernetes import rules
from tests.acceptance.test_deployment_files import AFTER_THE_DRAIN
from tests.acceptance.test_docs import blocks, shell

from jibe_sqs import __version__
from jibe_sqs.settings import Settings, load

BASE = check.HERE / "values" / "base.yaml"
CONFIG = json.loads((kubernetes.HERE / "base" / "jibe-config.json").read_text())
TABLE = "arn:aws:dynamodb:us-east-1:111122223333:table/jibe-ledger"
DIGEST = "sha256:" + "a" * 64
HTTP = {"host": "*", "port": 8080}
CHECKSUM = "checksum/config"
OF_A_RELEASE = {
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
}
OF_ITS_PODS = ',namespace="default",service="jibe-sqs"'
"""Labels of the metrics, which only Helm knows."""

pytestmark = [
    pytest.mark.skipif(check.helm() is None, reason="helm is missing: make .venv/.tools"),
    pytest.mark.skipif(kubernetes.kubectl() is None, reason="kubectl is missing: make .venv/.tools"),
]

Objects = dict[str, dict[str, Any]]


def by_kind(objects: list[dict[str, Any]]) -> Objects:
    found = {each["kind"]: each for each in objects}
    assert len(found) == len(objects)
    return found


@cache
def example(values: Path = BASE) -> Objects:
    return by_kind(check.rendered(*check.arguments(values)))


def with_values(tmp_path: Path, release: str = check.RELEASE, **values: Any) -> Objects:
    """The objects of the base with other values. Each is valid."""
    objects = check.rendered(*given(tmp_path, values), release=release)
    for each in objects:
        kubernetes.validate(each)
    return by_kind(objects)


def given(tmp_path: Path, values: dict[str, Any]) -> list[str | Path]:
    """Options of helm: the values of the base, changed. `--set-file` is stronger than a file of values, so it gives way."""
    (tmp_path / "values.yaml").write_text(json.dumps(values))
    base = check.arguments(BASE)[: 2 if "config" in values else None]
    return [*base, "--values", tmp_path / "values.yaml"]


def pod(objects: Objects) -> dict[str, Any]:
    return objects["Deployment"]["spec"]["template"]["spec"]


def container(objects: Objects) -> dict[str, Any]:
    (found,) = pod(objects)["containers"]
    return found


def annotations(objects: Objects) -> dict[str, str]:
    return objects["Deployment"]["spec"]["template"]["metadata"].get("annotations", {})


def normalised(objects: Objects) -> Any:
    """Without what Helm adds to each release, and without the hash in the name that kustomize gives the configuration."""
    text = json.dumps(objects).replace(json.dumps(OF_ITS_PODS)[1:-1], "")
    return _bare(json.loads(text.replace(objects["ConfigMap"]["metadata"]["name"] + '"', 'jibe-sqs"')))


def _bare(node: Any) -> Any:
    if isinstance(node, list):
        return [_bare(each) for each in node]
    if not isinstance(node, dict):
        return node
    left = {key: _bare(value) for key, value in node.items() if key not in {*OF_A_RELEASE, CHECKSUM}}
    return {key: value for key, value in left.items() if key not in {"labels", "annotations"} or value}


@pytest.mark.parametrize("folder", kubernetes.FOLDERS, ids=lambda folder: folder.name)
def test_the_chart_makes_the_objects_of_each_overlay(folder):
    values = check.HERE / "values" / f"{folder.name}.yaml"
    assert normalised(example(values)) == normalised(by_kind(kubernetes.built(folder)))


def test_the_chart_refuses_to_run_without_image_or_configuration():
    with pytest.raises(check.Refused, match="config is missing: --set-file config="):
        check.rendered("--values", BASE)
    with pytest.raises(check.Refused, match=re.escape("image.repository is missing")):
        check.rendered(*check.arguments(BASE), "--set", "image.repository=")


def test_lint_passes_for_the_default_values_and_with_all_options():
    check.ran("lint", "--strict", check.CHART)
    check.ran("lint", "--strict", check.CHART, *check.arguments(check.HERE / "values" / "keda.yaml"))


def test_each_object_has_the_labels_of_its_release():
    for each in example(check.HERE / "values" / "keda.yaml").values():
        assert set(each["metadata"]["labels"]) == OF_A_RELEASE


@pytest.mark.parametrize(
    ("release", "name"), [("jibe-sqs", "jibe-sqs"), ("archive", "archive-jibe-sqs")], ids=["own name", "other name"]
)
def test_two_releases_share_no_name_and_no_pod(tmp_path, release, name):
    """Every selector finds the pods of its own release, and the alerts find their job under any name."""
    on = {"enabled": True}
    keda = {**on, "prometheus": "http://prometheus:9090"}
    objects = with_values(tmp_path, release, serviceMonitor=on, keda=keda, ledgerTable=TABLE)
    assert {each["metadata"]["name"] for each in objects.values()} == {name}
    selected = {"app.kubernetes.io/name": "jibe-sqs", "app.kubernetes.io/instance": release}
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert labels == selected
    assert objects["Deployment"]["spec"]["selector"]["matchLabels"] == selected
    assert objects["Service"]["spec"]["selector"] == selected
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == selected
    assert objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == selected
    assert all(each["labelSelector"]["matchLabels"] == selected for each in pod(objects)["topologySpreadConstraints"])
    assert objects["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items() <= (
        objects["Service"]["metadata"]["labels"].items()
    )
    assert objects["Service"]["metadata"]["labels"][objects["ServiceMonitor"]["spec"]["jobLabel"]] == "jibe-sqs"
    assert objects["ScaledObject"]["spec"]["scaleTargetRef"]["name"] == name
    query = objects["ScaledObject"]["spec"]["triggers"][1]["metadata"]["query"]
    assert query.count(f'job="jibe-sqs",namespace="default",service="{name}"') == query.count("{")
    (volume,) = [each for each in pod(objects)["volumes"] if each["name"] == "config"]
    assert volume["configMap"]["name"] == pod(objects)["serviceAccountName"] == name


@pytest.mark.parametrize("form", ["file", "object"])
def test_the_configuration_loads(tmp_path, monkeypatch, form):
    """With the environment of its pod. Large numbers and special characters survive the way through the values."""
    config = {**CONFIG, "buckets": {"example-media": "/R&D <2>/{{ x }}"}}
    objects = with_values(tmp_path, config=config if form == "object" else json.dumps(config), ledgerTable=TABLE)
    text = objects["ConfigMap"]["data"]["jibe-config.json"]
    assert json.loads(text) == config
    (tmp_path / "jibe-config.json").write_text(text)
    for entry in container(objects)["env"]:
        monkeypatch.setenv(entry["name"], entry.get("value", "example"))
    monkeypatch.setenv("JIBE_CONFIG", str(tmp_path / "jibe-config.json"))
    settings = load(Settings)
    assert (settings.ledger.kind, settings.ledger.table) == ("dynamodb", TABLE)
    assert settings.ledger.max_bytes == CONFIG["ledger"]["max_bytes"]


@pytest.mark.parametrize("form", ["file", "object"])
def test_the_text_of_a_configuration_may_have_each_character_of_json(tmp_path, form):
    """A block of YAML cannot begin with spaces or a tab, and some characters end a line in it."""
    config = {**CONFIG, "buckets": {"example-media": "/a\x7f\x85\u2028é"}}
    text = "\n\t " + json.dumps(config, ensure_ascii=False, indent=2)
    objects = with_values(tmp_path, config=config if form == "object" else text)
    assert json.loads(objects["ConfigMap"]["data"]["jibe-config.json"]) == config
    indented = with_values(tmp_path, config="  " + json.dumps(CONFIG, indent=2))
    assert json.loads(indented["ConfigMap"]["data"]["jibe-config.json"]) == CONFIG


@pytest.mark.parametrize("release", ["1st", "a.b"])
def test_a_release_that_no_service_can_be_named_after_is_refused(release):
    with pytest.raises(check.Refused, match="with a letter first"):
        check.rendered(*check.arguments(BASE), release=release)


def test_a_changed_configuration_rolls_the_pods_unless_it_is_live(tmp_path):
    changed = {**CONFIG, "logs": [{"bucket": "another-trail"}]}
    before, after = (annotations(with_values(tmp_path, config=each)) for each in (CONFIG, changed))
    assert before[CHECKSUM] != after[CHECKSUM]
    live = [with_values(tmp_path, config=each, liveConfig=True)["Deployment"] for each in (CONFIG, changed)]
    assert live[0] == live[1]


@pytest.mark.parametrize(("drain", "grace"), [(85, 120), (300.5, 336), (None, 125)])
def test_kubernetes_waits_longer_than_the_longest_stop(tmp_path, drain, grace):
    config = {key: value for key, value in CONFIG.items() if key != "drain_timeout"}
    objects = with_values(tmp_path, config=config | ({"drain_timeout": drain} if drain else {}))
    assert pod(objects)["terminationGracePeriodSeconds"] == grace
    longest = drain or Settings.model_fields["drain_timeout"].default
    assert grace >= longest + AFTER_THE_DRAIN


def test_the_port_is_that_of_the_configuration(tmp_path):
    objects = with_values(tmp_path, config={**CONFIG, "http": {"host": "*", "port": 9090}})
    assert container(objects)["ports"] == [{"name": "http", "containerPort": 9090}]
    assert objects["Service"]["spec"]["ports"][0]["port"] == 9090


def test_the_image_has_the_version_of_the_program_a_tag_or_a_digest(tmp_path):
    def image(**values: Any) -> str:
        return container(with_values(tmp_path, image=values))["image"]

    assert image() == f"registry.example.com/jibe-sqs:{__version__}"
    assert image(tag="test") == "registry.example.com/jibe-sqs:test"
    assert image(tag="test", digest=DIGEST) == f"registry.example.com/jibe-sqs@{DIGEST}"


def test_an_existing_secret_may_have_other_names(tmp_path):
    objects = with_values(tmp_path, secret={"name": "account", "loginKey": "user", "passwordKey": "pass"})
    references = [each["valueFrom"]["secretKeyRef"] for each in container(objects)["env"] if "valueFrom" in each]
    assert references == [{"name": "account", "key": "user"}, {"name": "account", "key": "pass"}]


def test_the_service_account_may_exist(tmp_path):
    objects = with_values(tmp_path, serviceAccount={"create": False, "name": "mine"})
    assert "ServiceAccount" not in objects
    assert pod(objects)["serviceAccountName"] == "mine"
    with pytest.raises(check.Refused, match="annotate it yourself"):
        with_values(tmp_path, serviceAccount={"create": False}, aws={"roleArn": "arn:aws:iam::111122223333:role/jibe"})


def test_the_pod_takes_options_of_its_cluster(tmp_path):
    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    tolerations = [{"key": "dedicated", "operator": "Equal", "value": "jibe", "effect": "NoSchedule"}]
    objects = with_values(
        tmp_path,
        affinity=affinity,
        tolerations=tolerations,
        nodeSelector={"kubernetes.io/arch": "arm64"},
        priorityClassName="high",
        resources={"requests": {"cpu": 2}, "limits": {"cpu": "2", "memory": "4Gi"}},
        extraEnv=[{"name": "JIBE_LOG__LEVEL", "value": "debug"}],
        extraEnvFrom=[{"secretRef": {"name": "keys"}}],
        podLabels={"team": "storage"},
        podAnnotations={"example.com/note": "x"},
        image={"pullPolicy": "Always", "pullSecrets": [{"name": "registry"}]},
        ledgerVolumeSize="5Gi",
        serviceAccount={"annotations": {"example.com/note": "y"}},
    )
    spec, only = pod(objects), container(objects)
    assert (spec["affinity"], spec["tolerations"]) == (affinity, tolerations)
    assert spec["nodeSelector"] == {"kubernetes.io/arch": "arm64"}
    assert spec["priorityClassName"] == "high"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert only["resources"] == {"requests": {"cpu": 2, "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "4Gi"}}
    assert only["env"][-1] == {"name": "JIBE_LOG__LEVEL", "value": "debug"}
    assert only["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert only["imagePullPolicy"] == "Always"
    assert spec["volumes"][1]["emptyDir"]["sizeLimit"] == "5Gi"
    assert objects["Deployment"]["spec"]["template"]["metadata"]["labels"]["team"] == "storage"
    assert "team" not in objects["Deployment"]["spec"]["selector"]["matchLabels"]
    assert annotations(objects)["example.com/note"] == "x"
    assert objects["ServiceAccount"]["metadata"]["annotations"] == {"example.com/note": "y"}


def test_a_file_of_a_private_ca_gets_into_the_pod(tmp_path):
    volume = {"name": "ca", "configMap": {"name": "private-ca"}}
    mount = {"name": "ca", "mountPath": "/etc/ca", "readOnly": True}
    objects = with_values(tmp_path, extraVolumes=[volume], extraVolumeMounts=[mount])
    assert pod(objects)["volumes"][-1] == volume
    assert container(objects)["volumeMounts"][-1] == mount


def test_the_network_policy_and_the_disruption_budget_are_options(tmp_path):
    off = {"enabled": False}
    assert not {"NetworkPolicy", "PodDisruptionBudget"} & set(
        with_values(tmp_path, networkPolicy=off, podDisruptionBudget=off)
    )
    extra = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}
    spec = with_values(
        tmp_path, networkPolicy={"ports": [443, 8443], "prometheusNamespace": "metrics", "extraEgress": [extra]}
    )["NetworkPolicy"]["spec"]
    assert [each["port"] for each in spec["egress"][1]["ports"]] == [443, 8443]
    assert spec["egress"][2] == extra
    assert "metrics" in json.dumps(spec["ingress"])


def test_the_prometheus_operator_finds_its_objects_by_labels(tmp_path):
    labels = {"enabled": True, "labels": {"release": "prometheus"}}
    objects = with_values(tmp_path, serviceMonitor={**labels, "interval": "1m"}, prometheusRule=labels)
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert objects[kind]["metadata"]["labels"]["release"] == "prometheus"
    assert objects["ServiceMonitor"]["spec"]["endpoints"][0]["interval"] == "1m"


def test_the_rules_are_those_of_prometheus():
    assert rules.CHART.read_text(encoding="utf-8") == rules.chart_rules()
    rule = example(check.HERE / "values" / "monitoring.yaml")["PrometheusRule"]
    assert rule["spec"] == yaml.safe_load(rules.ALERTS.read_text(encoding="utf-8"))


def test_the_autoscaler_has_its_own_limits(tmp_path):
    second = {"url": "https://sqs.eu-west-1.amazonaws.com/111122223333/other", "region": "eu-west-1"}
    config = {**CONFIG, "queues": [*CONFIG["queues"], second]}
    keda = {"enabled": True, "queueLength": 5_000_000, "minReplicas": 2, "maxReplicas": 8}
    with pytest.raises(check.Refused, match=re.escape("keda.queueUrl is missing")):
        with_values(tmp_path, config=config, ledgerTable=TABLE, keda=keda)
    keda |= {"queueUrl": second["url"], "prometheus": "http://prometheus:9090"}
    spec = with_values(tmp_path, config=config, ledgerTable=TABLE, keda=keda)["ScaledObject"]["spec"]
    queue, room = (each["metadata"] for each in spec["triggers"])
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 8)
    assert (queue["queueURL"], queue["awsRegion"], queue["queueLength"]) == (second["url"], second["region"], "5000000")
    assert room["threshold"] == spec["advanced"]["scalingModifiers"]["target"] == "5000000"
    assert re.findall(r"\* (\S+)", room["query"])[::2] == ["5000000", "5000000000"]
    elsewhere = {**keda, "queueUrl": "https://sqs.ap-east-1.amazonaws.com/111122223333/third"}
    spec = with_values(tmp_path, config=config, ledgerTable=TABLE, keda=elsewhere)["ScaledObject"]["spec"]
    assert spec["triggers"][0]["metadata"]["awsRegion"] == "ap-east-1"


def changed(**changes: Any) -> dict[str, Any]:
    return {"config": {**CONFIG, **changes}}


MISTAKES = {
    "an unknown option": ({"replica": 2}, "replica"),
    "an unknown option in a group": ({"keda": {"enable": True}}, "enable"),
    "a text as number": ({"replicas": "2"}, "/replicas"),
    "a negative number": ({"replicas": -1}, "/replicas"),
    "a digest that is a tag": ({"image": {"digest": "0.1.0"}}, "/image/digest"),
    "a tag in the repository": ({"image": {"repository": "a/b:1.0"}}, "/image/repository"),
    "a digest in the repository": ({"image": {"repository": f"a@{DIGEST}"}}, "/image/repository"),
    "an unknown pull policy": ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    "a name of a secret": ({"secret": {"name": "Account"}}, "/secret/name"),
    "a role that is a user": ({"aws": {"roleArn": "arn:aws:iam::111122223333:user/jibe"}}, "/aws/roleArn"),
    "two ways to a role": (
        {"aws": {"roleArn": "arn:aws:iam::111122223333:role/jibe", "podIdentity": True}},
        "/aws",
    ),
    "a table's wrong ARN": ({"ledgerTable": "arn:aws:s3:::jibe"}, "/ledgerTable"),
    "an amount": ({"resources": {"limits": {"memory": "1GB"}}}, "/resources/limits/memory"),
    "a resource": ({"resources": {"limits": {"ram": "1Gi"}}}, "ram"),
    "a variable without value": ({"extraEnv": [{"name": "A"}]}, "/extraEnv/0"),
    "a variable with a number": ({"extraEnv": [{"name": "A", "value": 1}]}, "/extraEnv/0"),
    "a toleration": ({"tolerations": [{"key": "a", "effect": "NoScheduling"}]}, "/tolerations/0/effect"),
    "an affinity": ({"affinity": {"nodeaffinity": {}}}, "nodeaffinity"),
    "a node's label": ({"nodeSelector": {"spot": True}}, "/nodeSelector/spot"),
    "a port": ({"networkPolicy": {"ports": [0]}}, "/networkPolicy/ports/0"),
    "an interval": ({"serviceMonitor": {"interval": "often"}}, "/serviceMonitor/interval"),
    "an autoscaler down to no pod": ({"keda": {"minReplicas": 0}}, "/keda/minReplicas"),
    "an address": ({"keda": {"prometheus": "prometheus:9090"}}, "/keda/prometheus"),
    "a configuration in YAML as text": ({"config": "queues: []"}, "/config"),
    "a configuration that is not JSON": ({"config": "{queues"}, "invalid character"),
    "a configuration without queues": ({"config": {"access_anywhere": {}, "http": {}}}, "queues"),
    "probes that nothing answers": (changed(http={"port": 8080}), "config.http must have"),
    "a port that is none": (changed(http={"host": "*", "port": 80800}), "config.http must have"),
    "a group that is none": (changed(http=[8080]), "config.http must have"),
    "no port": (changed(http={"host": "*"}), "config.http must have"),
    "a password in the configuration": (changed(access_anywhere={"password": "x"}), "is in the secret"),
    "a password of the status page": (changed(http={**HTTP, "password": "x"}), "config.http.password is a secret"),
    "a monitor without the password": (
        changed(http={**HTTP, "login": "ana"}) | {"serviceMonitor": {"enabled": True}},
        "the metrics ask for a password",
    ),
    "a stop of unknown length": (changed(drain_timeout="2m"), "number of seconds"),
    "a stop of no length": (changed(drain_timeout=0), "number of seconds"),
    "a stop of a negative length": (changed(drain_timeout=-50), "number of seconds"),
    "a group whose options are all comments": ({"networkPolicy": None}, "missing property 'networkPolicy'"),
    "ports that are missing": ({"networkPolicy": {"ports": None}}, "missing property 'ports'"),
    "a secret without name": ({"secret": {"name": None}}, "missing property 'name'"),
    "a volume of the chart's own name": ({"extraVolumes": [{"name": "config"}]}, "/extraVolumes/0"),
    "several pods with their own ledgers": ({"replicas": 2}, "set ledgerTable"),
    "a minimum above the maximum": (
        {"keda": {"enabled": True, "minReplicas": 5}, "ledgerTable": TABLE},
        "keda.minReplicas is more than",
    ),
    "an autoscaler without a shared ledger": ({"keda": {"enabled": True}}, "set ledgerTable"),
}


@pytest.mark.parametrize(("values", "reason"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_refused_with_its_place(tmp_path, values, reason):
    with pytest.raises(check.Refused, match=re.escape(reason)):
        check.rendered(*given(tmp_path, values))


def test_the_commands_of_the_page_work(tmp_path):
    """`helm template` makes valid objects of the page's own values. There is no cluster here, which the others need."""
    page = kubernetes.ROOT / "docs" / "how-to" / "kubernetes.md"
    (values,) = [text for text in blocks(page, "yaml") if text.startswith("image:")]
    (tmp_path / "values.yaml").write_text(values)
    (tmp_path / "jibe-config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "infra").symlink_to(kubernetes.ROOT / "infra")
    template, *others = [words[1:] for words in shell(page) if words[0] == "helm"]

    def done(words: list[str]) -> subprocess.CompletedProcess[str]:
        command = [check.helm(), *words]
        env = {**os.environ, "KUBECONFIG": os.devnull, "HOME": str(tmp_path)}
        return subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=check.TIMEOUT, cwd=tmp_path, env=env
        )

    for each in filter(None, yaml.safe_load_all(done(template).stdout)):
        kubernetes.validate(each)
    assert template[0] == "template"
    assert [next(word for word in words if word in {"upgrade", "rollback"}) for words in others] == [
        "upgrade",
        "rollback",
    ]
    for words in others:
        assert "cluster unreachable" in done([*words, "--kube-apiserver", "http://127.0.0.1:9"]).stderr
    upgrade = [word for word in others[0] if word not in {"upgrade", "--install"}]
    assert done(["template", *upgrade]).stdout == done(template).stdout != ""
