"""Who is signed in: a sealed cookie with the person's token, and proof that a post came from our pages."""

import base64
import binascii
import hashlib
import hmac
import secrets

from shared.encryption import DecryptionError, Keyring

SESSION_COOKIE = "brain_session"
POST_COOKIE = "brain_post"
LIFETIME_SECONDS = 12 * 3_600

_SEALED_FOR = b"dashboard session"
_POST_BYTES = 18


def sealed(keys: Keyring, token: str, now: float) -> str:
    """Return the cookie's value: the token and when the cookie ends, readable to nobody else."""
    ends = int(now) + LIFETIME_SECONDS
    return base64.urlsafe_b64encode(keys.encrypt(f"{ends} {token}".encode(), _SEALED_FOR)).decode()


def opened(keys: Keyring, cookie: str, now: float) -> str | None:
    """Return the token of a cookie; None for one that has ended or that `sealed` did not make."""
    try:
        plain = keys.decrypt(base64.urlsafe_b64decode(cookie.encode()), _SEALED_FOR).decode()
    except (DecryptionError, binascii.Error, UnicodeError):
        return None
    ends, _, token = plain.partition(" ")
    return token if now < int(ends) else None


def new_post_secret() -> str:
    """Return what a browser keeps in a cookie and nobody can guess."""
    return secrets.token_urlsafe(_POST_BYTES)


def post_proof(post_secret: str) -> str:
    """Return what forms of a browser carry, made from its cookie. Other sites can read neither."""
    return hashlib.sha256(b"brain dashboard post " + post_secret.encode()).hexdigest()


def is_proven(post_secret: str, proof: str) -> bool:
    """Return whether a form's proof belongs to the browser's cookie."""
    return bool(post_secret) and hmac.compare_digest(post_proof(post_secret), proof)
