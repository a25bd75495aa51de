"""The principals, their rules, and what suggests that one is Access Anywhere. Their names come from log files, and may contain any text."""

import io
import json

import pytest

from jibe_sqs.commands import principals
from jibe_sqs.core.decisions import Decisions, OwnWrites
from jibe_sqs.core.identities import identities
from jibe_sqs.core.model import UNKNOWN_TIME, Actor, Kind, ObjectEvent, SkipReason, Unchanged
from jibe_sqs.core.principals import MAX_ACTOR_LENGTH, Principals, Seen

HOSTILE = "ana\x1b]0;owned\x07\x9b2J[red]"
SEEN = {"AIDAEXAMPLE": Seen(1.0, 2.0, 3), HOSTILE: Seen(1.0, 2.0, 30)}
ROLE = "arn:aws:iam::111122223333:role/service/viewer"
SESSION = "arn:aws:sts::111122223333:assumed-role/viewer"
ADDRESSES = {"192.0.2.9": "files.example.com"}
NO_RULES = Decisions().own_write_rule


def found(seen, own=None, addresses=None):
    return {each.name: each for each in identities(seen, Decisions(own=own).own_write_rule, addresses)}


def text_of(seen, own=None, **more):
    output = io.StringIO()
    principals.as_table(identities(seen, Decisions(own=own).own_write_rule, ADDRESSES), output, **more)
    return output.getvalue()


def test_a_table_contains_no_control_characters_and_no_markup():
    _, first, second, *_ = (text := text_of(SEEN)).splitlines()
    assert "ana\N{REPLACEMENT CHARACTER}]0;owned" in first
    assert "[red]" in first
    assert "AIDAEXAMPLE" in second
    assert all(character.isprintable() for character in text.replace("\n", ""))


def test_json_lines_contain_the_original_names():
    output = io.StringIO()
    principals.as_lines(identities(SEEN, NO_RULES), output)
    assert [json.loads(line)["principal"] for line in output.getvalue().splitlines()] == [HOSTILE, "AIDAEXAMPLE"]


def test_the_table_fits_80_columns():
    seen = {f"arn:aws:iam::111122223333:role/{'a-long-name-' * n}": Seen(1e9, 1.7e9, 10**n) for n in range(8)}
    own = OwnWrites(session_issuers=("arn:aws:iam::111122223333:role/*",))
    lines = text_of(seen, own).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.strip().startswith("own_writes.session_issuers") for line in lines)


def test_each_principal_has_the_rule_that_matches_it():
    own = OwnWrites(principals=("arn:aws:iam::1:user/aa",), session_issuers=("*/viewer",), user_agents=("AA/*",))
    seen = {
        "arn:aws:iam::1:user/aa": Seen(1, 2),
        ROLE: Seen(1, 2),
        "agent": Seen(1, 2, actor=Actor("agent", user_agent="AA/1")),
        "other": Seen(1, 2),
    }
    assert {name: each.rule for name, each in found(seen, own).items()} == {
        "arn:aws:iam::1:user/aa": "own_writes.principals: arn:aws:iam::1:user/aa",
        ROLE: "own_writes.session_issuers: */viewer",
        "agent": "own_writes.user_agents: AA/*",
        "other": "",
    }


def test_the_sessions_that_earlier_releases_recorded_are_one_principal_with_their_role():
    seen = {f"{SESSION}/one": Seen(5, 6, 2), ROLE: Seen(1, 4, 3, 7), f"{SESSION}/two": Seen(2, 9, 4)}
    assert [(each.name, each.seen) for each in identities(seen, NO_RULES)] == [(ROLE, Seen(1, 9, 9, 7))]
    [alone] = identities({f"{SESSION}/one": Seen(5, 6, 2)}, NO_RULES)
    assert alone.name == "arn:aws:iam::111122223333:role/viewer"


@pytest.mark.parametrize(
    ("name", "actor", "reason"),
    [
        ("arn:aws:iam::1:user/access-anywhere", Actor(), "name"),
        ("arn:aws:iam::1:user/x", Actor("arn:aws:iam::1:user/x", user_agent="Storage Made Easy/3"), "user agent"),
        ("AKIA1", Actor(access_key="AKIA1", source_address="192.0.2.9"), "the address of files.example.com"),
    ],
)
def test_what_looks_like_access_anywhere_is_suggested_with_its_reason(name, actor, reason):
    one = found({name: Seen(1, 2, actor=actor), "other": Seen(1, 2)}, addresses=ADDRESSES)[name]
    assert one.is_suggested
    assert reason in one.evidence[0]
    setting = {"access_keys": [name]} if name == "AKIA1" else {"principals": [name]}
    assert one.own_writes == setting


def test_the_only_principal_that_changes_and_reads_is_perhaps_access_anywhere():
    seen = {ROLE: Seen(1, 2, 1, 1), "writer": Seen(1, 2, 9), "reader": Seen(1, 2, 0, 9)}
    assert [each.name for each in found(seen).values() if each.is_suggested] == [ROLE]
    text = text_of(seen, has_readers=True)
    assert "Perhaps Access Anywhere" in text
    assert json.loads(text[text.index("{") :]) == {"own_writes": {"session_issuers": [ROLE]}}
    seen["another"] = Seen(1, 2, 1, 1)
    assert not any(each.is_suggested for each in found(seen).values())


def test_a_principal_that_a_rule_matches_is_not_suggested_again():
    name = "arn:aws:iam::1:user/access-anywhere"
    text = text_of({name: Seen(1, 2), "other": Seen(1, 2)}, OwnWrites(principals=(name,)))
    assert "own_writes matches 1 of 2" in text
    assert "Probably" not in text


def test_a_name_that_is_a_pattern_is_not_suggested():
    """A user whose name is chosen by somebody else would make all changes look like Access Anywhere's."""
    assert not any(each.is_suggested for each in found({"access-anywhere*": Seen(1, 2), "other": Seen(1, 2)}).values())


def test_the_setting_to_paste_contains_no_control_characters():
    text = text_of({"access-anywhere\x9b2J\u202e": Seen(1, 2)})
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert json.loads(text[text.index("{") :]) == {"own_writes": {"principals": ["access-anywhere\x9b2J\u202e"]}}


# Collected


def change(actor, time=5.0):
    return ObjectEvent(Kind.WRITTEN, "b", "k", time, actor=actor)


def read(actor, time=5.0):
    return Unchanged(SkipReason.READ_ONLY, "b", "k", time, actor=actor)


def test_changes_and_reads_of_a_role_are_one_principal_with_one_session_as_example():
    kept = Principals()
    one, two = Actor(f"{SESSION}/one", session_issuer=ROLE), Actor(f"{SESSION}/two", session_issuer=ROLE)
    kept.add_change(change(one, 5.0))
    kept.add_read(read(two, 3.0))
    kept.add_read(read(two, 9.0))
    kept.add_change(change(one, UNKNOWN_TIME))
    kept.add_read(read(None))
    assert kept.all == {ROLE: Seen(3.0, 9.0, 1, 2, two)}


def test_the_ids_of_sessions_in_notifications_are_one_principal():
    kept = Principals()
    for session in "ab":
        kept.add_change(change(Actor(f"AWS:AROAEXAMPLE:{session}")))
    assert {name: seen.count for name, seen in kept.all.items()} == {"AWS:AROAEXAMPLE": 2}
    [one] = identities(kept.all, NO_RULES)
    assert one.own_writes == {"principals": ["AWS:AROAEXAMPLE:*"]}


def test_a_long_user_agent_takes_no_memory():
    kept = Principals()
    kept.add_change(change(Actor("ana", user_agent="x" * 10**6)))
    assert kept.all["ana"].actor == Actor("ana")
    assert kept.size < 2 * MAX_ACTOR_LENGTH
