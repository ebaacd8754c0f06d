"""Who is signed in: a sealed cookie with the person's token, and proof that a post came from our pages."""

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from gateway.dashboard.page.frame import PREFIX, Notice
from shared.encryption import DecryptionError, Keyring

if TYPE_CHECKING:
    from starlette.responses import Response

SESSION_COOKIE = "brain_session"
POST_COOKIE = "brain_post"
NOTICE_COOKIE = "brain_notice"
LIFETIME_SECONDS = 12 * 3_600

_SEALED_FOR = b"dashboard session"
_POST_BYTES = 18
_NOTICE_SECONDS = 60
_NOTICE_CHARACTERS = 500


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


def keep(
    response: "Response", name: str, value: str, *, secure: bool, seconds: int = LIFETIME_SECONDS
) -> None:
    """Have the browser keep a cookie for this dashboard alone, out of reach of script."""
    response.set_cookie(
        name, value, max_age=seconds, path=PREFIX, secure=secure, httponly=True, samesite="strict"
    )


def leave_notice(response: "Response", notice: Notice, *, secure: bool) -> None:
    """Have the next page tell what became of an action."""
    value = ("!" if notice.trouble else "=") + quote(notice.text[:_NOTICE_CHARACTERS])
    keep(response, NOTICE_COOKIE, value, secure=secure, seconds=_NOTICE_SECONDS)


def read_notice(cookie: str) -> Notice | None:
    """Return what `leave_notice` left; None where it left nothing."""
    return Notice(unquote(cookie[1:]), cookie[0] == "!") if cookie[:1] in {"!", "="} and cookie else None


def new_post_secret() -> str:
    """Return what a browser keeps in a cookie and nobody can guess."""
    return secrets.token_urlsafe(_POST_BYTES)


def post_proof(post_secret: str) -> str:
    """Return what forms of a browser carry, made from its cookie. Other sites can read neither."""
    return hashlib.sha256(b"brain dashboard post " + post_secret.encode()).hexdigest()


def is_proven(post_secret: str, proof: str) -> bool:
    """Return whether a form's proof belongs to the browser's cookie."""
    return bool(post_secret) and hmac.compare_digest(post_proof(post_secret), proof)
