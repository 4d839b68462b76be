"""Writes the daemon's first settings from the answers that debconf collected."""

import json
import os
import sys


def text(value: str) -> str:
    """A TOML string."""
    return json.dumps(value, ensure_ascii=False)


def answer(name: str) -> str:
    """What was answered to a question; empty: nothing."""
    return os.environ.get(f"OAHEGA_{name}", "").strip()


lines = ["# All settings with their defaults: oahega-edge config"]
# An installation without questions must not answer for somebody: debconf would take the first choice.
if answer("CONTEXT") not in ("", "undecided"):
    lines += ["", "[deployment]", f"context = {text(answer('CONTEXT'))}"]
if answer("CAMERA"):
    lines += ["", "[camera]", f"source = {text(answer('CAMERA'))}"]
if answer("BROKER"):
    host, colon, port = answer("BROKER").rpartition(":")
    bare_ipv6 = ":" in host and not host.startswith("[")
    if bare_ipv6 or not (colon and port.isdecimal()):
        host, port = answer("BROKER"), "1883"
    lines += ["", "[mqtt]", f"host = {text(host.strip('[]'))}", f"port = {int(port)}"]
    if answer("USERNAME"):
        lines.append(f"username = {text(answer('USERNAME'))}")
sys.stdout.write("\n".join(lines) + "\n")
