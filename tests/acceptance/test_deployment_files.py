"""The deployment files give the service what it needs, and no more. The files are the real ones, rendered."""

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from tests.deployment.templates import Reader, Refused, properties, read
from tests.processes import finished

from jibe_sqs.adapters import otlp
from jibe_sqs.consuming import consumer
from jibe_sqs.core.secret_references import secret_reference
from jibe_sqs.settings.sources import address_of
from jibe_sqs.telemetry import alert_outlet, audit, reports

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
SERVICE = INFRA / "cloudformation" / "service.yaml"
SOURCE = ROOT / "src" / "jibe_sqs"
BASE = INFRA / "kubernetes" / "base"
DOCKERFILE = INFRA / "docker" / "Dockerfile"

UID = 10001
LAST_REPORT = reports.LAST_NOTE_TIMEOUT + reports.LAST_STORE_TIMEOUT
LAST_ALERTS = alert_outlet.LAST_LOOK_TIMEOUT + alert_outlet.LAST_SEND_TIMEOUT
AFTER_THE_DRAIN = (
    consumer.LAST_RECEIVE + consumer.GIVING_BACK + LAST_REPORT + audit.LAST_TIMEOUT + otlp.FLUSH_TIMEOUT + LAST_ALERTS
)
"""Seconds that a stop may take after the drain deadline if no server answers."""
LEDGER_FOLDER = "/var/lib/jibe"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:on-call"
CHANNEL = "arn:aws:cloudtrail:eu-west-1:111122223333:channel/example"
ROLE = "arn:aws:iam::444455556666:role/logs"
WEBHOOK = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:webhook-AbCdEf"
EXPRESS = "arn:aws:s3express:eu-west-1:111122223333:bucket/example--euw1-az1--x-s3"
TABLE = "arn:aws:dynamodb:eu-west-1:111122223333:table/jibe-ledger"

PARAMETERS = {
    "Image": "registry.example.com/jibe-sqs:0.1.0",
    "Subnets": "subnet-1,subnet-2",
    "SecurityGroups": "sg-1",
    "QueueArn": "arn:aws:sqs:eu-west-1:111122223333:jibe",
    "DeadLetterQueueArn": "arn:aws:sqs:eu-west-1:111122223333:jibe-dead",
    "LogBucketArns": "arn:aws:s3:::example-trail,arn:aws:s3:::example-audit",
    "DataBucketArns": "arn:aws:s3:::example-media,arn:aws:s3:::example-projects",
    "KmsKeyArns": "arn:aws:kms:eu-west-1:111122223333:key/example",
    "ConfigArn": "arn:aws:ssm:eu-west-1:111122223333:parameter/jibe/config",
    "ConfigSecretArn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:jibe-AbCdEf",
}


def template(path: Path) -> dict[str, Any]:
    return read(path.read_text(encoding="utf-8"))


def resource(name: str) -> dict[str, Any]:
    return template(SERVICE)["Resources"][name]["Properties"]


def ecs_container() -> dict[str, Any]:
    (found,) = resource("TaskDefinition")["ContainerDefinitions"]
    return found


def statements(role: str) -> list[dict[str, Any]]:
    """Every statement that the role can have, under any of the template's conditions."""
    found = []
    for policy in resource(role)["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            branches = statement["Fn::If"][1:] if "Fn::If" in statement else [statement]
            found += [branch for branch in branches if "Effect" in branch]
    return found


def actions(statement: dict[str, Any]) -> set[str]:
    action = statement["Action"]
    return {action} if isinstance(action, str) else set(action)


@pytest.fixture(scope="module")
def rendered() -> dict[str, Any]:
    """The container definition that `service.yaml` renders to, with every parameter except the table's."""
    return render(PARAMETERS)


def render(parameters: dict[str, str]) -> dict[str, Any]:
    (container,) = properties(SERVICE, "TaskDefinition", parameters)["ContainerDefinitions"]
    return container


def policy(parameters: dict[str, str]) -> list[dict[str, Any]]:
    """The statements of the task role that `service.yaml` renders to."""
    (found,) = properties(SERVICE, "TaskRole", parameters)["Policies"]
    return found["PolicyDocument"]["Statement"]


def resources(statement: dict[str, Any]) -> set[str]:
    found = statement["Resource"]
    return {found} if isinstance(found, str) else set(found)


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {entry["Name"]: entry["Value"] for entry in container["Environment"]}


@pytest.fixture
def environment(rendered) -> dict[str, str]:
    return variables(rendered)


# All of them


# The templates of the chart are YAML only when Helm has filled them in: tests/acceptance/test_helm.py.
PLAIN = sorted(path for path in INFRA.rglob("*.yaml") if "templates" not in path.parts)


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.name)
def test_every_yaml_file_parses_to_something(path):
    assert all(isinstance(document, (dict, list)) and document for document in yaml.load_all(path.read_text(), Reader))


@pytest.mark.parametrize("path", [SERVICE, *sorted(BASE.glob("*.yaml")), DOCKERFILE], ids=lambda path: path.name)
def test_no_file_carries_a_secret(path):
    """References to a secret are allowed. Access keys, and values that are assigned to a password, are not."""
    text = path.read_text()
    assert not re.search(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b", text)
    assert not re.search(
        r"(?i)[\"']?(login|password)[\"']?\s*[:=]\s*[\"']?\w", re.sub(r"key: (login|password)", "", text)
    )


# CloudFormation


def test_the_task_may_do_exactly_what_the_service_calls():
    every = dict.fromkeys(("MoreQueueArns", "MoreDeadLetterQueueArns"), "arn:aws:sqs:eu-west-1:111122223333:more")
    every |= {"LedgerTableArn": TABLE, "AlertTopicArn": TOPIC, "AuditChannelArn": CHANNEL, "RoleArns": ROLE}
    every |= {"MoreSecretArns": WEBHOOK, "ExpressBucketArns": EXPRESS}
    every |= dict.fromkeys(("AllowCheck", "VerifyLogs", "FindLogBuckets"), "true")
    queue, dead, more = PARAMETERS["QueueArn"], PARAMETERS["DeadLetterQueueArn"], every["MoreQueueArns"]
    logs, data = PARAMETERS["LogBucketArns"].split(","), PARAMETERS["DataBucketArns"].split(",")
    assert {s["Sid"]: (actions(s), resources(s)) for s in policy({**PARAMETERS, **every})} == {
        "Configure": ({"ssm:GetParameter"}, {PARAMETERS["ConfigArn"]}),
        "LogIn": ({"secretsmanager:GetSecretValue"}, {PARAMETERS["ConfigSecretArn"]}),
        "ReadSecrets": ({"secretsmanager:GetSecretValue", "ssm:GetParameter"}, {WEBHOOK}),
        "Consume": (
            {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"},
            {queue, more},
        ),
        "DeadLetter": ({"sqs:SendMessage", "sqs:GetQueueUrl"}, {dead, more}),
        "ReadLogs": ({"s3:GetObject", "s3:GetObjectVersion"}, {f"{bucket}/*" for bucket in logs}),
        "ListLogs": ({"s3:ListBucket"}, set(logs)),
        "Verify": ({"cloudtrail:ListPublicKeys"}, {"*"}),
        "FindBuckets": ({"s3:ListAllMyBuckets"}, {"*"}),
        "Compare": ({"s3:ListBucket"}, set(data)),
        "CompareExpress": ({"s3express:CreateSession"}, {EXPRESS}),
        "Remember": (
            {"dynamodb:" + call for call in ("GetItem", "BatchGetItem", "PutItem", "UpdateItem", "BatchWriteItem")},
            {TABLE},
        ),
        "Alert": ({"sns:Publish"}, {TOPIC}),
        "Audit": ({"cloudtrail-data:PutAuditEvents"}, {CHANNEL}),
        "AssumeRoles": ({"sts:AssumeRole"}, {ROLE}),
        "Decrypt": ({"kms:Decrypt"}, {PARAMETERS["KmsKeyArns"]}),
        "Encrypt": ({"kms:GenerateDataKey"}, {PARAMETERS["KmsKeyArns"]}),
        "Check": (checked_actions(), {"*"}),
        "CheckLedger": ({"dynamodb:Scan"}, {TABLE}),
    }


def test_what_is_not_given_is_not_allowed():
    needed = {name: PARAMETERS[name] for name in ("Image", "Subnets", "SecurityGroups", "QueueArn")}
    allowed = policy({**needed, "ConfigArn": "arn:aws:s3:::configurations/jibe.json"})
    assert [(s["Sid"], actions(s)) for s in allowed if s["Sid"] != "Consume"] == [("Configure", {"s3:GetObject"})]
    assert {s["Sid"] for s in allowed} == {"Configure", "Consume"}


def test_a_session_with_a_directory_bucket_may_only_read():
    """To compare. Without a condition, the session could also write and delete objects."""
    allowed = {s["Sid"]: s for s in policy({**PARAMETERS, "ExpressBucketArns": EXPRESS})}
    assert allowed["CompareExpress"]["Condition"] == {"StringEquals": {"s3express:SessionMode": "ReadOnly"}}


def test_only_a_further_queue_may_have_a_dead_letter_queue():
    more = "arn:aws:sqs:eu-west-1:111122223333:more-dead"
    allowed = policy({**PARAMETERS, "DeadLetterQueueArn": "", "MoreDeadLetterQueueArns": more})
    assert [resources(s) for s in allowed if s["Sid"] == "DeadLetter"] == [{more}]


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("ConfigSecretArn", "arn:aws:secretsmanager:eu-west-1:111122223333:secret:jibe"),
        ("ConfigSecretArn", PARAMETERS["ConfigSecretArn"] + "#login"),
        ("MoreSecretArns", f"{WEBHOOK},{WEBHOOK}#address"),
        ("MoreSecretArns", "arn:aws:ssm:eu-west-1:111122223333:parameter/jibe/token:3"),
        ("ClusterName", "arn:aws:ecs:eu-west-1:111122223333:cluster/shared"),
    ],
)
def test_a_parameter_that_would_allow_nothing_is_refused(parameter, value):
    """IAM compares whole ARNs of secrets, and scaling needs the name of the cluster."""
    with pytest.raises(Refused, match=parameter):
        policy({**PARAMETERS, parameter: value})


def test_keys_are_used_only_through_the_services_that_encrypt():
    found = {s["Sid"]: s["Condition"]["StringLike"]["kms:ViaService"] for s in policy(PARAMETERS) if "Condition" in s}
    services = {sid: {each.split(".")[0] for each in via} for sid, via in found.items()}
    assert services["Decrypt"] == {"dynamodb", "s3", "secretsmanager", "sns", "sqs", "ssm"}
    assert services["Encrypt"] == {"sns", "sqs"}


def checked_actions() -> set[str]:
    """What `jibe-sqs check` asks for, and the service does not. Every caller may ask who he is."""
    asked = set(re.findall(r'"([a-z0-9]+:[A-Z]\w+)"', (SOURCE / "adapters" / "aws_inspection.py").read_text()))
    return asked - {"sqs:GetQueueUrl", "s3:ListBucket", "sts:GetCallerIdentity"}


ON_ALL = ("LogInToEcr", "Check", "Verify", "FindBuckets")


@pytest.mark.parametrize("role", ["TaskRole", "ExecutionRole"])
def test_no_role_has_a_managed_policy_or_a_wildcard(role):
    """These may, because their actions know no resources, or because `check` finds out which topics and trails there are."""
    assert "ManagedPolicyArns" not in resource(role)
    for statement in statements(role):
        assert not any("*" in action for action in actions(statement))
        is_reading = all(
            action.partition(":")[2].startswith(("Get", "List", "Describe")) for action in actions(statement)
        )
        assert statement["Resource"] != "*" or (is_reading and statement["Sid"] in ON_ALL)


def test_credentials_reach_the_task_as_references_that_the_service_reads(environment):
    secret = PARAMETERS["ConfigSecretArn"]
    assert environment["JIBE_ACCESS_ANYWHERE__LOGIN"] == f"{secret}#login"
    assert environment["JIBE_ACCESS_ANYWHERE__PASSWORD"] == f"{secret}#password"
    assert secret_reference(environment["JIBE_ACCESS_ANYWHERE__PASSWORD"])


def test_fargate_waits_longer_than_the_longest_stop(rendered, environment):
    assert rendered["StopTimeout"] == 120
    assert rendered["StopTimeout"] > int(environment["JIBE_DRAIN_TIMEOUT"]) + AFTER_THE_DRAIN


@pytest.mark.parametrize("arn", [PARAMETERS["ConfigArn"], "arn:aws:s3:::configurations/jibe.json"])
def test_the_task_reads_its_settings_from_the_document(arn):
    found = variables(render({**PARAMETERS, "ConfigArn": arn}))
    assert found["JIBE_CONFIG"] == arn
    assert address_of(arn)


@pytest.mark.parametrize("principals", ["", "arn:aws:iam::1:user/a", "arn:aws:iam::1:user/a, arn:aws:iam::1:role/*"])
def test_the_quickstarts_document_is_json(principals):
    path = INFRA / "cloudformation" / "configuration.yaml"
    given = {"AccessAnywhereEndpoint": "https://files.example.com", "QueueUrl": "https://sqs.example.com/1/jibe"}
    given |= {"LogBucketName": "trail", "Buckets": '{"media": ["/S3/media", "/S3/more"]}'}
    found = properties(path, "Configuration", {**given, "OwnWritePrincipals": principals})
    written = json.loads(found["Value"])["own_writes"]["principals"]
    assert written == [each.strip() for each in principals.split(",") if each]
    # A stack's name may begin with aws, a parameter's may not.
    assert found["Name"] == "/jibe-sqs/jibe/configuration"
    with pytest.raises(Refused, match="OwnWritePrincipals"):
        properties(path, "Configuration", {**given, "OwnWritePrincipals": 'arn"'})


def test_the_task_writes_to_the_ledger_folder_only(rendered, environment):
    assert rendered["ReadonlyRootFilesystem"] is True
    assert [mount["ContainerPath"] for mount in rendered["MountPoints"] if not mount["ReadOnly"]] == [LEDGER_FOLDER]
    assert Path(environment["JIBE_LEDGER__PATH"]).parent == Path(LEDGER_FOLDER)


def test_without_a_table_the_task_keeps_its_ledger_in_the_file(environment):
    """Nothing is set, so that the document may name a table."""
    assert not {"JIBE_LEDGER__KIND", "JIBE_LEDGER__TABLE"} & set(environment)


def test_with_a_table_the_tasks_share_their_ledger():
    container = render({**PARAMETERS, "LedgerTableArn": TABLE})
    environment = variables(container)
    assert (environment["JIBE_LEDGER__KIND"], environment["JIBE_LEDGER__TABLE"]) == ("dynamodb", TABLE)


def test_the_audits_channel_takes_events_from_the_services_role_only():
    """The policy allows the one action that it may have. It asks for the external id, if there is one."""
    resources = template(INFRA / "cloudformation" / "audit.yaml")["Resources"]
    assert resources["Channel"]["Properties"]["Source"] == "Custom"
    (selector,) = resources["EventDataStore"]["Properties"]["AdvancedEventSelectors"]
    assert selector["FieldSelectors"] == [{"Field": "eventCategory", "Equals": ["ActivityAuditLog"]}]
    assert resources["EventDataStore"]["DeletionPolicy"] == "Retain"
    (statement,) = resources["ChannelPolicy"]["Properties"]["ResourcePolicy"]["Statement"]
    assert statement["Action"] == "cloudtrail-data:PutAuditEvents"
    assert statement["Principal"] == {"AWS": {"Ref": "ServiceRoleArn"}}
    condition, asked, otherwise = statement["Condition"]["Fn::If"]
    assert condition == "HasExternalId"
    assert asked == {"StringEquals": {"cloudtrail:ExternalId": {"Ref": "ExternalId"}}}
    assert otherwise == {"Ref": "AWS::NoValue"}


def test_the_topic_for_alerts_reaches_the_task():
    topic = "arn:aws:sns:eu-west-1:111122223333:on-call"
    container = render({**PARAMETERS, "AlertTopicArn": topic})
    environment = variables(container)
    assert environment["JIBE_ALERTS__TOPIC"] == topic


def test_the_ledgers_table_is_one_that_the_service_can_use():
    """The key of the table, and the attribute by which its items expire."""
    keys = {"region_name": "eu-west-1", "aws_access_key_id": "example", "aws_secret_access_key": "example"}
    with mock_aws():
        formation, dynamodb = boto3.client("cloudformation", **keys), boto3.client("dynamodb", **keys)
        formation.create_stack(StackName="ledger", TemplateBody=(INFRA / "cloudformation" / "ledger.yaml").read_text())
        (name,) = dynamodb.list_tables()["TableNames"]
        table = dynamodb.describe_table(TableName=name)["Table"]
        (output,) = formation.describe_stacks(StackName="ledger")["Stacks"][0]["Outputs"]
    assert table["KeySchema"] == [{"AttributeName": "pk", "KeyType": "HASH"}]
    assert table["AttributeDefinitions"] == [{"AttributeName": "pk", "AttributeType": "S"}]
    assert table["BillingModeSummary"] == {"BillingMode": "PAY_PER_REQUEST"}
    assert output == {**output, "OutputKey": "LedgerTableArn", "OutputValue": table["TableArn"]}
    properties = template(INFRA / "cloudformation" / "ledger.yaml")["Resources"]["Table"]["Properties"]
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}


def test_the_task_has_an_init_process_and_no_public_address(rendered):
    assert rendered["LinuxParameters"]["InitProcessEnabled"] is True
    assert template(SERVICE)["Parameters"]["AssignPublicIp"]["Default"] == "DISABLED"


def test_the_health_check_asks_for_life_where_the_configuration_answers(rendered, environment):
    """It uses only what the image has: Python, whose exit code is the result."""
    check = ecs_container()["HealthCheck"]
    command, program, option, code = check["Command"]
    assert (command, program, option) == ("CMD", "python", "-c")
    assert f'("{environment["JIBE_HTTP__HOST"]}", {environment["JIBE_HTTP__PORT"]},' in code
    (allowed,) = re.findall(r"timeout=(\d+)", code)
    assert int(allowed) < check["Timeout"]


@pytest.mark.parametrize(("status", "exit_code"), [(200, 0), (503, 1)])
def test_the_health_check_fails_when_the_service_says_so(status, exit_code):
    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/livez" else 404)
            self.end_headers()

        def log_message(self, *_) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        code = ecs_container()["HealthCheck"]["Command"][3].replace(" 8080,", f" {server.server_port},")
        done = finished([sys.executable, "-c", code])
    assert done.returncode == exit_code


def test_a_failed_deployment_rolls_back():
    breaker = resource("Service")["DeploymentConfiguration"]["DeploymentCircuitBreaker"]
    assert breaker == {"Enable": True, "Rollback": True}
