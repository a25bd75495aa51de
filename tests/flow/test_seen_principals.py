"""The principals that the status page shows."""

from jibe_sqs.core.decisions import Decisions, OwnWrites
from jibe_sqs.core.model import Actor
from jibe_sqs.core.principals import Seen
from jibe_sqs.telemetry import principals
from jibe_sqs.telemetry.principals import SeenPrincipals, merged_principals
from jibe_sqs.telemetry.status import PrincipalStatus

RULES = Decisions(own=OwnWrites(user_agents=("AA/*",))).own_write_rule


def test_the_most_active_principals_come_first_with_their_rules():
    seen = SeenPrincipals(RULES)
    seen.observe({"ana": Seen(1, 2, 3), "aa": Seen(1, 2, 9, actor=Actor("aa", user_agent="AA/1"))})
    seen.observe({"ana": Seen(1, 5, 1), "viewer": Seen(1, 2, 0, 100)})
    assert seen.statuses(3) == [
        PrincipalStatus(name="aa", count=9, last=2, rule="own_writes.user_agents: AA/*"),
        PrincipalStatus(name="ana", count=4, last=5),
        PrincipalStatus(name="viewer", count=100, last=2, only_reads=True),
    ]
    assert [each.name for each in seen.statuses(1)] == ["aa"]


def test_the_principal_that_was_seen_least_recently_gives_way(monkeypatch):
    monkeypatch.setattr(principals, "MAX_PRINCIPALS", 2)
    seen = SeenPrincipals(RULES)
    for number, name in enumerate("abcd"):
        seen.observe({name: Seen(number, number)})
    assert {each.name for each in seen.statuses()} == {"c", "d"}


def test_a_file_with_thousands_of_new_principals_does_not_hold_up_the_others():
    """Each name is compared with all others a few times in all, not for each new one."""
    seen = SeenPrincipals(RULES)
    looked_at = 0

    class Counted(Seen):
        def __getattribute__(self, name):
            nonlocal looked_at
            looked_at += name == "last"
            return super().__getattribute__(name)

    seen.observe({f"old {number}": Seen(number, number) for number in range(principals.MAX_PRINCIPALS)})
    seen._seen = {name: Counted(each.first, each.last) for name, each in seen._seen.items()}
    seen.observe({f"new {number}": Seen(number, 10_000) for number in range(5000)})
    assert looked_at <= 5 * principals.MAX_PRINCIPALS


def test_the_principals_of_workers_are_added():
    """A principal that writes in one worker does not only read."""
    one = [PrincipalStatus(name="ana", count=2, last=1), PrincipalStatus(name="bo", count=9, last=1, only_reads=True)]
    two = [PrincipalStatus(name="bo", count=1, last=3), PrincipalStatus(name="ana", count=3, last=7)]
    assert merged_principals([one, two]) == [
        PrincipalStatus(name="ana", count=5, last=7),
        PrincipalStatus(name="bo", count=1, last=3),
    ]
