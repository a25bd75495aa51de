"""What the documentation names exists: commands, options, settings, files, links; and its examples work."""

import importlib
import importlib.util
import inspect
import json
import re
import shlex
import string
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
import typer
import yaml
from botocore import xform_name
from pydantic import BaseModel, SecretStr
from typer.testing import CliRunner

from jibe_sqs.adapters.access_anywhere.flow import circuit
from jibe_sqs.cli.app import app
from jibe_sqs.consuming import bucket_outages, consumer
from jibe_sqs.settings import Settings, load
from jibe_sqs.syncing import bucket_map

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
GENERATED = {"bad-input.md", "formats.md", "formats.in.md"}
"""Pages that quote input, in which paths and commands are not ours."""
WRITTEN = [page for page in PAGES if page.name not in GENERATED]
TEMPLATES = ROOT / "infra" / "cloudformation"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
TO_BE_WRITTEN = "yandex_log"
"""Part of the names of files that the reader of docs/how-to/add-a-format.md writes."""
VARIABLES = {"CONFIG", "SECRETS_DIR", "ENDPOINT", "LOGIN", "PASSWORD"}
"""JIBE_ variables that are not settings of the model: where to read settings from, and Jibe's own three keys."""
EXAMPLES = {
    "ACCESS_ANYWHERE": "https://files.example.com",
    "BUCKET": "example-media",
    "FOLDER": "/Amazon S3/example-media",
    "LOG_BUCKET": "example-trail",
    "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/111122223333/jibe-log-delivery",
}
"""Values of the shell variables in configurations."""
AWS_OPTIONS = {"region", "query", "output"}
AWS_CUSTOM = {
    "cloudformation deploy": {"stack-name", "template-file", "parameter-overrides", "capabilities", "disable-rollback"},
    "cloudformation wait": {"stack-name"},
    "ecr get-login-password": set(),
    "logs tail": {"follow", "since"},
    "s3 cp": {"quiet"},
    "s3 mv": {"quiet"},
    "s3 rb": {"force"},
    "s3 rm": {"quiet", "recursive"},
}
"""Commands of the AWS CLI that are not operations of a service."""


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def each_page(pages: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", [pytest.param(page, id=named(page)) for page in pages])


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in FENCE.findall(page.read_text(encoding="utf-8")) if language in languages]


def inline(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", page.read_text(encoding="utf-8")))


def shell_commands(script: str) -> Iterator[list[str]]:
    """The simple commands of a shell script, each as its words."""
    script = re.sub(r"<<'?(\w+)'?\n.*?\n\1\n", "\n", script, flags=re.DOTALL).replace("\\\n", " ")
    script = re.sub(r"(^|\s)#.*$|\s\d?[<>]\s*[\w./-]+", "", script, flags=re.MULTILINE)
    lexer = shlex.shlex(script, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for token in [*lexer, "\n"]:
        if token.strip("();|&\n"):
            words.append(token)
            continue
        while words and re.match(r"\w+=", words[0]):
            del words[0]
        if words:
            yield words
        words = []


def shell(page: Path) -> list[list[str]]:
    return [words for script in blocks(page, "sh", "bash") for words in shell_commands(script)]


def called(words: list[str], program: str) -> bool:
    return words[0] == program or words[0].endswith(f"/{program}")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page(PAGES)
def test_each_link_leads_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        found = (page.parent / path) if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert not broken


def test_each_page_is_listed_in_the_index():
    linked = {(DOCS / target.partition("#")[0]).resolve() for target in re.findall(r"\]\(([^)\s]+)\)", index())}
    decisions = DOCS / "explanation" / "adr"
    pages = {page for page in DOCS.rglob("*.md") if page.parent != decisions and not page.name.endswith(".in.md")}
    assert sorted(map(named, pages - linked - {DOCS / "README.md"})) == []


def test_each_decision_is_listed():
    text = (DOCS / "explanation" / "adr" / "README.md").read_text(encoding="utf-8")
    records = {page.name for page in (DOCS / "explanation" / "adr").glob("0*.md")}
    assert set(re.findall(r"\]\((0[^)]+)\)", text)) == records


def index() -> str:
    return (DOCS / "README.md").read_text(encoding="utf-8")


@each_page(WRITTEN)
def test_no_command_has_a_comment(page):
    """An interactive zsh, the default of macOS, takes `#` for an argument."""
    text = page.read_text(encoding="utf-8")
    lines = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]
    assert not [line for line in lines if re.search(r"(^|\s)#(\s|$)", line)]


@each_page(WRITTEN)
def test_lines_of_prose_are_short_enough_to_read_in_an_editor(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    long = [line for line in text.splitlines() if len(line) > 130 and not re.match(r"\||    |.*\]\(", line)]
    assert not long


@each_page(WRITTEN)
def test_each_command_in_a_block_can_be_parsed(page):
    for words in shell(page):
        if called(words, "jibe-sqs"):
            parse(words[1:])


@each_page(WRITTEN)
def test_each_option_in_the_text_exists(page):
    for text in inline(page):
        words = text.split()
        if words and called(words, "jibe-sqs"):
            command, _, rest = leaf(words[1:])
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in rest if word.startswith("--")} <= known, text


def leaf(words: list[str]) -> tuple[typing.Any, str, list[str]]:
    """The command that these words call, its name, and its arguments."""
    command = typer.main.get_command(app)
    name = "jibe-sqs"
    rest = list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name, *rest = rest
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    return command, name, rest


def parse(words: list[str]) -> None:
    """Raises if a command does not exist, an option is unknown or a required one is missing."""
    command, name, rest = leaf(words)
    if not hasattr(command, "commands"):
        command.make_context(name, rest)


@each_page(WRITTEN)
def test_each_target_of_make_exists(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    words = [*shell(page), *(text.split() for text in inline(page) if text.startswith("make "))]
    for _, *arguments in (each for each in words if each[0] == "make"):
        for word in arguments:
            name, equals, _ = word.partition("=")
            assert f"$({name}" in makefile if equals else name in targets, word


@each_page(WRITTEN)
def test_each_module_that_python_runs_exists(page):
    for module in re.findall(r"python3? -m ([\w.]+)", page.read_text(encoding="utf-8")):
        assert importlib.util.find_spec(module) is not None, module


@each_page(WRITTEN)
def test_each_path_exists(page):
    missing = []
    for text in inline(page):
        if re.fullmatch(r"(src|tests|docs|infra|config|proof|bench|requirements)/[\w./-]*", text):
            missing += [] if (ROOT / text).exists() or TO_BE_WRITTEN in text else [text]
    assert not missing


@each_page(WRITTEN)
def test_each_variable_is_a_setting(page):
    for name in re.findall(r"\bJIBE_([A-Z][A-Z_]*[A-Z])\b", page.read_text(encoding="utf-8")):
        if name not in VARIABLES:
            assert is_setting(name.lower().split("__")), name


@each_page(WRITTEN)
def test_each_dotted_setting_exists(page):
    groups = {name for name, field in Settings.model_fields.items() if models(field.annotation)}
    for text in inline(page):
        if (
            re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", text)
            and text.split(".")[0] in groups
            and not text.endswith((".json", ".txt", ".amazonaws.com"))
        ):
            assert is_setting(text.split(".")), text


def is_setting(path: list[str], within: type[BaseModel] = Settings) -> bool:
    field = within.model_fields.get(path[0])
    if field is None:
        return False
    return len(path) == 1 or any(is_setting(path[1:], model) for model in models(field.annotation))


def models(annotation: object) -> list[type[BaseModel]]:
    """The models in an annotation, such as those in `list[QueueSettings] | None`."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) and annotation is not SecretStr else []
    return [model for each in typing.get_args(annotation) for model in models(each)]


def configurations() -> Iterator[tuple[str, str]]:
    for page in WRITTEN:
        for text in blocks(page, "json", "sh"):
            _, is_file, here = text.partition("cat > jibe-config.json <<EOF\n")
            body = here.partition("\nEOF")[0] if is_file else text
            if re.match(r'\{\s*"(access_anywhere|endpoint)"', body):
                yield named(page), string.Template(body).safe_substitute(EXAMPLES)


@pytest.mark.parametrize(("page", "text"), list(configurations()))
def test_each_complete_configuration_loads(tmp_path, monkeypatch, page, text):
    monkeypatch.setenv("JIBE_ACCESS_ANYWHERE__LOGIN", "jibe@example.com")
    monkeypatch.setenv("JIBE_ACCESS_ANYWHERE__PASSWORD", "PASSWORD")
    file = tmp_path / "jibe-config.json"
    file.write_text(text)
    assert load(Settings, config=str(file)).access_anywhere.endpoint


class Tagged(yaml.SafeLoader):
    """Reads templates, and takes `!Ref` and the like for what they are applied to."""


Tagged.add_multi_constructor("!", lambda loader, _, node: str(node.value))


def template(name: str) -> dict:
    return yaml.load((TEMPLATES / name).read_text(encoding="utf-8"), Tagged)


OUTPUTS = {output for each in TEMPLATES.glob("*.yaml") for output in template(each.name)["Outputs"]}


@each_page(WRITTEN)
def test_each_deployment_gives_the_parameters_that_its_template_has(page):
    files = [json.loads(text)["Parameters"] for text in blocks(page, "json") if '"Parameters"' in text]
    stacks: dict[str, set[str]] = {}
    for words in shell(page):
        if words[:3] != ["aws", "cloudformation", "deploy"]:
            continue
        parameters = template(Path(words[words.index("--template-file") + 1]).name)["Parameters"]
        given = words[words.index("--parameter-overrides") + 1 :] if "--parameter-overrides" in words else []
        names = {word.partition("=")[0] for word in given}
        if given and given[0].startswith("file://"):
            names = {name for file in files for name in file}
        assert names <= set(parameters)
        # A parameter that a later deployment of the stack does not name stays as it was.
        names |= stacks.get(stack := words[words.index("--stack-name") + 1], set())
        stacks[stack] = names
        assert {name for name, each in parameters.items() if "Default" not in each} <= names


@each_page(WRITTEN)
def test_each_output_of_a_stack_exists(page):
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"OutputKey=='(\w+)'", text) + re.findall(r"\$\(output jibe-\w+ (\w+)\)", text)
    assert set(found) <= OUTPUTS


@each_page(WRITTEN)
def test_each_command_of_the_aws_cli_exists(page):
    session = botocore.session.get_session()
    for words in (each for each in shell(page) if each[0] == "aws"):
        service, operation = words[1:3]
        options = {word[2:] for word in words[3:] if word.startswith("--")} - AWS_OPTIONS
        if f"{service} {operation}" in AWS_CUSTOM:
            known = AWS_CUSTOM[f"{service} {operation}"]
        else:
            model = session.get_service_model("s3" if service == "s3api" else service)
            operations = {xform_name(name, "-"): name for name in model.operation_names}
            shape = model.operation_model(operations[operation]).input_shape
            known = {xform_name(name, "-") for name in shape.members}
        assert options <= known, words


def test_each_sentence_of_the_health_page_is_explained():
    text = (DOCS / "how-to" / "monitor.md").read_text(encoding="utf-8")
    for state in (circuit.DOWN, circuit.REFUSES, circuit.PAUSES):
        assert f"| `Access Anywhere {state} since …` |" in text
    assert f"| `{bucket_map.NOT_LOOKED}…` |" in text
    for module, sentence in (
        (consumer, "Queue … cannot be received from"),
        (bucket_outages, "Log bucket … cannot be read"),
    ):
        assert f"| `{sentence} since …` |" in text
        assert sentence.partition("… ")[2] in inspect.getsource(module)


def test_the_architecture_names_code_that_exists():
    text = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\*\*Code:\*\*(.*?)\n\n", text, re.DOTALL | re.MULTILINE)
    numbered = [section for section in re.split(r"^##+ ", text, flags=re.MULTILINE) if re.match(r"\d", section)]
    assert numbered
    assert all("**Code:**" in section for section in numbered)
    for path, names in re.findall(r"`([\w/]+\.py)`(?:\s+\(([^)]*)\))?", " ".join(steps)):
        module = importlib.import_module("jibe_sqs." + path.removesuffix(".py").replace("/", "."))
        for name in re.findall(r"`([\w.]+)`", names):
            found: object = module
            for part in name.split("."):
                found = getattr(found, part)


def test_the_picture_of_the_flow_is_what_its_text_says():
    spec = importlib.util.spec_from_file_location("generate_flow", DOCS / "generate_flow.py")
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert (DOCS / "flow.svg").read_text(encoding="utf-8") == generator.generated()


def test_the_readme_shows_what_explain_prints(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "200")
    (words,) = (words for words in shell(ROOT / "README.md") if words[1] == "explain")
    ran = CliRunner().invoke(app, words[1:])
    shown = re.findall(r"^    (.*)$", FENCE.sub("", (ROOT / "README.md").read_text(encoding="utf-8")), re.MULTILINE)
    assert ran.exit_code == 0
    assert [line.rstrip() for line in ran.output.splitlines()] == shown


def test_the_example_of_a_sync_target_works():
    """The parent of the folder is refreshed as well, because the target asks for it. A tree loses what storage lost."""
    _, *example = blocks(DOCS / "how-to" / "add-a-sync-target.md", "python")
    names = {"__name__": "example"}
    for block in example:
        exec(block, names)
    assert names["after_folder"] == {"/media": ["a/"], "/media/a": ["hello.txt"]}
    assert names["after_tree"] == {"/media": ["b/"], "/media/b": ["c/"], "/media/b/c": ["new.txt"]}
