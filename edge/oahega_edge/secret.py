"""Secrets inside settings and text: what may be shown of them, and where they may not stand."""

from __future__ import annotations

import re
from urllib.parse import quote

from pydantic import Secret

HIDDEN = "***"

_HOST = re.compile(r"([\w.-]+|\[[\w.:%-]+\])(:\d+)?")
_SECRET_KEY = re.compile(r"(?i)pass|pwd|pw\b|pas\b|secret|token|key|auth|sig|cred|login|user|usr|session")
_URL = re.compile(r"""(?P<quote>['"])[A-Za-z][\w+.-]*://.*?(?P=quote)|[A-Za-z][\w+.-]*://\S+""")


class Source(Secret[str]):
    """A camera's address or a path; of an address only scheme, host and port are shown."""

    def _display(self) -> str:
        return shown(self.get_secret_value())


class Hidden(Secret[str]):
    """A text of which nothing is shown but whether it is there."""

    def _display(self) -> str:
        return HIDDEN if self.get_secret_value() else ""


def shown(source: str) -> str:
    """`rtsp://user:secret@cam:554/token?pwd=x` -> `rtsp://***@cam:554/***`; a path stays as it is.

    A password that contains `/`, `#`, `?` or `@` makes an address ambiguous; then only the scheme is shown.
    """
    before, is_address, rest = source.partition("://")
    if not is_address:
        return HIDDEN if {"@", "?"} & set(source) else source
    scheme = re.findall(r"[\w+.-]*", before)[-2]
    prefix = before.removesuffix(scheme)
    place = f"{prefix if not set('@?=& ') & set(prefix) else HIDDEN}{scheme}://"
    authority, tail = re.fullmatch(r"(?s)([^/?#\\]*)(.*)", rest).groups()  # type: ignore[union-attr]
    login, at, host = authority.rpartition("@")
    if "@" in tail or not _HOST.fullmatch(host):
        return f"{place}{HIDDEN}"
    return f"{place}{HIDDEN if login else ''}{at}{host}{tail if tail in ('', '/') else f'/{HIDDEN}'}"


def masked(text: str) -> str:
    """Text of others with what may be secret in its addresses hidden."""

    def hide(found: re.Match[str]) -> str:
        quote = found["quote"] or ""
        address = found[0].removeprefix(quote).removesuffix(quote)
        return f"{quote}{shown(address) if {'@', '?'} & set(address) else address}{quote}"

    return _URL.sub(hide, text)


def holds_login(text: str) -> bool:
    """Whether an address with a user or password stands in the text; other text may name a mail address."""
    return re.search(r"://\S*@", text) is not None


def holds_secret(text: str) -> bool:
    """Whether text for a setting seems to hold a login, a password or a key."""
    if "://" not in text:
        return re.match(r"[^/\s]*:[^/\s]*@", text.removeprefix("loop:")) is not None
    keys = re.findall(r"[?&;#]([^=&;\s]*)=", text)
    return holds_login(text) or any(_SECRET_KEY.search(key) for key in keys)


def with_login(source: str, user: str, password: str) -> str:
    """An address with user and password in it, encoded, so that any character may be in them."""
    scheme, _, rest = source.partition("://")
    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{rest}"
