"""Who may see the page and who may change something."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

COOKIE = "oahega-page"
SHORTEST_TOKEN = 16
"""Characters; a shorter token could be guessed."""
WRONG_TOKEN_PAUSE = 0.5
"""Seconds after a wrong token, so that it cannot be guessed."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    return host in LOOPBACK or host.startswith("127.")


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one page."""

    names: frozenset[str]
    """Host names, in lower case, by which browsers may ask: another one is DNS rebinding."""
    token: str | None
    """None: everybody who reaches the address may see it, which is the loopback only."""

    def knows_host(self, host: str) -> bool:
        """Whether a Host header, with or without a port, names this page."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name is not None and name in self.names

    def is_own(self, origin: str | None, host: str) -> bool:
        """Whether a POST comes from the page itself: its Origin is the host that it is sent to."""
        if origin is None:
            return False
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()

    def is_known(self, cookies: str) -> bool:
        """Whether a Cookie header proves that the token was given."""
        if self.token is None:
            return True
        try:
            morsel = SimpleCookie(cookies).get(COOKIE)
        except CookieError:
            return False
        return morsel is not None and hmac.compare_digest(morsel.value.encode(), self.pass_for().encode())

    def may_see_picture(self, client: str, host: str, headers: Iterable[str]) -> bool:
        """Whether somebody sits at this machine: no other address, no other name, no proxy in between."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        proxied = {"forwarded", "via", "x-real-ip"}
        through = any(header in proxied or header.startswith("x-forwarded-") for header in headers)
        return is_loopback(client.removeprefix("::ffff:")) and name in LOOPBACK and not through

    def is_token(self, text: str) -> bool:
        """Whether the text is the token."""
        given = text.encode(errors="replace")  # JSON can bring characters that no encoding has
        return self.token is not None and hmac.compare_digest(given, self.token.encode())

    def pass_for(self) -> str:
        """The cookie's value: it proves the token without being it, and ends when the token is changed."""
        return hmac.new((self.token or "").encode(), b"oahega-edge page 1", hashlib.sha256).hexdigest()

    def cookie(self, *, secure: bool) -> str:
        """The Set-Cookie header of a browser that gave the token."""
        flags = "; Secure" if secure else ""
        return f"{COOKIE}={self.pass_for()}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000{flags}"


def access_for(host: str, names: Iterable[str], token: str | None) -> Access:
    """The rules for a page that listens on `host` and is also called by `names`."""
    known = {*LOOPBACK, host.lower(), *(name.lower() for name in names)} - {"", "0.0.0.0", "::"}
    return Access(frozenset(known), token)


SECURITY: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "media-src 'self'; font-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""On every answer: nothing foreign is loaded, nothing of the page is shown in another one."""
