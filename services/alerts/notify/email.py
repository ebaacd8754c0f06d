"""Mail by SMTP, a message for each recipient, with the same Message-ID at each attempt."""

import base64
import re
import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from threading import Timer
from typing import TYPE_CHECKING, Any

from services.alerts.notify import words
from services.alerts.notify.answer import Answer, shown

if TYPE_CHECKING:
    from pydantic import SecretStr

    from services.alerts.notice import Notice

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ADDRESS = re.compile(rf"(?=[^@]{{1,64}}@){_ATOM}(\.{_ATOM})*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_LONGEST_ADDRESS = 254
_STEP_SECONDS = 10.0
# From the connection to the server's yes, whatever it answers in between and however slowly.
WHOLE_SECONDS = 15.0
_PERMANENT = 500
# RFC 5321, 4.2.3: accepted here, and accepted to be forwarded.
_ACCEPTED = {250, 251}


def is_address(text: str) -> bool:
    """Return whether a text is a mail address without quotes: a dot-atom (RFC 5322, 3.4.1), a host."""
    return len(text) <= _LONGEST_ADDRESS and _ADDRESS.fullmatch(text) is not None


@dataclass(frozen=True)
class Smtp:
    """A mail server and how to talk to it. `tls`: "starttls", "implicit" or "off"."""

    host: str
    port: int
    tls: str
    user: str | None
    password: "SecretStr | None"
    sender: str
    context: Callable[[], ssl.SSLContext] = ssl.create_default_context

    @property
    def secrets(self) -> tuple[str, ...]:
        """What it must not have repeated: how one logs in, as it is and as AUTH sends it."""
        if self.user is None or self.password is None:
            return ()
        password = self.password.get_secret_value()
        plain = (self.user, password, f"\0{self.user}\0{password}")
        return (*plain, *(base64.b64encode(each.encode()).decode() for each in plain))


@dataclass(frozen=True)
class Email:
    """Sends mail."""

    server: Smtp
    whole_seconds: float = WHOLE_SECONDS

    def send(self, notice: "Notice", recipient: str, delivery_id: int) -> Answer:
        """Send one message. What the network or the server does wrong is an answer, not an error."""
        if not is_address(recipient):
            return Answer(delivered=False, text="the recipient is no mail address", permanent=True)
        try:
            return self._deliver(message(notice, self.server.sender, recipient, delivery_id), recipient)
        except smtplib.SMTPResponseException as error:
            # Logging in and starting TLS are refused for reasons of ours, which somebody will mend.
            mendable = isinstance(error, smtplib.SMTPAuthenticationError)
            return self._refusal(error.smtp_code, error.smtp_error, mendable=mendable)
        except (smtplib.SMTPException, OSError) as error:
            text = shown(f"{type(error).__name__}: {error}", self.server.secrets)
            return Answer(delivered=False, text=text)

    def _deliver(self, mail: EmailMessage, recipient: str) -> Answer:
        server = self.server
        with closing(self._connected()) as connection:
            if server.tls == "starttls":
                connection.starttls(context=server.context())
            if server.user is not None and server.password is not None:
                connection.login(server.user, server.password.get_secret_value())
            connection.ehlo_or_helo_if_needed()
            # A refused sender has the recipient refused for another reason.
            _accepted(connection.mail(server.sender))
            _accepted(connection.rcpt(recipient))
            code, said = _accepted(connection.data(mail.as_bytes(policy=SMTP)))
            # Taken is taken, whatever the server makes of the farewell.
            with suppress(smtplib.SMTPException, OSError):
                connection.quit()
            return Answer(delivered=True, text=shown(f"{code} {said.decode('utf-8', 'replace')}"))

    def _connected(self) -> "_Bounded":
        host, port = self.server.host, self.server.port
        if self.server.tls == "implicit":
            return _BoundedTls(self.whole_seconds, host=host, port=port, context=self.server.context())
        return _Bounded(self.whole_seconds, host=host, port=port)

    def _refusal(self, code: int, said: bytes | str, *, mendable: bool) -> Answer:
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        return Answer(
            delivered=False,
            text=shown(f"{code} {text}", self.server.secrets),
            permanent=code >= _PERMANENT and not mendable,
        )


class _Bounded(smtplib.SMTP):
    """A connection that is shut down when its time is over, whichever step it is at."""

    def __init__(self, seconds: float, **options: Any) -> None:  # noqa: ANN401 - as smtplib names them
        self._is_over = False
        self._timer = Timer(seconds, self._cut_off)
        self._timer.daemon = True
        self._timer.start()
        super().__init__(timeout=_STEP_SECONDS, **options)
        if self._is_over:  # before there was a socket to shut down
            self.close()
            raise TimeoutError("connecting took too long")

    def close(self) -> None:
        self._timer.cancel()
        super().close()

    def _cut_off(self) -> None:
        self._is_over = True
        if self.sock is not None:
            with suppress(OSError):
                # Not TLS's own, which lets go of what another thread is reading by.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class _BoundedTls(_Bounded, smtplib.SMTP_SSL):
    """The same over TLS from the beginning."""


def _accepted(reply: tuple[int, bytes]) -> tuple[int, bytes]:
    """Return a reply of the server that accepts; raise for others."""
    code, said = reply
    if code not in _ACCEPTED:
        raise smtplib.SMTPResponseException(code, said)
    return reply


def message(notice: "Notice", sender: str, recipient: str, delivery_id: int) -> EmailMessage:
    """Return the mail, the same for each attempt but for nothing."""
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = words.head(notice)
    mail["From"] = Address("Analytics Brain", addr_spec=sender)
    mail["To"] = Address(addr_spec=recipient)
    mail["Date"] = format_datetime(datetime.fromtimestamp(notice.decided / 1e6, UTC))
    domain = sender.rpartition("@")[2]
    mail["Message-ID"] = f"<brain-{delivery_id}@{domain}>"
    # One conversation for each alert.
    mail["References"] = f"<brain-alert-{notice.alert_id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(_plain(notice))
    mail.add_alternative(_html(notice), subtype="html")
    return mail


def _plain(notice: "Notice") -> str:
    own = words.message(notice)
    lines = [words.head(notice), "", *([own, ""] if own else [])]
    lines += [f"{name}: {fact}" for name, fact in words.facts(notice)]
    return "\n".join(lines) + "\n"


def _html(notice: "Notice") -> str:
    own = escape(words.message(notice)).replace("\n", "<br>")
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(fact)}</td></tr>" for name, fact in words.facts(notice)
    )
    return f"<h2>{escape(words.head(notice))}</h2>{f'<p>{own}</p>' if own else ''}<table>{rows}</table>"
