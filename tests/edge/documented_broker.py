"""The mosquitto of docs/subscribing.md: its settings, its access rules, accounts and TLS."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from brokers import HOST, Mosquitto, free_port
from certificates import Authority
from documents import SUBSCRIBING, blocks
from waiting import wait_until

TLS_OF_A_LISTENER = "certfile /etc/mosquitto/server.crt\nkeyfile /etc/mosquitto/server.key\n"


class DocumentedBroker(Mosquitto):
    """On free ports of the loopback, with a certificate of its own authority."""

    def __init__(self, folder: Path, accounts: Mapping[str, str], secure_pages: bool = False) -> None:
        super().__init__(folder)
        self.pages = free_port()
        """The port of its WebSockets: with TLS if `secure_pages`."""
        (settings,), (rules,) = (blocks(SUBSCRIBING, "The broker", kind) for kind in ("conf", "acl"))
        assert TLS_OF_A_LISTENER in settings
        if secure_pages:
            settings += TLS_OF_A_LISTENER
        authority = Authority(folder, "ca")
        self.ca_file = authority.file
        server = authority.issue("server", HOST)
        assert (server.cert_file, server.key_file) == (f"{folder}/server.crt", f"{folder}/server.key")
        (folder / "access").write_text(rules)
        (folder / "passwords").touch()
        for user, password in accounts.items():
            add = ["mosquitto_passwd", "-b", folder / "passwords", user, password]
            subprocess.run(add, check=True, capture_output=True)
        self._config.write_text(self._as_root() + self._moved(settings, folder))

    def _as_root(self) -> str:
        """The line by which it may read the files of the test."""
        return self._config.read_text().partition("\n")[0] + "\n"

    def _moved(self, settings: str, folder: Path) -> str:
        moved = settings.replace("/etc/mosquitto", str(folder))
        for theirs, ours in ((8883, self.port), (9001, self.pages)):
            assert f"listener {theirs}\n" in moved
            moved = moved.replace(f"listener {theirs}\n", f"listener {ours} {HOST}\n")
        return moved

    def start(self) -> None:
        """Wait for both listeners."""
        super().start()
        wait_until(lambda: self.log().count("listen socket on port") >= 2)
