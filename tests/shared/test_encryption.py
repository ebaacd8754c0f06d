import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.encryption import BlindIndex, DecryptionError, Keyring

OLD, NEW = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
RING = Keyring.parse(f"1:{OLD}")


@given(st.binary(max_size=300), st.binary(max_size=50))
def test_what_was_encrypted_is_decrypted(plain: bytes, associated: bytes) -> None:
    stored = RING.encrypt(plain, associated)
    assert RING.decrypt(stored, associated) == plain
    assert len(stored) == len(plain) + 1 + 12 + 16


def test_equal_texts_have_different_ciphertexts() -> None:
    assert RING.encrypt(b"ada", b"") != RING.encrypt(b"ada", b"")


def test_after_a_rotation_the_new_key_encrypts_and_the_old_still_decrypts() -> None:
    rotated = Keyring.parse(f"2:{NEW},1:{OLD}")
    before = RING.encrypt(b"ada", b"row 1")
    after = rotated.encrypt(b"ada", b"row 1")
    assert rotated.decrypt(before, b"row 1") == rotated.decrypt(after, b"row 1") == b"ada"
    with pytest.raises(DecryptionError, match="key 2 is not in the keyring"):
        RING.decrypt(after, b"row 1")


def test_every_altered_byte_is_noticed() -> None:
    stored = RING.encrypt(b"ada", b"row 1")
    for place in range(len(stored)):
        altered = bytearray(stored)
        altered[place] ^= 1
        with pytest.raises(DecryptionError):
            RING.decrypt(bytes(altered), b"row 1")


def test_a_ciphertext_moved_to_another_row_is_refused() -> None:
    with pytest.raises(DecryptionError, match="something else"):
        RING.decrypt(RING.encrypt(b"ada", b"row 1"), b"row 2")


@pytest.mark.parametrize("length", [0, 1, 12, 13, 28])
def test_what_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(DecryptionError):
        RING.decrypt(RING.encrypt(b"", b"")[:length], b"")


@pytest.mark.parametrize(
    "setting",
    [
        "",
        OLD,
        f"x:{OLD}",
        f"0:{OLD}",
        f"256:{OLD}",
        f"1:{OLD},1:{NEW}",
        "1:AAAA",
        f"1:{OLD[:-1]}*",
        f"²:{OLD}",
    ],
    ids=[
        "nothing",
        "no number",
        "a letter",
        "number 0",
        "number 256",
        "a number twice",
        "a short key",
        "no base64",
        "a superscript",
    ],
)
def test_wrong_keyrings_are_refused_without_quoting_keys(setting: str) -> None:
    with pytest.raises(ValueError) as caught:
        Keyring.parse(setting)
    assert OLD[:8] not in str(caught.value)


def test_the_blind_index_is_equal_for_equal_texts_under_one_key() -> None:
    index = BlindIndex.parse(OLD)
    assert index.digest("ada") == index.digest("ada") == BlindIndex.parse(OLD).digest("ada")
    assert len({index.digest("ada"), index.digest("Ada"), BlindIndex.parse(NEW).digest("ada")}) == 3
    assert len(index.digest("")) == 16


def test_the_blind_index_key_is_256_bits() -> None:
    with pytest.raises(ValueError, match="has 3 bytes, needs 32"):
        BlindIndex.parse("AAAA")
