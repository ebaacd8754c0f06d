"""Event ids in sixteen bytes."""

import hashlib
from uuid import RFC_4122, UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.events.ingest.event_ids import original_id, stored_id

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200)


@given(st.uuids())
def test_a_canonical_uuid_is_its_own_sixteen_bytes(event_id: UUID) -> None:
    assert stored_id(str(event_id)) == (event_id.bytes, True)
    assert original_id(event_id, None) == str(event_id)


@given(st.uuids().map(str).filter(lambda text: text != text.upper()), st.data())
def test_one_upper_case_letter_makes_it_a_text(event_id: str, data: st.DataObject) -> None:
    letters = [position for position, letter in enumerate(event_id) if letter.isalpha()]
    position = data.draw(st.sampled_from(letters))
    spelling = event_id[:position] + event_id[position].upper() + event_id[position + 1 :]
    stored, says_it = stored_id(spelling)
    assert not says_it
    assert stored != UUID(event_id).bytes


@given(texts)
def test_any_other_text_becomes_a_version_8_uuid_of_its_hash(text: str) -> None:
    stored, says_it = stored_id(text)
    made = UUID(bytes=stored)
    assert (made.version, made.variant, says_it) == (8, RFC_4122, False)
    # The 122 bits that RFC 9562 leaves free are those of the hash.
    free = ~((0xF << 76) | (0b11 << 62))
    hashed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())
    assert made.int & free == hashed & free
    assert original_id(made, text) == text


@given(texts, texts)
def test_different_texts_are_different_events(one: str, other: str) -> None:
    assume(one != other)
    assert stored_id(one)[0] != stored_id(other)[0]


@pytest.mark.parametrize(
    "spelling",
    [
        "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6",  # upper case would come back in lower case
        "{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}",
        "f81d4fae7dec11d0a76500a0c91e6bf6",
        "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf6\n",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf\N{ARABIC-INDIC DIGIT SIX}",
        "f81d-4fae7dec-11d0-a765-00a0c91e6bf6",
    ],
)
def test_other_spellings_of_a_uuid_are_texts(spelling: str) -> None:
    canonical = stored_id("f81d4fae-7dec-11d0-a765-00a0c91e6bf6")
    stored, says_it = stored_id(spelling)
    assert not says_it
    assert stored != canonical[0]
