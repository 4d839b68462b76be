"""Writes the daemon's first settings from the answers that debconf collected.

`settings.py` prints the settings, `settings.py camera` the camera's address without secrets, and
`settings.py camera-password` the password that somebody wrote into the address.
"""

import json
import os
import sys
from urllib.parse import quote, unquote, urlsplit


def text(value: str) -> str:
    """A TOML string."""
    return json.dumps(value, ensure_ascii=False)


def answer(name: str) -> str:
    """What was answered to a question; empty: nothing."""
    return os.environ.get(f"OAHEGA_{name}", "").strip()


def camera() -> tuple[str, str, str]:
    """Address without a login, user and password."""
    address = answer("CAMERA")
    scheme, found, rest = address.partition("://")
    if not found:
        return address, "", ""
    place = urlsplit(f"//{rest}").netloc
    login, _, host = place.rpartition("@")
    user, _, password = login.partition(":")
    return f"{scheme}://{host}{rest[len(place) :]}", unquote(user), unquote(password)


def without_secrets() -> str:
    """The camera's address as debconf may keep it, whose database everybody can read."""
    address, user, _ = camera()
    scheme, found, rest = address.partition("?")[0].partition("://")
    return f"{scheme}://{quote(user, safe='')}@{rest}" if found and user else scheme + found + rest


def settings() -> str:
    """The TOML file."""
    lines = ["# All settings with their defaults: oahega-edge config"]
    # An installation without questions must not answer for somebody: debconf would take the first choice.
    if answer("CONTEXT") not in ("", "undecided"):
        lines += ["", "[deployment]", f"context = {text(answer('CONTEXT'))}"]
    address, user, _ = camera()
    if address:
        lines += ["", "[camera]", f"source = {text(address)}"]
        if user:
            lines.append(f"user = {text(user)}")
    if answer("BROKER"):
        host, colon, port = answer("BROKER").rpartition(":")
        bare_ipv6 = ":" in host and not host.startswith("[")
        if bare_ipv6 or not (colon and port.isdecimal()):
            host, port = answer("BROKER"), "1883"
        lines += ["", "[mqtt]", f"host = {text(host.strip('[]'))}", f"port = {int(port)}"]
        if answer("USERNAME"):
            lines.append(f"username = {text(answer('USERNAME'))}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    wanted = sys.argv[1] if len(sys.argv) > 1 else "settings"
    if wanted == "camera":
        print(without_secrets())
    elif wanted == "camera-password":
        print(camera()[2])
    else:
        sys.stdout.write(settings())
