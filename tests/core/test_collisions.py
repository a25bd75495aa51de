"""Keys that differ only in case collide in Access Anywhere. Collisions are found."""

from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.collisions import EXAMPLES, MAX_LENGTH, Collision, Collisions


def seen(*keys: str, bucket: str = "photos", max_names: int = 50_000) -> Collisions:
    collisions = Collisions(max_names=max_names)
    for key in keys:
        collisions.see(bucket, key)
    return collisions


def test_a_key_does_not_collide_with_itself():
    assert seen("a/B.txt", "a/B.txt", "a/B.txt").count == 0


def test_two_keys_that_differ_only_in_case_collide():
    collisions = Collisions()
    assert not collisions.see("photos", "a/B.txt")
    assert collisions.see("photos", "a/b.txt")
    assert collisions.count == 1


def test_the_first_name_is_in_the_example_after_it_is_seen_again():
    collisions = seen("a/B.txt", "a/b.txt")
    assert collisions.examples == [Collision("photos", ["a/b.txt"])]
    assert collisions.see("photos", "a/B.txt")
    assert collisions.examples == [Collision("photos", ["a/b.txt", "a/B.txt"])]


def test_a_collision_is_counted_once_for_any_number_of_writes():
    assert seen(*["a.txt", "A.txt"] * 100, "A.TXT").count == 1


def test_keys_of_two_buckets_do_not_collide():
    collisions = seen("a.txt")
    assert not collisions.see("Photos", "A.txt")


def test_a_key_with_the_name_of_its_bucket_does_not_collide():
    collisions = Collisions()
    assert [collisions.see(name, name) for name in ("a", "b", "c")] == [False] * 3


def test_folders_that_differ_only_in_case_collide():
    assert seen("Team/x", "team/y").examples == [Collision("photos", ["team/"])]


def test_a_key_and_its_folder_are_two_collisions():
    assert seen("Team/x", "team/x").count == 2


def test_a_folder_marker_does_not_collide_with_its_folder():
    assert seen("Team/", "Team/x").count == 0


def test_folders_further_up_are_not_compared():
    assert seen("Team/a/x", "team/b/x").count == 0


def test_a_rename_in_case_by_a_delete_and_a_write_is_not_a_collision():
    collisions = seen("A.txt")
    collisions.forget("photos", "A.txt")
    assert not collisions.see("photos", "a.txt")


def test_after_a_delete_the_other_key_no_longer_collides():
    collisions = seen("A.txt", "a.txt")
    collisions.forget("photos", "A.txt")
    assert not collisions.see("photos", "a.txt")
    assert collisions.see("photos", "A.txt")


def test_the_deletion_of_another_key_changes_nothing():
    collisions = seen("A.txt")
    collisions.forget("photos", "a.TXT")
    collisions.forget("other", "A.txt")
    assert collisions.see("photos", "a.txt")


def test_the_last_names_are_kept_up_to_the_limit():
    collisions = seen(*(f"{n}.txt" for n in range(1000)), max_names=100)
    assert len(collisions._new) + len(collisions._old) <= 100
    assert all(collisions.see("photos", f"{n}.TXT") for n in range(999, 949, -1))
    assert not collisions.see("photos", "1.TXT")


def test_a_name_that_is_seen_again_is_kept():
    collisions = Collisions(max_names=100)
    collisions.see("photos", "Kept")
    for n in range(1000):
        collisions.see("photos", str(n))
        if n % 40 == 0:
            collisions.see("photos", "Kept")
    assert collisions.see("photos", "kept")


def test_the_first_few_collisions_are_examples_and_all_are_counted():
    collisions = seen(*(name for n in range(100) for name in (f"a{n}", f"A{n}")))
    assert collisions.count == 100
    assert [each.names for each in collisions.examples] == [[f"A{n}"] for n in range(EXAMPLES)]


def test_the_names_of_one_example_are_limited():
    names = ["".join(c.upper() if n >> i & 1 else c for i, c in enumerate("abcdefgh")) for n in range(256)]
    assert len(seen(*names).examples[0].names) == EXAMPLES


def test_the_examples_are_bounded_in_characters_also_with_endless_names():
    collisions = seen(*(f"{'x' * 10_000}{n}{letter}" for n in range(3) for letter in "aA"), bucket="b" * 10_000)
    assert collisions.count == 3
    assert [each.names for each in collisions.examples] == [[f"…{'x' * (MAX_LENGTH - 3)}{n}A"] for n in range(3)]
    assert all(len(each.bucket) == MAX_LENGTH for each in collisions.examples)


@given(st.lists(st.text(alphabet="aAbBéÉß/", max_size=5), max_size=30))
def test_only_keys_that_differ_in_case_from_an_earlier_name_collide(keys):
    def names(key):
        return {key, key[: key.rfind("/") + 1]} - {""}

    collisions, before = Collisions(), set()
    for key in keys:
        shares = any(a != b and a.casefold() == b.casefold() for a in names(key) for b in before)
        assert collisions.see("b", key) <= shares
        if any(key != b and key.casefold() == b.casefold() for b in before):
            assert collisions.count
        before |= names(key)
