"""The Terraform modules: parsed, because the provider, which `terraform validate` needs, cannot be had everywhere.

So this finds syntax errors, names that lead nowhere, and differences from the CloudFormation templates, but no attribute that the
provider does not know.
"""

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import pytest
from tests.acceptance.test_deployment_files import template

from jibe_sqs.compose.needed_permissions import CHECK

ROOT = Path(__file__).parents[2]
TERRAFORM = ROOT / "infra" / "terraform"
FOLDERS = sorted({path.parent for path in TERRAFORM.rglob("*.tf")})
MODULES = [folder for folder in FOLDERS if folder.parent.name == "modules"]
_COMMENT = re.compile(r"^\s*#.*$|[ \t]#[^\"\n]*$", re.MULTILINE)
_REFERENCE = re.compile(r"(?<![\w.\"])(var|local|module|data\.aws_\w+|aws_\w+)\.([a-zA-Z_]\w*)(?:\.(\w+))?")


@functools.cache
def parsed(path: Path) -> dict[str, Any]:
    return hcl2.loads(path.read_text())


def text_of(folder: Path) -> str:
    return "\n".join(_COMMENT.sub("", path.read_text()) for path in sorted(folder.glob("*.tf")))


def blocks(folder: Path, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of each block of a kind. A resource's name is `aws_sqs_queue.queue`."""
    for path in sorted(folder.glob("*.tf")):
        for block in parsed(path).get(kind, []):
            for first, content in block.items():
                if first.startswith("__"):
                    continue
                if kind in ("resource", "data"):
                    for second, inner in content.items():
                        if not second.startswith("__"):
                            yield f"{plain(first)}.{plain(second)}", inner
                else:
                    yield plain(first), content


def plain(text: str) -> str:
    return text.strip('"')


def names(folder: Path, kind: str) -> set[str]:
    return {name for name, _ in blocks(folder, kind)}


def declared_locals(folder: Path) -> set[str]:
    found = set()
    for path in folder.glob("*.tf"):
        for block in parsed(path).get("locals", []):
            found |= {plain(name) for name in block if not name.startswith("__")}
    return found


def dangling(folder: Path) -> set[str]:
    """The references of a folder that lead nowhere."""
    variables, values = names(folder, "variable"), declared_locals(folder)
    resources, sources = names(folder, "resource"), names(folder, "data")
    outputs = {
        name: names((folder / plain(content["source"])).resolve(), "output")
        for name, content in blocks(folder, "module")
    }
    found = set()
    for where, name, attribute in _REFERENCE.findall(text_of(folder)):
        match where:
            case "var":
                is_known = name in variables
            case "local":
                is_known = name in values
            case "module":
                is_known = attribute in outputs.get(name, ())
            case _ if where.startswith("data."):
                is_known = f"{where.removeprefix('data.')}.{name}" in sources
            case _:
                is_known = f"{where}.{name}" in resources
        if not is_known:
            found.add(f"{where}.{name}" + (f".{attribute}" if attribute else ""))
    return found


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_each_reference_leads_to_something_declared(folder):
    assert dangling(folder) == set()


def test_a_reference_that_leads_nowhere_is_found(tmp_path):
    (tmp_path / "main.tf").write_text(
        'variable "a" {}\n'
        'resource "aws_sqs_queue" "q" {\n  name = var.b\n  arn = aws_sqs_queue.r.arn\n  x = local.c\n'
        "  y = data.aws_region.here.name\n  z = var.a\n}\n"
    )
    assert dangling(tmp_path) == {"var.b", "aws_sqs_queue.r.arn", "local.c", "data.aws_region.here.name"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_each_variable_is_described_typed_and_used(folder):
    text = text_of(folder)
    for name, content in blocks(folder, "variable"):
        assert plain(content["description"]).endswith((".", '"')), name
        assert content["type"], name
        assert re.search(rf"\bvar\.{name}\b", text), f"{name} is not used"
    for name, content in blocks(folder, "output"):
        assert content["description"], name
        assert content["value"], name


@pytest.mark.parametrize("folder", MODULES, ids=lambda path: path.name)
def test_each_module_says_which_provider_it_needs(folder):
    (terraform,) = parsed(folder / "versions.tf")["terraform"]
    assert plain(terraform["required_version"]) == ">= 1.5"
    assert terraform["required_providers"]


def test_the_example_gives_each_module_what_it_requires_and_nothing_else():
    folder = TERRAFORM / "examples" / "one-region"
    used = set()
    for name, content in blocks(folder, "module"):
        module = (folder / plain(content["source"])).resolve()
        used.add(module)
        variables = dict(blocks(module, "variable"))
        given = {key for key in content if not key.startswith("__")} - {"source", "depends_on"}
        required = {variable for variable, about in variables.items() if "default" not in about}
        assert required <= given <= set(variables), name
    assert used == set(MODULES)


def actions(text: str) -> set[str]:
    return set(
        re.findall(
            r'"((?:sqs|s3|s3express|dynamodb|ssm|secretsmanager|kms|sns|sts|logs|ecr|cloudtrail|cloudtrail-data):[A-Z]\w+)"',
            text,
        )
    )


def test_the_roles_may_do_what_the_cloudformation_template_grants():
    """They are for the same program. `jibe-sqs check` is for an operator's machine."""
    granted = set()
    for role in ("TaskRole", "ExecutionRole"):
        granted |= set(
            re.findall(
                r"'([a-z0-9-]+:[A-Z]\w+)'", str(template(ROOT / "infra/cloudformation/service.yaml")["Resources"][role])
            )
        )
    ours = actions(text_of(TERRAFORM / "modules" / "service"))
    assert "sqs:ReceiveMessage" in ours
    conditions = {each for each in granted if each.startswith("aws:")} | {
        "kms:ViaService",
        "s3:ResourceAccount",
        "s3express:SessionMode",
    }
    assert ours - conditions == granted - conditions - (set(CHECK) - {"sqs:GetQueueAttributes"}) - {"dynamodb:Scan"}


def test_keys_are_used_only_through_the_services_that_encrypt():
    statements = text_of(TERRAFORM / "modules" / "service").split('dynamic "statement"')
    using_keys = [each for each in statements if '"kms:' in each.split("condition {")[0]]
    assert len(using_keys) == 2
    assert all('variable = "kms:ViaService"' in each for each in using_keys)


def test_a_list_that_may_be_empty_makes_no_statement_without_resources():
    """IAM refuses one. Such a list is in a dynamic statement."""
    used = set()
    for _, document in blocks(TERRAFORM / "modules" / "service", "data"):
        for statement in document.get("statement", []):
            used |= set(re.findall(r"var\.(\w+)", str(statement.get("resources"))))
    assert used == {"queue_arns", "account_secret_arn"}


@pytest.mark.parametrize("module", ["central", "region", "trail"])
def test_queues_topics_and_log_buckets_refuse_plain_http(module):
    folder = TERRAFORM / "modules" / module
    documents = dict(blocks(folder, "data"))
    policies = [content for name, content in documents.items() if name.startswith("aws_iam_policy_document.")]
    assert policies
    for document in policies:
        (denied,) = [each for each in document["statement"] if plain(each["sid"]) == "OnlyOverTls"]
        assert plain(denied["effect"]) == "Deny"
        (condition,) = denied["condition"]
        assert plain(condition["variable"]) == "aws:SecureTransport"


def test_each_service_that_may_send_or_publish_is_bound_to_a_source():
    for module in ("central", "region", "trail"):
        for name, document in blocks(TERRAFORM / "modules" / module, "data"):
            if not name.startswith("aws_iam_policy_document."):
                continue
            for statement in document["statement"]:
                if plain(statement.get("effect", "Allow")) != "Allow":
                    continue
                bound = {plain(each["variable"]) for each in statement["condition"]}
                assert bound & {"aws:SourceArn", "aws:SourceAccount"}, (name, statement["sid"])


def test_each_alarm_says_what_missing_data_means():
    alarms = [
        content
        for folder in MODULES
        for name, content in blocks(folder, "resource")
        if name.startswith("aws_cloudwatch_metric_alarm.")
    ]
    assert len(alarms) >= 4
    for alarm in alarms:
        assert plain(alarm["treat_missing_data"]) in ("breaching", "notBreaching")
        assert alarm["alarm_description"]


def test_terraform_would_format_the_files_as_they_are():
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("no terraform here")
    done = subprocess.run(
        [terraform, "fmt", "-check", "-recursive", str(TERRAFORM)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
