"""How people agree that a picture of them is kept, and where they can.

The reasons stand in docs/decisions/0052-samples-only-with-consent.md.
"""

from __future__ import annotations

OFF, ASKED, WRITTEN = "off", "asked-at-the-device", "written"
"""Values of `samples.consent`."""
CONTEXTS = {ASKED: ("art", "research", "development"), WRITTEN: ("research", "development")}
"""By consent, the values of `deployment.context` with which it is possible."""


def obstacle(consent: str, context: str, min_group: int, page_port: int) -> str | None:
    """Why people cannot agree in this way here; the other arguments are the settings of these names."""
    if consent == OFF:
        return None
    if context not in CONTEXTS[consent]:
        places = ", ".join(CONTEXTS[consent])
        return f"is impossible where deployment.context is {context!r}, only with {places}; leave it off"
    if min_group:
        return "does not go with trigger.min_group, where single faces are not looked at; set one of them off"
    if consent == ASKED and not page_port:
        return "needs the device's page, on which people are asked; set page.port, e.g. 8321"
    return None
