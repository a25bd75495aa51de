"""A waiting line: the newest first, and nobody waits for ever."""

import heapq

from hypothesis import given, settings
from hypothesis import strategies as st

from jibe_sqs.concurrency.newest_first import MIN_STALE, OLDEST_EACH, NewestFirst

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 50), st.none() | st.integers(0, 1000)),
        st.tuples(st.just("pop"), st.just(0), st.none()),
        st.tuples(st.just("renew"), st.integers(0, 10**6), st.integers(0, 1000)),
        st.tuples(st.just("remove"), st.integers(0, 10**6), st.none()),
    ),
    max_size=150,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_each_choice_is_the_newest_or_the_first_that_is_due(steps):
    """Under any order of arrivals, against a plain list."""
    line, model, pops, added = NewestFirst(), {}, 0, 0
    for kind, number, newest in steps:
        if kind == "add":
            added += 1
            due = added + number
            model[added] = [due, newest, line.add(added, due=due, newest=newest)]
        elif kind == "pop" and model:
            pops += 1
            item = line.pop()
            new = {key: each[1] for key, each in model.items() if each[1] is not None}
            first = min(model, key=lambda key: (model[key][0], key))
            if pops % OLDEST_EACH == 0 or not new:
                assert item == first
            else:
                assert new[item] == max(new.values())
            del model[item]
        elif model:
            key = sorted(model)[number % len(model)]
            if kind == "renew":
                line.renew(model[key][2], newest)
                model[key][1] = newest if model[key][1] is None else max(newest, model[key][1])
            elif kind == "remove":
                line.remove(model.pop(key)[2])
        assert len(line) == len(model)


@settings(max_examples=100, deadline=None)
@given(ahead=st.integers(0, 60), arrivals=st.lists(st.integers(0, 5), max_size=400), data=st.data())
def test_an_entry_starts_within_its_bound_whatever_newer_ones_come(ahead, arrivals, data):
    line = NewestFirst()
    for number in range(ahead):
        line.add(number, due=number, newest=data.draw(st.none() | st.integers(0, 100)))
    line.add("old", due=ahead, newest=data.draw(st.none() | st.just(0)))
    time = choices = 0
    for new in [*arrivals, *[3] * OLDEST_EACH * (ahead + 1)]:
        for _ in range(new):
            time += 1
            line.add(time, due=ahead + time, newest=1000 + time)
        choices += 1
        if line.pop() == "old":
            break
    assert choices <= OLDEST_EACH * (ahead + 1)


def test_a_line_that_never_empties_keeps_only_what_waits():
    """Newer ones come as fast as entries are taken: the heaps must not grow for ever."""
    line = NewestFirst()
    entries = [line.add(number, due=number, newest=number) for number in range(100)]
    for number in range(100, 50_000):
        line.add(number, due=number, newest=number)
        line.pop()
        if entries[50].is_waiting:
            line.renew(entries[50], 0.5 + number)
    assert len(line) == 100
    assert max(len(line._by_due), len(line._by_newest)) <= 2 * 100 + MIN_STALE + 1
    assert heapq.nsmallest(1, line._by_due)
