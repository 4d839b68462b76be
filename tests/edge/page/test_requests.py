"""What the page hands on to the daemon, which may take its time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

from oahega_edge.page.requests import answered, told
from waiting import PATIENCE


def test_a_mute_waits_for_no_answer_of_another_request() -> None:
    """Somebody who presses a button a hundred times must not keep a visitor's mute waiting."""
    muted, go_on = threading.Event(), threading.Event()

    def tell(request: str, value: object) -> Mapping[str, Any]:
        if request == "mute":
            muted.set()
        else:
            go_on.wait(PATIENCE)
        return {}

    async def pressed() -> bool:
        slow = [asyncio.create_task(answered(tell, "tune-fit")) for _ in range(100)]
        await asyncio.sleep(0.1)
        await asyncio.wait_for(told(tell, "mute"), PATIENCE)
        was_muted = muted.is_set() and not any(task.done() for task in slow)
        go_on.set()
        await asyncio.gather(*slow)
        return was_muted

    assert asyncio.run(pressed())
