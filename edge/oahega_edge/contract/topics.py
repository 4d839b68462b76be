"""The topics of one device, and which answers it may be asked to send where."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topics:
    """`<root>/<device>/...`; see docs/subscribing.md for what goes where."""

    root: str
    """E.g. `oahega/v1`."""
    device: str

    @property
    def base(self) -> str:
        """Everything of this device lies below it."""
        return f"{self.root}/{self.device}"

    @property
    def availability(self) -> str:
        """online or offline."""
        return f"{self.base}/availability"

    @property
    def info(self) -> str:
        """Who the device is."""
        return f"{self.base}/info"

    @property
    def event(self) -> str:
        """One message per decision."""
        return f"{self.base}/event"

    @property
    def summary(self) -> str:
        """Many visits together."""
        return f"{self.base}/summary"

    @property
    def state(self) -> str:
        """What is seen now."""
        return f"{self.base}/state"

    @property
    def showing(self) -> str:
        """What the screen shows now."""
        return f"{self.base}/showing"

    @property
    def health(self) -> str:
        """How the device does."""
        return f"{self.base}/health"

    @property
    def commands(self) -> str:
        """The filter of all commands; one level, so that nothing of our own comes back."""
        return f"{self.base}/cmd/+"

    def command(self, name: str) -> str:
        """Where this command is sent to."""
        return f"{self.base}/cmd/{name}"

    def command_name(self, topic: str) -> str | None:
        """The command that a topic names; None for any other topic."""
        prefix = f"{self.base}/cmd/"
        name = topic.removeprefix(prefix)
        return name if topic.startswith(prefix) and name and "/" not in name else None

    def response(self, name: str) -> str:
        """Where this command is answered unless its sender asks for another topic."""
        return f"{self.base}/response/{name}"

    def may_answer_on(self, topic: str) -> bool:
        """Only below our own `response/`: a sender must not make the device write elsewhere."""
        tail = topic.removeprefix(f"{self.base}/response/")
        return (
            topic.startswith(f"{self.base}/response/")
            and 0 < len(tail) <= 128
            and not any(character in tail for character in "+#\0")
        )
