"""Keys that differ in case alone share one name in Access Anywhere; that is noticed."""

from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.collisions import EXAMPLES, Collision, Collisions


def seen(*keys: str, bucket: str = "photos", most: int = 50_000) -> Collisions:
    collisions = Collisions(most=most)
    for key in keys:
        collisions.see(bucket, key)
    return collisions


def test_a_key_is_not_in_its_own_way():
    assert seen("a/B.txt", "a/B.txt", "a/B.txt").count == 0


def test_two_keys_that_differ_in_case_share_a_name():
    collisions = Collisions()
    assert not collisions.see("photos", "a/B.txt")
    assert collisions.see("photos", "a/b.txt")
    assert collisions.count == 1


def test_both_are_told_of_as_soon_as_both_are_seen_again():
    collisions = seen("a/B.txt", "a/b.txt")
    assert collisions.examples == [Collision("photos", ["a/b.txt"])]
    assert collisions.see("photos", "a/B.txt")
    assert collisions.examples == [Collision("photos", ["a/b.txt", "a/B.txt"])]


def test_a_name_is_counted_once_however_often_it_is_written():
    assert seen(*["a.txt", "A.txt"] * 100, "A.TXT").count == 1


def test_the_same_key_in_two_buckets_shares_nothing():
    collisions = seen("a.txt")
    assert not collisions.see("Photos", "A.txt")


def test_a_bucket_and_a_key_of_its_name_share_nothing_with_others():
    collisions = Collisions()
    assert [collisions.see(name, name) for name in ("a", "b", "c")] == [False] * 3


def test_folders_share_names_too():
    assert seen("Team/x", "team/y").examples == [Collision("photos", ["team/"])]


def test_a_key_and_its_folder_that_share_names_are_two():
    assert seen("Team/x", "team/x").count == 2


def test_a_folders_marker_is_the_folder():
    assert seen("Team/", "Team/x").count == 0


def test_folders_above_with_nothing_alike_below_are_not_told_apart():
    assert seen("Team/a/x", "team/b/x").count == 0


def test_what_was_renamed_in_case_by_a_delete_and_a_write_shares_nothing():
    collisions = seen("A.txt")
    collisions.forget("photos", "A.txt")
    assert not collisions.see("photos", "a.txt")


def test_of_two_that_shared_a_name_the_one_that_is_left_has_it_to_itself():
    collisions = seen("A.txt", "a.txt")
    collisions.forget("photos", "A.txt")
    assert not collisions.see("photos", "a.txt")
    assert collisions.see("photos", "A.txt")


def test_a_deletion_of_another_key_forgets_nothing():
    collisions = seen("A.txt")
    collisions.forget("photos", "a.TXT")
    collisions.forget("other", "A.txt")
    assert collisions.see("photos", "a.txt")


def test_what_was_seen_lately_is_remembered_and_never_more_than_so_much():
    collisions = seen(*(f"{n}.txt" for n in range(1000)), most=100)
    assert len(collisions._new) + len(collisions._old) <= 100
    assert all(collisions.see("photos", f"{n}.TXT") for n in range(999, 949, -1))
    assert not collisions.see("photos", "1.TXT")


def test_what_is_seen_again_is_not_forgotten():
    collisions = Collisions(most=100)
    collisions.see("photos", "Kept")
    for n in range(1000):
        collisions.see("photos", str(n))
        if n % 40 == 0:
            collisions.see("photos", "Kept")
    assert collisions.see("photos", "kept")


def test_the_first_few_are_told_of_and_all_are_counted():
    collisions = seen(*(name for n in range(100) for name in (f"a{n}", f"A{n}")))
    assert collisions.count == 100
    assert [each.names for each in collisions.examples] == [[f"A{n}"] for n in range(EXAMPLES)]


def test_spellings_of_one_name_do_not_pile_up():
    names = ["".join(c.upper() if n >> i & 1 else c for i, c in enumerate("abcdefgh")) for n in range(256)]
    assert len(seen(*names).examples[0].names) == EXAMPLES


@given(st.lists(st.text(alphabet="aAbBéÉß/", max_size=5), max_size=30))
def test_whoever_writes_two_keys_that_fold_to_one_hears_of_it_and_nobody_else_does(keys):
    def names(key):
        return {key, key[: key.rfind("/") + 1]} - {""}

    collisions, before = Collisions(), set()
    for key in keys:
        shares = any(a != b and a.casefold() == b.casefold() for a in names(key) for b in before)
        assert collisions.see("b", key) <= shares
        if any(key != b and key.casefold() == b.casefold() for b in before):
            assert collisions.count
        before |= names(key)
