"""The dictionary of who, on a real database."""

import base64
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier

import pytest
import sqlalchemy

from services.events.domain import UserKind, Who
from services.events.users import UserDictionary
from shared.encryption import BlindIndex, DecryptionError, Keyring

KEY, OTHER_KEY = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
BOUNDS = {
    UserKind.USER: range(1, 2**29),
    UserKind.ANONYMOUS: range(2**29, 2**30),
    UserKind.SESSION: range(2**30, 2**31),
}

Make = Callable[..., UserDictionary]


@pytest.fixture
def dictionary(engine: sqlalchemy.Engine) -> Make:
    def make(*, keys: str = f"1:{KEY}", index: str = KEY, size: int = 1_000) -> UserDictionary:
        return UserDictionary(engine, Keyring.parse(keys), BlindIndex.parse(index), size)

    return make


def people(kind: UserKind, *names: object) -> list[Who]:
    return [(kind, str(name)) for name in names]


def rows(engine: sqlalchemy.Engine) -> list[sqlalchemy.Row[tuple[object, ...]]]:
    with engine.connect() as connection:
        return list(connection.execute(sqlalchemy.text("SELECT * FROM users ORDER BY user_key")).all())


def test_one_id_of_three_kinds_is_three_people(dictionary: Make) -> None:
    everybody = [(kind, "same") for kind in UserKind]
    keys = dictionary().keys(everybody)
    assert len(set(keys.values())) == 3
    for (kind, _), key in keys.items():
        assert key in BOUNDS[kind]
    assert dictionary().read(keys.values()) == {key: who for who, key in keys.items()}


def test_ids_that_look_like_another_kind_do_not_collide(dictionary: Make) -> None:
    everybody = [
        (UserKind.USER, "2:a"),
        (UserKind.ANONYMOUS, "a"),
        (UserKind.USER, "a"),
        (UserKind.USER, "1:a"),
    ]
    assert len(set(dictionary().keys(everybody).values())) == 4


@pytest.mark.parametrize("kind", UserKind)
def test_keys_are_dense(dictionary: Make, kind: UserKind) -> None:
    first, again = dictionary(), dictionary()  # two replicas, the second with an empty cache
    first.keys(people(kind, *range(10)))
    again.keys(people(kind, *range(5, 15)))
    first.keys(people(kind, *range(20)))
    keys = again.keys(people(kind, *range(20)))
    start = BOUNDS[kind].start
    assert sorted(keys.values()) == list(range(start, start + 20))


def test_eight_writers_agree_about_everybody(dictionary: Make, engine: sqlalchemy.Engine) -> None:
    together = Barrier(8)
    everybody = [who for kind in UserKind for who in people(kind, *range(100))]

    def make(number: int) -> dict[Who, int]:
        mine = dictionary(size=50)
        shuffled = Random(number).sample(everybody, len(everybody))
        together.wait(timeout=30)
        found: dict[Who, int] = {}
        for start in range(0, len(shuffled), 60):
            found |= mine.keys(shuffled[start : start + 60])
        return found

    with ThreadPoolExecutor(8) as writers:
        first, *others = writers.map(make, range(8))
    assert set(first) == set(everybody)
    assert all(other == first for other in others)
    assert [row.user_key for row in rows(engine)] == sorted(first.values())


def test_nothing_stored_contains_an_id_or_a_hash_anybody_can_make(
    dictionary: Make, engine: sqlalchemy.Engine
) -> None:
    name = "ann.example@example.org"
    dictionary().keys([(kind, name) for kind in UserKind])
    guesses = [
        name.encode(),
        name[:8].encode(),
        name.encode().hex().encode(),
        base64.b64encode(name.encode())[:-4],
    ]
    for prefix in ("", "1:", "2:", "3:"):
        text = (prefix + name).encode()
        guesses += [hashlib.blake2b(text, digest_size=16).digest(), hashlib.sha256(text).digest()[:16]]
    for row in rows(engine):
        for column in row:
            stored = column if isinstance(column, bytes) else repr(column).encode()
            assert not any(guess in stored for guess in guesses)


def test_equal_ids_of_different_kinds_look_unrelated(dictionary: Make, engine: sqlalchemy.Engine) -> None:
    dictionary().keys([(kind, "same") for kind in UserKind])
    stored = rows(engine)
    assert len({row.who_hash for row in stored}) == len({row.who_encrypted for row in stored}) == 3


def test_ids_of_any_text_come_back(dictionary: Make) -> None:
    everybody = people(
        UserKind.USER, "x" * 200, "\N{GRINNING FACE}" * 200, " ", "'; --", "NULL", "{}", "\\", '"', "é"
    )
    keys = dictionary().keys(everybody)
    assert dictionary().read(keys.values()) == {key: who for who, key in keys.items()}
    assert dictionary().known_keys(everybody) == keys


def test_a_small_cache_forgets_without_being_wrong(dictionary: Make) -> None:
    small, kept, random = dictionary(size=4), dict[Who, int](), Random(1)
    for _ in range(40):
        asked = people(UserKind.USER, *random.choices(range(30), k=random.randint(1, 12)))
        found = small.keys(asked)
        assert set(found) == set(asked)
        for who, key in found.items():
            assert kept.setdefault(who, key) == key
        assert small.known_keys(kept) == kept
    assert len(set(kept.values())) == len(kept)


def test_asking_for_keys_makes_none(dictionary: Make, engine: sqlalchemy.Engine) -> None:
    known = dictionary().keys(people(UserKind.USER, "ann"))
    assert dictionary().known_keys(people(UserKind.USER, "ann", "bob")) == known
    assert len(rows(engine)) == 1


def test_unknown_keys_are_left_out(dictionary: Make) -> None:
    [(who, key)] = dictionary().keys(people(UserKind.USER, "ann")).items()
    assert dictionary().read([key, 77, 2**31 - 1]) == {key: who}
    assert dictionary().read([]) == {}


def test_the_wrong_key_reads_nothing(dictionary: Make) -> None:
    keys = dictionary().keys(people(UserKind.USER, "ann"))
    for wrong in (f"1:{OTHER_KEY}", f"2:{KEY}"):
        with pytest.raises(DecryptionError):
            dictionary(keys=wrong).read(keys.values())


def test_a_rotated_keyring_reads_old_and_new(dictionary: Make) -> None:
    old = dictionary().keys(people(UserKind.USER, "ann"))
    rotated = dictionary(keys=f"2:{OTHER_KEY},1:{KEY}")
    both = rotated.keys(people(UserKind.USER, "ann", "bob"))
    assert both | old == both
    assert rotated.read(both.values()) == {key: who for who, key in both.items()}


def test_another_index_key_finds_nobody(dictionary: Make) -> None:
    dictionary().keys(people(UserKind.USER, "ann"))
    assert dictionary(index=OTHER_KEY).known_keys(people(UserKind.USER, "ann")) == {}


def test_an_id_copied_to_another_row_does_not_decrypt(dictionary: Make, engine: sqlalchemy.Engine) -> None:
    ann, bob = dictionary().keys(people(UserKind.USER, "ann", "bob")).values()
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("""
                UPDATE users SET who_encrypted = (SELECT who_encrypted FROM users WHERE user_key = :ann)
                WHERE user_key = :bob
            """),
            {"ann": ann, "bob": bob},
        )
    with pytest.raises(DecryptionError):
        dictionary().read([bob])
