"""The generated pages of docs/reference are up to date, and no setting, command, error or log event is missing in them."""

import pytest
from docs.generate import commands, configuration, log_events
from docs.generate.document import same_names
from docs.generate.format_example import explained
from docs.generate.format_logs import logs
from docs.generate.format_messages import messages
from docs.generate.pages import PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_up_to_date(page):
    """If it is not, run `make docs`."""
    assert page.text() == page.path.read_text(encoding="utf-8")


def test_only_the_examples_about_failures_fail():
    failing = [example.title for example in (*messages(), *logs()) if '"error"' in explained(example)]
    assert failing == [
        "S3 event with a record that cannot be read",
        "Something else",
        "Seagate Lyve Cloud's audit log",
        "A file that ends early",
    ]


@pytest.mark.parametrize("setting", list(configuration.settings()), ids=lambda setting: setting.name)
def test_every_setting_has_a_description(setting):
    description = setting.schema.get("description", "")
    assert description
    assert not description.endswith(".")


def test_settings_in_lists_and_nested_groups_are_found():
    names = {setting.name: setting.variable for setting in configuration.settings()}
    assert names["queues.role_arn"] == "in JIBE_QUEUES"
    assert names["buckets.folder"] == "in JIBE_BUCKETS"
    assert names["sync.batch.size"] == "JIBE_SYNC__BATCH__SIZE"
    assert names["drain_timeout"] == "JIBE_DRAIN_TIMEOUT"


def test_commands_in_groups_are_found():
    assert {"jibe-sqs", "jibe-sqs run", "jibe-sqs dead-letters redrive"} <= dict(commands.commands()).keys()


def test_an_option_with_choices_lists_them_and_a_flag_has_no_value():
    lines = commands.PAGE.text().splitlines()
    assert (
        "| `--strategy` | `refresh` or `provider-event` | `refresh` | How Access Anywhere learns of changes. |" in lines
    )
    assert "| `--consume` |  |  | Run a consumer, too. |" in lines
    assert "jibe-sqs explain [OPTIONS] [FILE…]" in lines


def test_events_with_names_or_levels_in_variables_are_found():
    found = log_events.events()
    assert {"stopped", "bad_records_skipped", "ledger_unreadable"} <= found.keys()
    assert found["swept"].levels == {"debug", "info"}


@pytest.mark.parametrize(("written", "actual"), [(["a"], ["a", "b"]), (["a", "b"], ["a"])])
def test_a_handwritten_table_with_missing_or_unknown_names_is_an_error(written, actual):
    with pytest.raises(ValueError, match=r"table\.toml: .*\['b'\]"):
        same_names(written, iter(actual), "table.toml")
