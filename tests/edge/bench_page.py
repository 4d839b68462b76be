"""The page under load, as a table: `python tests/edge/bench_page.py`. It needs chromium.

24 hours of history; memory of its process with 50 streams; from the daemon's message to the word on the
screen; malformed requests.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "edge")]

from playwright.sync_api import sync_playwright  # noqa: E402

from node_packages import browser  # noqa: E402
from page.served import Served, served  # noqa: E402
from page.test_history import full_day  # noqa: E402
from waiting import wait_until  # noqa: E402

WATCH = """() => {
    window.at = [];
    new MutationObserver(() => window.at.push(Date.now())).observe(
        document.getElementById("emotion"), { childList: true, characterData: true, subtree: true });
}"""


def memory_mb(page: Served) -> float:
    status = Path(f"/proc/{page.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def delays(page: Served, changes: int = 40) -> list[float]:
    """Milliseconds from the daemon's message to the changed word in a real browser."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        tab = started.new_page()
        tab.goto(page.url)
        tab.locator("#faces").wait_for()
        page.seen(emotion="sad", camera="live", muted=False)
        time.sleep(1)
        tab.evaluate(WATCH)
        sent = []
        for number in range(changes):
            sent.append(time.time() * 1000)
            page.seen(emotion=("happy", "sad")[number % 2], camera="live", muted=False)
            time.sleep(0.25)
        time.sleep(2)
        shown = tab.evaluate("window.at")
        started.close()
    return [there - then for then, there in zip(sent, shown, strict=True)]


def malformed(page: Served, number: int) -> None:
    noise = random.Random(1)
    whole = b"POST /mute HTTP/1.1\r\nHost: localhost\r\nCookie: a=b\r\nContent-Length: 2\r\n\r\n{}"
    for _ in range(number):
        request = bytearray(whole)
        for _ in range(noise.randrange(1, 12)):
            request[noise.randrange(len(request))] = noise.randrange(256)
        with socket.create_connection(("127.0.0.1", page.port), timeout=60) as connection:
            connection.sendall(bytes(request[: noise.randrange(len(request) + 1)]))


def main() -> None:
    memory, sent = full_day()
    print(
        f"24 hours of history in the page's process: {memory / 1e6:.2f} MB; a browser gets {sent} bytes of it"
    )
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as page:
        print(f"memory at the start: {memory_mb(page):.1f} MB")
        times = delays(page)
        print(f"message to screen: median {median(times):.0f} ms, worst {max(times):.0f} ms of {len(times)}")
        streams = [page.request("GET", "/events") for _ in range(50)]
        page.feed.send("event", json.dumps({"padding": "x" * 1000}))
        print(f"memory with 50 streams: {memory_mb(page):.1f} MB")
        for stream in streams:
            stream.close()
        malformed(page, 10_000)
        wait_until(lambda: page.request("GET", "/").status == 200)
        print(f"memory after 10,000 malformed requests: {memory_mb(page):.1f} MB")
        print(f"requests of these that reached the daemon: {len(page.asked)}")


if __name__ == "__main__":
    main()
