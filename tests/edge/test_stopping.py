"""Signals that ask a process to end, at the worst moment."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

from oahega_edge.stopping import Stop
from waiting import PATIENCE

FLOOD = """
import signal, sys
from oahega_edge.stopping import Stop

signals, waits = 0, 0
stop = Stop()

def ask(number, frame):
    global signals, stop
    signals += 1
    stop.ask(number, frame)

signal.signal(signal.SIGALRM, ask)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
while signals < 1500:
    waits += 1
    stop.wait(0.0001)
    if stop.is_set():
        stop = Stop()
signal.setitimer(signal.ITIMER_REAL, 0)
print(waits > 100)
"""


def test_a_signal_in_the_middle_of_a_wait_and_of_another_signal_stops_nothing_but_the_wait() -> None:
    """With a plain event, hundreds of handlers would wait for each other, deeper and deeper."""
    done = subprocess.run(
        [sys.executable, "-c", FLOOD], capture_output=True, text=True, timeout=PATIENCE, check=False
    )

    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr[-2000:]


def test_whoever_waits_goes_on_when_the_end_is_asked_for() -> None:
    stop, ended = Stop(), []
    waiting = [threading.Thread(target=lambda: ended.append(stop.wait(PATIENCE))) for _ in range(3)]
    for thread in waiting:
        thread.start()

    stop.ask(signal.SIGTERM, None)
    for thread in waiting:
        thread.join(PATIENCE)

    assert ended == [True] * 3
    assert stop.wait() is stop.is_set() is True


def test_a_wait_that_nothing_ends_takes_its_time() -> None:
    stop, before = Stop(), time.monotonic()

    assert not stop.wait(0.05)
    assert time.monotonic() - before >= 0.05
    assert not stop.is_set()
