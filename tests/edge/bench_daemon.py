"""Prints how soon the daemon speaks and how much memory it takes: `python tests/edge/bench_daemon.py CLIP`.

Starts `oahega-edge run` on the clip, once with the event lines on standard output, and reads the peak of its
resident memory (VmHWM) while it plays the clip in a loop for some seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path


def main(clip: str, seconds: float = 10.0) -> None:
    """Print one JSON object."""
    command = [
        sys.executable,
        "-m",
        "oahega_edge",
        "run",
        "--set=deployment.context=development",
        f"--set=camera.source=loop:{clip}",
    ]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    first_event = time.monotonic() - started
    time.sleep(seconds)
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    process.terminate()
    stopping = time.monotonic()
    process.communicate(timeout=15)
    print(
        json.dumps(
            {
                "start_to_first_event_s": round(first_event, 2),
                "peak_memory_mb": round(peak / 1024, 1),
                "sigterm_to_exit_s": round(time.monotonic() - stopping, 2),
                "exit": process.returncode,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
